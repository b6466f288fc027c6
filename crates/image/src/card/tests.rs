//! A card of made-up packages, looked at with programs that others wrote.

use std::process::Command;

use super::*;

fn package(name: &str) -> Pinned {
    Pinned {
        name: name.to_owned(),
        version: "1-2".to_owned(),
        architecture: "arm64".to_owned(),
        bytes: 1,
        sha256: Digest([7; 32]),
        pool: String::new(),
        part: Part::Card,
    }
}

fn tree(paths: &[&str]) -> Tree {
    let mut tree = Tree::default();
    for path in paths {
        tree.put_file(path, 0o644, path.repeat(100).as_bytes());
    }
    tree
}

fn firmware_tree() -> Tree {
    let files = ["bootcode.bin", "start.elf", "fixup.dat", "start4.elf", "fixup4.dat"];
    let paths: Vec<String> = files.iter().map(|file| format!("usr/lib/raspi-firmware/{file}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).chain([firmware::LICENCE]).collect();
    tree(&paths)
}

fn card(server: Option<Ipv4Addr>) -> Result<Card> {
    let kernel = tree(&[
        "usr/lib/linux-image-6.12/broadcom/bcm2837-rpi-3-b.dtb",
        "usr/lib/linux-image-6.12/broadcom/bcm2711-rpi-cm4-io.dtb",
        "usr/lib/linux-image-6.12/broadcom/bcm2712-rpi-5-b.dtb",
        "usr/share/doc/linux-image-6.12/copyright",
    ]);
    let uboot: Vec<&str> = boot::LOADERS.iter().map(|loader| loader.path).chain([UBOOT_LICENCE]).collect();
    let packages = ["raspi-firmware", "u-boot-rpi", "linux-image-6.12"].map(package);
    assemble(&firmware_tree(), &tree(&uboot), &kernel, &packages.each_ref(), server)
}

#[test]
fn two_cards_are_the_same_bytes_and_hold_what_each_board_needs() {
    let made = card(None).expect("a card");
    assert_eq!((made.image.len() as u64, made.sha256), (BYTES, card(None).expect("a card").sha256));
    assert!(made.image.len() <= 64_000_000);
    let names: Vec<&str> = made.files.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "bcm2711-rpi-cm4-io.dtb",
        "bcm2711-rpi-cm4.dtb",
        "bcm2837-rpi-3-b.dtb",
        "boot.scr",
        "bootcode.bin",
        "config.txt",
        "firmware.copyright",
        "fixup.dat",
        "fixup4.dat",
        "linux.copyright",
        "packages.txt",
        "start.elf",
        "start4.elf",
        "u-boot-3.bin",
        "u-boot-4.bin",
        "u-boot.bin",
        "u-boot.copyright",
    ];
    assert_eq!(names, expected);
    assert_ne!(made.sha256, card(Some(Ipv4Addr::LOCALHOST)).expect("a card").sha256);
}

#[test]
fn sfdisk_and_fsck_find_nothing_to_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let (disk, partition) = (folder.path().join("card.img"), folder.path().join("p1"));
    let image = card(None).expect("a card").image;
    fs::write(&disk, &image).expect("written");
    fs::write(&partition, &image[mbr::FIRST_SECTOR as usize * fat::SECTOR..]).expect("written");
    let verified = Command::new("/usr/sbin/sfdisk").arg("--verify").arg(&disk).output().expect("sfdisk runs");
    let said = [verified.stdout, verified.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(verified.status.success() && said.contains("No errors detected"), "{said}");
    let listed = Command::new("/usr/sbin/sfdisk").arg("--dump").arg(&disk).output().expect("sfdisk runs");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("start=        2048, size=       79872, type=c, bootable"), "{listed}");
    let checked =
        Command::new("/usr/sbin/fsck.fat").arg("-n").arg(&partition).output().expect("fsck.fat runs");
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success() && said.lines().count() == 2, "{said}");
}

#[test]
fn a_package_that_lacks_what_boards_need_is_refused_by_name() {
    let packages = ["raspi-firmware", "u-boot-rpi", "linux-image-6.12"].map(package);
    let none = Tree::default();
    let said = assemble(&firmware_tree(), &none, &none, &packages.each_ref(), None).expect_err("no U-Boot");
    assert!(said.to_string().contains("u-boot-rpi has no usr/lib/u-boot/rpi_arm64/u-boot.bin"), "{said}");
}

#[test]
fn a_recipe_without_firmware_makes_no_card() {
    let recipe = Recipe::parse("image.toml".as_ref(), "").expect("valid");
    let said = wanted_firmware(&recipe).expect_err("refused").to_string();
    assert!(said.starts_with("image.toml:1") && said.contains("raspi-firmware"), "{said}");
}
