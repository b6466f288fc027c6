//! The phase `disk`: finds the node's own card by its label and sees to its partitions.
//!
//! Never writes to a disk whose first partition is not a FAT with the label `FLEDERMAUS`.

mod fat;
mod mbr;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::boot::Boot;
use crate::hardware::{coldplug, entries};
use crate::modules::Modules;
use crate::sys;
use mbr::{SECTOR_BYTES, Table};

/// The label of a card's first partition.
const LABEL: &str = "FLEDERMAUS";
/// How long a card may take to appear, and its partitions after they were made.
const CARD_LIMIT: Duration = Duration::from_secs(30);
const PARTITIONS_LIMIT: Duration = Duration::from_secs(10);
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(20);
/// How often, while there is no card, drivers for new devices are looked for.
const COLDPLUG_INTERVAL: Duration = Duration::from_millis(500);
/// Kernel devices that are no disks.
const NO_DISKS: [&str; 7] = ["loop", "ram", "zram", "dm-", "sr", "md", "mtdblock"];

/// The node's own card.
#[derive(Debug)]
pub(crate) struct Card {
    /// The partition for the system image.
    pub(crate) system: PathBuf,
    /// The partition for everything else.
    pub(crate) data: PathBuf,
    /// Size of the system partition in bytes.
    pub(crate) system_bytes: u64,
}

/// Finds the card and completes its partitions.
///
/// # Errors
/// No disk carries the label in time, the card is too small, or it cannot be written.
pub(crate) fn run(boot: &mut Boot) -> Result<String> {
    let disk = wait_for_card()?;
    let file = open(&disk).with_context(|| format!("opening {}", disk.display()))?;
    let table = read_table(&file).context("reading the partition table")?;
    let total = sectors(&disk)?;
    let wanted = table.completed(total).map_err(anyhow::Error::msg)?;
    let repaired = wanted != table;
    if repaired {
        write_table(&file, &wanted).with_context(|| format!("partitioning {}", disk.display()))?;
    }
    let card = Card {
        system: partition(&disk, 2),
        data: partition(&disk, 3),
        system_bytes: mbr::SYSTEM_SECTORS * SECTOR_BYTES,
    };
    wait_for(&[&card.system, &card.data])?;
    boot.card = Some(card);
    let how = if repaired { "partitioned" } else { "as it was" };
    Ok(format!("{}, {} MiB, {how}", disk.display(), total * SECTOR_BYTES / 1_048_576))
}

fn wait_for_card() -> Result<PathBuf> {
    let began = Instant::now();
    let mut next_coldplug = began + COLDPLUG_INTERVAL;
    loop {
        let disks = disks();
        if let Some(card) = disks.iter().find(|disk| is_card(disk)) {
            return Ok(card.clone());
        }
        if began.elapsed() > CARD_LIMIT {
            let names: Vec<_> = disks.iter().map(|disk| disk.display().to_string()).collect();
            bail!("no disk with a FAT partition labelled {LABEL} (seen: {})", names.join(", "));
        }
        if Instant::now() > next_coldplug {
            coldplug(&mut Modules::of_running_kernel()?);
            next_coldplug = Instant::now() + COLDPLUG_INTERVAL;
        }
        thread::sleep(POLL);
    }
}

fn disks() -> Vec<PathBuf> {
    let blocks = entries(Path::new("/sys/block"));
    let names = blocks.iter().filter_map(|path| path.file_name()?.to_str());
    names
        .filter(|name| !NO_DISKS.iter().any(|prefix| name.starts_with(prefix)))
        .map(|name| Path::new("/dev").join(name))
        .collect()
}

/// Whether a disk is the node's own. One that cannot be read is not.
fn is_card(disk: &Path) -> bool {
    File::open(disk).and_then(|file| label(&file)).is_ok_and(|label| label.as_deref() == Some(LABEL))
}

/// The label of the FAT on a disk's first partition.
fn label(disk: &File) -> io::Result<Option<String>> {
    let Some(start) = read_table(disk)?.first_start() else { return Ok(None) };
    let mut sector = [0; SECTOR_BYTES as usize];
    disk.read_exact_at(&mut sector, start * SECTOR_BYTES)?;
    let Some(volume) = fat::Volume::parse(&sector) else { return Ok(None) };
    let mut root = vec![0; volume.root_bytes];
    disk.read_exact_at(&mut root, start * SECTOR_BYTES + volume.root_offset)?;
    Ok(fat::label_in_root(&root).or(Some(volume.label)))
}

fn read_table(disk: &File) -> io::Result<Table> {
    let mut sector = [0; SECTOR_BYTES as usize];
    disk.read_exact_at(&mut sector, 0)?;
    Ok(Table::new(sector))
}

fn write_table(disk: &File, table: &Table) -> Result<()> {
    disk.write_all_at(table.sector(), 0)?;
    disk.sync_all()?;
    sys::read_partitions_again(disk).context("asking the kernel to read the new table")
}

fn open(disk: &Path) -> io::Result<File> {
    File::options().read(true).write(true).open(disk)
}

/// A disk's size in sectors of 512 bytes, as sysfs always counts.
fn sectors(disk: &Path) -> Result<u64> {
    let name = disk.file_name().context("a disk without a name")?;
    let file = Path::new("/sys/block").join(name).join("size");
    let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    text.trim().parse().with_context(|| format!("understanding {}", file.display()))
}

/// `vda` has `vda2`, `mmcblk0` has `mmcblk0p2`.
fn partition(disk: &Path, number: u8) -> PathBuf {
    let disk = disk.to_string_lossy();
    let separator = if disk.ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
    PathBuf::from(format!("{disk}{separator}{number}"))
}

fn wait_for(nodes: &[&Path]) -> Result<()> {
    let began = Instant::now();
    while let Some(missing) = nodes.iter().find(|node| !node.exists()) {
        if began.elapsed() > PARTITIONS_LIMIT {
            bail!("{} does not appear", missing.display());
        }
        thread::sleep(POLL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
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
}
