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
use cluster::plan::{Keep, RootPlace};

use crate::boot::Boot;
use crate::hardware::{coldplug, entries};
use crate::memory;
use crate::modules::Modules;
use crate::sys;
use mbr::{SECTOR_BYTES, Table};

/// The label of a card's first partition.
const LABEL: &str = "FLEDERMAUS";
/// How long a card may take to appear.
const CARD_LIMIT: Duration = Duration::from_secs(30);
/// How long a node that can live in memory waits while there is no disk at all.
const NO_DISK_LIMIT: Duration = Duration::from_secs(12);
/// How long partitions may take to appear after they were made.
const PARTITIONS_LIMIT: Duration = Duration::from_secs(10);
/// Enough of a file system's first bytes that nothing takes it for one without them.
const FILE_SYSTEM_HEAD_BYTES: usize = 64 * 1_024;
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
    /// The partition that no wipe reaches, if something is to be kept.
    pub(crate) keep: Option<PathBuf>,
    /// Size of the system partition in bytes.
    pub(crate) system_bytes: u64,
}

/// What a disk is to init.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// The node's card: its partition table, and the one that it has to have.
    Card(Box<(Table, Table)>),
    /// The node's card, but it cannot be used; why, and what to do.
    Useless(String),
    /// Somebody else's, or nobody's: never written.
    Foreign,
}

/// Finds the card and completes its partitions; or finds that the node can live in memory, where its plan lets it.
///
/// # Errors
/// No disk carries the label in time, or the card cannot be used, and memory does not do instead.
pub(crate) fn run(boot: &mut Boot) -> Result<String> {
    boot.card = None;
    let reason = match boot.plan.root {
        RootPlace::Memory => "as the plan says".to_owned(),
        place @ (RootPlace::Card | RootPlace::Copied | RootPlace::Auto) => {
            match take_card(place, boot.plan.keep) {
                Ok((card, detail)) => {
                    boot.card = Some(card);
                    return Ok(detail);
                }
                Err(error) if place == RootPlace::Auto => format!("{error:#}"),
                Err(error) => return Err(error),
            }
        }
    };
    memory::check(memory::total_bytes()?, boot.plan.system_bytes).with_context(|| reason.clone())?;
    Ok(format!("{reason}; everything lies in memory and is gone with this boot"))
}

fn take_card(place: RootPlace, keep: Keep) -> Result<(Card, String)> {
    let disk = wait_for_card(place)?;
    // Before it is opened for writing, which a write-protected one refuses without saying why.
    let total = sectors(&disk)?;
    let look = examine(
        &File::open(&disk).with_context(|| format!("opening {}", disk.display()))?,
        total,
        is_protected(&disk),
        keep,
    );
    let (found, wanted) = match look {
        Look::Card(tables) => *tables,
        Look::Useless(reason) => bail!("{}: {reason}", disk.display()),
        Look::Foreign => bail!("{} is not the node's card any more: was it pulled out?", disk.display()),
    };
    let repaired = wanted != found;
    if repaired {
        let file = open(&disk).with_context(|| format!("opening {}", disk.display()))?;
        write_table(&file, &found, &wanted).with_context(|| format!("partitioning {}", disk.display()))?;
    }
    let card = Card {
        system: partition(&disk, 2),
        data: partition(&disk, 3),
        keep: (keep != Keep::NOTHING).then(|| partition(&disk, 4)),
        system_bytes: mbr::SYSTEM_SECTORS * SECTOR_BYTES,
    };
    let partitions = [&card.system, &card.data].into_iter().chain(&card.keep);
    wait_for(&partitions.map(PathBuf::as_path).collect::<Vec<_>>())?;
    let how = if repaired { "partitioned" } else { "as it was" };
    Ok((card, format!("{}, {} MiB, {how}", disk.display(), total * SECTOR_BYTES / 1_048_576)))
}

/// What a disk of so many sectors is. One that cannot be read is somebody else's.
fn examine(disk: &File, total: u64, write_protected: bool, keep: Keep) -> Look {
    if !label(disk).is_ok_and(|label| label.as_deref() == Some(LABEL)) {
        return Look::Foreign;
    }
    let Ok(found) = read_table(disk) else { return Look::Foreign };
    if write_protected {
        return Look::Useless(
            "the card is write-protected: push its switch, or take another card".to_owned(),
        );
    }
    match found.completed(total, keep) {
        Ok(wanted) => Look::Card(Box::new((found, wanted))),
        Err(reason) => Look::Useless(reason),
    }
}

/// Whether the kernel lets nobody write a disk.
fn is_protected(disk: &Path) -> bool {
    let name = disk.file_name().unwrap_or_default();
    fs::read_to_string(Path::new("/sys/block").join(name).join("ro")).is_ok_and(|text| text.trim() == "1")
}

fn wait_for_card(place: RootPlace) -> Result<PathBuf> {
    let began = Instant::now();
    let mut next_coldplug = began + COLDPLUG_INTERVAL;
    loop {
        let disks = disks();
        if let Some(card) = disks.iter().find(|disk| is_card(disk)) {
            return Ok(card.clone());
        }
        let limit = if disks.is_empty() && place == RootPlace::Auto { NO_DISK_LIMIT } else { CARD_LIMIT };
        if began.elapsed() > limit {
            bail!("{}", no_card(&disks));
        }
        if Instant::now() > next_coldplug {
            coldplug(&mut Modules::of_running_kernel()?);
            next_coldplug = Instant::now() + COLDPLUG_INTERVAL;
        }
        thread::sleep(POLL);
    }
}

fn no_card(disks: &[PathBuf]) -> String {
    let names: Vec<_> = disks.iter().map(|disk| disk.display().to_string()).collect();
    match names.as_slice() {
        [] => "there is no card".to_owned(),
        names => format!(
            "no disk with a FAT partition labelled {LABEL} (seen and left alone: {})",
            names.join(", ")
        ),
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

fn write_table(disk: &File, before: &Table, table: &Table) -> Result<()> {
    // Where a new partition for what is kept begins may lie a file system that was given up.
    if let Some(start) = table.fourth_start().filter(|start| before.fourth_start() != Some(*start)) {
        disk.write_all_at(&[0; FILE_SYSTEM_HEAD_BYTES], start * SECTOR_BYTES)?;
        disk.sync_all()?;
    }
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
mod tests;
