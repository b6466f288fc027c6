//! A laptop with a system disk, an encrypted disk, a card in use and a free one.

use super::*;

const NEEDED: u64 = 40 << 20;
const MOUNTS: &str = "\
21 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw
22 21 259:1 / /boot/efi rw,relatime shared:2 - vfat /dev/nvme0n1p1 rw
30 21 0:25 / /proc rw - proc proc rw
31 21 254:0 / /data rw - ext4 /dev/mapper/data rw
32 21 0:44 / /srv rw - btrfs /dev/sdc1 rw
33 21 179:1 / /media/me/my\\040card rw - vfat /dev/mmcblk0p1 rw
";
const SWAPS: &str = "\
Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority
/dev/zram0                              partition\t8122976\t\t0\t\t100
/dev/sdd2                               partition\t8122976\t\t0\t\t-2
";

fn disk(name: &str, number: &str, gigabytes: u64) -> Block {
    let (name, number) = (name.to_owned(), number.to_owned());
    Block {
        name,
        number,
        bytes: gigabytes * 1_000_000_000,
        model: "SanDisk Ultra".into(),
        ..Block::default()
    }
}

fn part(disk: &str, name: &str, number: &str) -> Block {
    let (name, number) = (name.to_owned(), number.to_owned());
    Block { name, number, disk: Some(disk.into()), bytes: 1 << 30, ..Block::default() }
}

fn held(block: Block, holder: &str) -> Block {
    Block { holders: vec![holder.into()], ..block }
}

fn laptop() -> Machine {
    let blocks = vec![
        disk("nvme0n1", "259:0", 512),
        part("nvme0n1", "nvme0n1p1", "259:1"),
        part("nvme0n1", "nvme0n1p2", "259:2"),
        disk("sdb", "8:16", 100),
        held(part("sdb", "sdb1", "8:17"), "dm-0"),
        disk("dm-0", "254:0", 100),
        disk("sdc", "8:32", 64),
        part("sdc", "sdc1", "8:33"),
        disk("sdd", "8:48", 64),
        part("sdd", "sdd2", "8:50"),
        held(disk("sde", "8:64", 64), "md0"),
        disk("mmcblk0", "179:0", 32),
        part("mmcblk0", "mmcblk0p1", "179:1"),
        disk("sdf", "8:80", 32),
        part("sdf", "sdf1", "8:81"),
        disk("sdg", "8:96", 0),
        disk("sdh", "8:112", 4_000),
        Block { read_only: true, ..disk("sdi", "8:128", 32) },
    ];
    Machine { mounts: MOUNTS.into(), swaps: SWAPS.into(), blocks }
}

#[test]
fn a_free_card_is_permitted_and_described() {
    let device = laptop().permit("sdf", NEEDED, false).expect("free");
    let expected = Device { path: "/dev/sdf".into(), model: "SanDisk Ultra".into(), bytes: 32_000_000_000 };
    assert_eq!(device, expected);
}

#[test]
fn what_is_in_use_in_any_way_is_refused_by_its_reason() {
    for (name, said) in [
        ("nvme0n1", "the disk of this machine's system: nvme0n1p2 is mounted at /"),
        ("mmcblk0", "mmcblk0p1 is mounted at /media/me/my\\040card"),
        ("sdb", "dm-0 is mounted at /data"),
        ("sdc", "sdc1 is mounted at /srv"),
        ("sdd", "sdd2 holds swap"),
        ("sde", "in use by md0"),
        ("sdf1", "is a partition: name the whole device, /dev/sdf"),
        ("sdg", "has 0 bytes"),
        ("sdh", "4000 GB"),
        ("sdi", "lock"),
        ("sdz", "no device /dev/sdz"),
    ] {
        let refused = laptop().permit(name, NEEDED, false).expect_err(name).to_string();
        assert!(refused.contains(said), "{name}: {refused}");
    }
}

#[test]
fn only_the_size_can_be_forced() {
    assert!(laptop().permit("sdh", NEEDED, true).is_ok());
    for name in ["nvme0n1", "mmcblk0", "sdb", "sdc", "sdd", "sde", "sdf1", "sdg", "sdi"] {
        assert!(laptop().permit(name, NEEDED, true).is_err(), "{name}");
    }
}

#[test]
fn a_system_behind_encryption_is_still_the_system() {
    let mut machine = laptop();
    machine.mounts = machine.mounts.replace("254:0 / /data", "254:0 / /");
    let refused = machine.permit("sdb", NEEDED, false).expect_err("the system");
    assert!(matches!(refused, Refused::System { .. }), "{refused}");
}

#[test]
fn this_machine_can_be_read_and_its_root_is_not_a_card() {
    let machine = Machine::read().expect("readable");
    assert!(machine.mounts.lines().count() > 0);
    for block in machine.blocks.iter().filter(|block| block.disk.is_none()) {
        let system = machine.mounts.lines().any(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            words[2] == block.number && words[4] == "/"
        });
        assert!(!system || machine.permit(&block.name, 0, true).is_err(), "{}", block.name);
    }
    assert!(matches!(name_of(Path::new("/dev/null")), Err(Refused::NotBlock(_))));
    assert!(matches!(name_of(Path::new("/dev/nothing")), Err(Refused::Absent(_))));
}
