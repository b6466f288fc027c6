//! What init makes of disks, on files.
#![allow(clippy::unwrap_used)]
use super::*;
use std::process::Command;

#[test]
fn partitions_are_named_as_the_kernel_does() {
    assert_eq!(partition(Path::new("/dev/vda"), 2), Path::new("/dev/vda2"));
    assert_eq!(partition(Path::new("/dev/mmcblk0"), 3), Path::new("/dev/mmcblk0p3"));
}

/// A card whose FAT is made by mkfs.vfat, the tool that people use.
fn card_image(label: &str, bits: &str) -> File {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path().join("fat");
    let made = Command::new("mkfs.vfat")
        .args(["-F", bits, "-n", label, "-C"])
        .arg(&volume)
        .arg("40960")
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let disk = tempfile::tempfile().unwrap();
    disk.write_all_at(mbr::tests::only_first(2048, 81_920).sector(), 0).unwrap();
    disk.write_all_at(&fs::read(&volume).unwrap(), 2048 * SECTOR_BYTES).unwrap();
    disk
}

#[test]
fn the_label_is_found_on_every_kind_of_fat() {
    for bits in ["12", "16", "32"] {
        assert_eq!(label(&card_image("FLEDERMAUS", bits)).unwrap().as_deref(), Some(LABEL), "FAT{bits}");
        assert_eq!(label(&card_image("HOLIDAYS", bits)).unwrap().as_deref(), Some("HOLIDAYS"));
    }
}

#[test]
fn what_is_no_card_has_no_label() {
    let disk = tempfile::tempfile().unwrap();
    assert!(label(&disk).is_err());
    disk.set_len(4 << 20).unwrap();
    assert_eq!(label(&disk).unwrap(), None);
    disk.write_all_at(mbr::tests::only_first(2048, 2048).sector(), 0).unwrap();
    assert_eq!(label(&disk).unwrap(), None);
    disk.write_all_at(mbr::tests::only_first(1 << 30, 2048).sector(), 0).unwrap();
    assert!(label(&disk).is_err(), "a partition behind the end of the disk");
}

const FOUR_GIB: u64 = 8_388_608;

/// Writes over some bytes of a disk.
fn with(disk: &File, at: u64, bytes: &[u8]) {
    disk.write_all_at(bytes, at).unwrap();
}

/// The table that a card has, and the one that it is to have.
fn tables(disk: &File) -> (Table, Table) {
    match examine(disk, FOUR_GIB, false, Keep::NOTHING) {
        Look::Card(tables) => *tables,
        other => panic!("{other:?}"),
    }
}

fn why_useless(look: Look) -> String {
    match look {
        Look::Useless(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_new_card_is_completed_and_a_complete_one_stays() {
    let disk = card_image(LABEL, "32");
    let (found, wanted) = tables(&disk);
    assert_ne!(found, wanted);
    with(&disk, 0, wanted.sector());
    assert_eq!(tables(&disk), (wanted.clone(), wanted));
}

#[test]
fn blank_disks_garbage_and_other_people_s_disks_are_left_alone() {
    let blank = tempfile::tempfile().unwrap();
    blank.set_len(4 << 20).unwrap();
    assert_eq!(examine(&blank, FOUR_GIB, false, Keep::NOTHING), Look::Foreign);

    let garbage = tempfile::tempfile().unwrap();
    let noise: Vec<u8> =
        (0..4_u32 << 20).map(|place| (place.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    with(&garbage, 0, &noise);
    assert_eq!(examine(&garbage, FOUR_GIB, false, Keep::NOTHING), Look::Foreign);
    with(&garbage, 510, &[0x55, 0xaa]);
    assert_eq!(examine(&garbage, FOUR_GIB, false, Keep::NOTHING), Look::Foreign);

    // Somebody's card with a FAT of another name, and one whose first partition is Linux's.
    assert_eq!(examine(&card_image("HOLIDAYS", "32"), FOUR_GIB, false, Keep::NOTHING), Look::Foreign);
    let other = tempfile::tempfile().unwrap();
    with(&other, 0, mbr::tests::only_first(2048, 81_920).sector());
    with(&other, 2048 * SECTOR_BYTES + 1_080, &[0x53, 0xef]);
    assert_eq!(examine(&other, FOUR_GIB, false, Keep::NOTHING), Look::Foreign);
}

#[test]
fn a_gpt_is_left_alone_even_if_a_fat_of_our_name_is_on_it() {
    let disk = card_image(LABEL, "32");
    // The type of the partition with which a GPT protects itself.
    with(&disk, 446 + 4, &[0xee]);
    assert_eq!(examine(&disk, FOUR_GIB, false, Keep::NOTHING), Look::Foreign);
}

#[test]
fn a_real_gpt_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    File::create(&path).unwrap().set_len(64 << 20).unwrap();
    let mut sfdisk = Command::new("sfdisk");
    sfdisk
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .arg("-q")
        .arg(&path)
        .stdin(std::process::Stdio::piped());
    let mut child = sfdisk.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"label: gpt\n,,\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(examine(&File::open(&path).unwrap(), FOUR_GIB, false, Keep::NOTHING), Look::Foreign);
}

#[test]
fn a_table_that_was_half_written_is_written_again() {
    let disk = card_image(LABEL, "32");
    let (_, wanted) = tables(&disk);
    // The second and third entries are garbage, the first is whole.
    with(&disk, 446 + 16, &[0x5a; 40]);
    let (found, again) = tables(&disk);
    assert_ne!(found, again);
    assert_eq!(again, wanted);
    // Without its signature it is no table: nobody can say whose disk it is.
    with(&disk, 510, &[0, 0]);
    assert_eq!(examine(&disk, FOUR_GIB, false, Keep::NOTHING), Look::Foreign);
}

#[test]
fn small_and_write_protected_cards_say_what_to_do() {
    let disk = card_image(LABEL, "32");
    let small = why_useless(examine(&disk, 131_072, false, Keep::NOTHING));
    assert!(small.contains("too small: it needs"), "{small}");
    let protected = why_useless(examine(&disk, FOUR_GIB, true, Keep::NOTHING));
    assert!(protected.contains("write-protected: push its switch"), "{protected}");
    // A protected disk of somebody else is none of our business.
    assert_eq!(examine(&card_image("HOLIDAYS", "32"), FOUR_GIB, true, Keep::NOTHING), Look::Foreign);
}

#[test]
fn a_card_that_vanishes_is_no_card() {
    let disk = card_image(LABEL, "32");
    // What is left of a card that was pulled out: it opens, but nothing can be read.
    disk.set_len(0).unwrap();
    assert_eq!(examine(&disk, FOUR_GIB, false, Keep::NOTHING), Look::Foreign);
    disk.set_len(600).unwrap();
    assert_eq!(examine(&disk, FOUR_GIB, false, Keep::NOTHING), Look::Foreign);
    assert!(no_card(&[]).contains("no card"));
    assert!(no_card(&["/dev/sda".into()]).contains("left alone: /dev/sda"));
}
