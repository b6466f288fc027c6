//! What boards without a card fetch, taken from the packages: the ROM's boot loader, the firmware of the graphics
//! processor, device trees. Changes nothing in them, and knows nothing of the names that a board asks for.

use anyhow::{Result, ensure};
use cluster::manifest::{Artefact, FIRMWARE_FOLDER};

use crate::output::Draft;
use crate::tree::Tree;

/// The package with the lab's firmware, and where in it the firmware lies.
pub(crate) const LAB_UBOOT: (&str, &str) = ("u-boot-qemu", "usr/lib/u-boot/qemu_arm64/u-boot.bin");
/// Its name in an image.
pub(crate) const LAB_UBOOT_FILE: &str = "lab-u-boot.bin";

/// Where Debian's raspi-firmware has its files.
const FOLDER: &str = "usr/lib/raspi-firmware/";
/// `bootcode.bin` for the Pi 3's ROM; a start and a fixup file for Pi 3 and Pi 4, which are matched pairs. Their small
/// variants (`cd`) leave out what `gpu_mem=16` would, which we do not set; `x` and `db` are for cameras and debugging.
/// Pi 5: nothing, its firmware is in its EEPROM.
const FILES: [&str; 5] = ["bootcode.bin", "start.elf", "fixup.dat", "start4.elf", "fixup4.dat"];
/// The licence, which has to go with the files. No board asks for it.
pub(crate) const LICENCE: &str = "usr/share/doc/raspi-firmware/copyright";
/// How the device trees of Raspberry Pis with 64-bit processors begin: Pi 3 and Zero 2, Pi 4, Pi 5.
const DEVICE_TREES: [&str; 3] = ["bcm2837-rpi-", "bcm2711-rpi-", "bcm2712-"];

/// Whether a file of the firmware's package goes in.
pub(crate) fn is_wanted(path: &str) -> bool {
    path == LICENCE || path.strip_prefix(FOLDER).is_some_and(|file| FILES.contains(&file))
}

/// Writes the lab's firmware, if its package was there.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write_lab_uboot(draft: &Draft, package: &Tree) -> Result<Option<Artefact>> {
    let Some(uboot) = package.content(LAB_UBOOT.1) else { return Ok(None) };
    draft.write(LAB_UBOOT_FILE, uboot)?;
    draft.artefact(LAB_UBOOT_FILE).map(Some)
}

/// Writes the firmware, if there is any, and the kernel's device trees beside it.
///
/// One file each, and no archive: the head keeps them open and reads the one that is asked for when it is asked for.
///
/// # Errors
/// A file that every board of a kind needs is not in the package, or one cannot be written.
pub(crate) fn write(draft: &Draft, firmware: &Tree, kernel: &Tree) -> Result<Vec<Artefact>> {
    if firmware.iter().next().is_none() {
        return Ok(Vec::new());
    }
    write_all(draft, &files(firmware, kernel)?)
}

/// Writes what boards without a card fetch, by name.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn write_all(draft: &Draft, files: &[(&str, &[u8])]) -> Result<Vec<Artefact>> {
    files.iter().map(|(file, content)| draft.write_below(FIRMWARE_FOLDER, file, content)).collect()
}

/// What a board needs before its boot loader or its kernel, by name and sorted: firmware, its licence, device trees.
///
/// # Errors
/// A file that every board of a kind needs is not in the package.
pub(crate) fn files<'a>(firmware: &'a Tree, kernel: &'a Tree) -> Result<Vec<(&'a str, &'a [u8])>> {
    for file in FILES {
        ensure!(firmware.has(&format!("{FOLDER}{file}")), "the firmware's package has no {FOLDER}{file}");
    }
    let trees = kernel.iter().filter(|(path, _)| is_device_tree(path));
    let wanted = firmware.iter().filter(|(path, _)| is_wanted(path)).chain(trees);
    let mut files: Vec<_> = wanted
        .filter_map(|(path, _)| Some((path.rsplit_once('/')?.1, source(path, firmware, kernel)?)))
        .collect();
    files.sort();
    Ok(files)
}

fn source<'a>(path: &str, firmware: &'a Tree, kernel: &'a Tree) -> Option<&'a [u8]> {
    firmware.content(path).or_else(|| kernel.content(path)).map(|content| &**content)
}

/// Whether a file of the kernel's package is a device tree of a board. Debian's kernel has them in `usr/lib/linux-image-<version>/broadcom/`.
pub(crate) fn is_device_tree(path: &str) -> bool {
    let Some((folder, file)) = path.rsplit_once('/') else { return false };
    folder.starts_with("usr/lib/linux-image-")
        && folder.ends_with("/broadcom")
        && file.ends_with(".dtb")
        && DEVICE_TREES.iter().any(|front| file.starts_with(front))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package() -> Tree {
        let mut firmware = Tree::default();
        for file in FILES {
            firmware.put_file(&format!("{FOLDER}{file}"), 0o644, file.as_bytes());
        }
        firmware.put_file(LICENCE, 0o644, *b"for a Raspberry Pi device");
        firmware
    }

    fn kernel() -> Tree {
        let mut kernel = Tree::default();
        for path in [
            "usr/lib/linux-image-6.12/broadcom/bcm2837-rpi-3-b.dtb",
            "usr/lib/linux-image-6.12/broadcom/bcm2712-rpi-5-b.dtb",
            "usr/lib/linux-image-6.12/broadcom/northstar2/ns2-svk.dtb",
            "usr/lib/linux-image-6.12/rockchip/bcm2711-rpi-odd.dtb",
        ] {
            kernel.put_file(path, 0o644, path.as_bytes());
        }
        kernel
    }

    #[test]
    fn firmware_device_trees_and_the_licence_go_in() {
        let house = tempfile::tempdir().expect("a folder");
        let draft = Draft::begin(&house.path().join("image")).expect("begun");
        let written = write(&draft, &package(), &kernel()).expect("written");
        let names: Vec<&str> = written.iter().map(|artefact| &*artefact.file).collect();
        let expected = [
            "bcm2712-rpi-5-b.dtb",
            "bcm2837-rpi-3-b.dtb",
            "bootcode.bin",
            "copyright",
            "fixup.dat",
            "fixup4.dat",
            "start.elf",
            "start4.elf",
        ];
        assert_eq!(names, expected);
        let start = std::fs::read(draft.path("firmware/start.elf")).expect("there");
        assert_eq!(start, b"start.elf");
    }

    #[test]
    fn without_the_package_nothing_goes_in_and_half_of_it_is_refused() {
        let house = tempfile::tempdir().expect("a folder");
        let draft = Draft::begin(&house.path().join("image")).expect("begun");
        assert_eq!(write(&draft, &Tree::default(), &kernel()).expect("nothing to do"), []);
        let mut half = package();
        half.remove_if(|path| path.ends_with("fixup4.dat"));
        let said = write(&draft, &half, &kernel()).expect_err("a Pi 4 would not boot").to_string();
        assert!(said.contains("fixup4.dat"), "{said}");
    }

    #[test]
    fn of_the_package_only_what_a_board_needs_is_unpacked() {
        assert!(is_wanted("usr/lib/raspi-firmware/start4.elf") && is_wanted(LICENCE));
        for path in ["usr/lib/raspi-firmware/start4db.elf", "etc/default/raspi-firmware", "start4.elf"] {
            assert!(!is_wanted(path), "{path}");
        }
    }
}
