//! Whether a device may become a card. Decides from texts of the kernel, so that the decision needs no machine.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// The largest device that is taken for a card without being told, in bytes: 256 GiB. What is larger is rather a disk with
/// somebody's files on it.
pub const LIMIT_BYTES: u64 = 256 << 30;
/// sysfs counts sectors of so many bytes, whatever the device has.
const SECTOR_BYTES: u64 = 512;
/// Where a system is mounted; and anything below `/boot`.
const SYSTEM_FOLDERS: [&str; 6] = ["/", "/boot", "/etc", "/home", "/usr", "/var"];

/// A device that may be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its path, such as `/dev/sdb`.
    pub path: PathBuf,
    /// What its maker calls it, as far as it says.
    pub model: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Why a device is not written. Each says what to do.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Refused {
    #[error("there is no device {0}: `lsblk` lists them")]
    Absent(String),
    #[error("{0} is no block device: write an image into a file with --out")]
    NotBlock(String),
    #[error("{name} is a partition: name the whole device, /dev/{disk}")]
    Partition { name: String, disk: String },
    #[error("{name} is the disk of this machine's system: {part} is mounted at {folder}")]
    System { name: String, part: String, folder: String },
    #[error("{name} is in use: {part} is mounted at {folder}; unmount it with `umount {folder}`")]
    Mounted { name: String, part: String, folder: String },
    #[error("{name} is in use: {part} holds swap; switch it off with `swapoff /dev/{part}`")]
    Swap { name: String, part: String },
    #[error("{name} is in use by {holder} (LVM, RAID or encryption)")]
    Held { name: String, holder: String },
    #[error("{0} cannot be written: is the card's lock switched on?")]
    ReadOnly(String),
    #[error("{name} has {bytes} bytes, the card image {needed}: is there a card in the reader?")]
    TooSmall { name: String, bytes: u64, needed: u64 },
    #[error("{name} has {} GB, which no card of a node has: say --force-size if it is meant", .bytes / 1_000_000_000)]
    TooLarge { name: String, bytes: u64 },
}

/// What a kernel says of its disks.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// The text of `/proc/self/mountinfo` (proc(5)).
    pub mounts: String,
    /// The text of `/proc/swaps`.
    pub swaps: String,
    /// Everything in `/sys/class/block`.
    pub blocks: Vec<Block>,
}

/// A block device: a disk or a partition.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// Its name in `/dev`.
    pub name: String,
    /// Its number, `major:minor`.
    pub number: String,
    /// The disk that it is a partition of.
    pub disk: Option<String>,
    /// Its size in bytes.
    pub bytes: u64,
    /// What its maker calls it, perhaps empty.
    pub model: String,
    /// Whether it cannot be written.
    pub read_only: bool,
    /// Names of devices that are made of it.
    pub holders: Vec<String>,
}

impl Machine {
    /// Reads what this machine's kernel says.
    ///
    /// # Errors
    /// `/proc` or `/sys` is not there.
    pub fn read() -> anyhow::Result<Self> {
        let text = |path: &str| fs::read_to_string(path).with_context(|| format!("reading {path}"));
        let folder = "/sys/class/block";
        let mut blocks = Vec::new();
        for entry in fs::read_dir(folder).with_context(|| format!("reading {folder}"))? {
            blocks.push(block(&entry?.path())?);
        }
        // A kernel without swap has no such file.
        let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
        Ok(Self { mounts: text("/proc/self/mountinfo")?, swaps, blocks })
    }

    /// Whether an image of so many bytes may be written onto the device of this name; `force_size` says that it may be large.
    ///
    /// # Errors
    /// It may not.
    pub fn permit(&self, name: &str, needed: u64, force_size: bool) -> Result<Device, Refused> {
        let path = format!("/dev/{name}");
        let Some(block) = self.block(name) else { return Err(Refused::Absent(path)) };
        if let Some(disk) = &block.disk {
            return Err(Refused::Partition { name: path, disk: disk.clone() });
        }
        let family = self.family(name);
        self.check_mounts(&path, &family)?;
        let mut swaps = self.swaps.lines().skip(1).filter_map(|line| line.split_whitespace().next());
        if let Some(part) = swaps.find_map(|swap| family.get(swap.strip_prefix("/dev/")?)) {
            return Err(Refused::Swap { name: path, part: part.clone() });
        }
        let mut holders = self.blocks.iter().filter(|block| family.contains(&block.name));
        if let Some(holder) = holders.find_map(|block| block.holders.first()) {
            return Err(Refused::Held { name: path, holder: holder.clone() });
        }
        match block {
            Block { bytes, .. } if *bytes < needed => {
                Err(Refused::TooSmall { name: path, bytes: *bytes, needed })
            }
            Block { read_only: true, .. } => Err(Refused::ReadOnly(path)),
            Block { bytes, .. } if *bytes > LIMIT_BYTES && !force_size => {
                Err(Refused::TooLarge { name: path, bytes: *bytes })
            }
            Block { bytes, model, .. } => {
                Ok(Device { path: path.into(), model: model.clone(), bytes: *bytes })
            }
        }
    }

    fn block(&self, name: &str) -> Option<&Block> {
        self.blocks.iter().find(|block| block.name == name)
    }

    /// The disk, its partitions, and whatever is made of any of them.
    fn family(&self, disk: &str) -> BTreeSet<String> {
        let mut family = BTreeSet::new();
        let mut next = vec![disk.to_owned()];
        while let Some(name) = next.pop() {
            for block in &self.blocks {
                if block.disk.as_deref() == Some(&name) {
                    next.push(block.name.clone());
                }
            }
            let holders = self.block(&name).map_or(&[][..], |block| &block.holders);
            let new = holders.iter().filter(|holder| !family.contains(*holder));
            next.extend(new.cloned());
            family.insert(name);
        }
        family
    }

    /// One mount that is the system's says more than others.
    fn check_mounts(&self, path: &str, family: &BTreeSet<String>) -> Result<(), Refused> {
        let mut used = None;
        for line in self.mounts.lines() {
            let Some((part, folder)) = self.mounted(line, family) else { continue };
            let (name, folder) = (path.to_owned(), folder.to_owned());
            if SYSTEM_FOLDERS.contains(&&*folder) || folder.starts_with("/boot/") {
                return Err(Refused::System { name, part, folder });
            }
            used.get_or_insert(Refused::Mounted { name, part, folder });
        }
        used.map_or(Ok(()), Err)
    }

    /// The member of the family that a line of mountinfo mounts, and where. By its number, and by its name because some file
    /// systems have numbers of their own (Btrfs).
    fn mounted<'a>(&self, line: &'a str, family: &BTreeSet<String>) -> Option<(String, &'a str)> {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(2);
        let (number, folder) = (front.next()?, front.nth(1)?);
        let source = back.split(' ').nth(1)?.strip_prefix("/dev/").unwrap_or_default();
        let member = |block: &&Block| {
            let is_it = block.number == number || block.name == source;
            is_it && family.contains(&block.name)
        };
        self.blocks.iter().find(member).map(|block| (block.name.clone(), folder))
    }
}

/// The kernel's name of a device; links such as those in `/dev/disk/by-id` are followed.
///
/// # Errors
/// It is not there, or no block device.
pub fn name_of(path: &Path) -> Result<String, Refused> {
    let shown = path.display().to_string();
    let Ok(real) = path.canonicalize() else { return Err(Refused::Absent(shown)) };
    let is_block = fs::metadata(&real).is_ok_and(|about| about.file_type().is_block_device());
    match real.file_name().and_then(|name| name.to_str()) {
        Some(name) if is_block => Ok(name.to_owned()),
        _ => Err(Refused::NotBlock(shown)),
    }
}

fn block(link: &Path) -> anyhow::Result<Block> {
    let folder = link.canonicalize().with_context(|| format!("reading {}", link.display()))?;
    let text = |file: &str| fs::read_to_string(folder.join(file)).unwrap_or_default().trim().to_owned();
    let last = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let is_partition = folder.join("partition").exists();
    let holders = fs::read_dir(folder.join("holders")).into_iter().flatten().flatten();
    // A SCSI disk has vendor and model, a card in a reader of its own a name.
    let words = ["device/vendor", "device/model", "device/name"].map(text);
    Ok(Block {
        name: last(&folder),
        number: text("dev"),
        disk: folder.parent().filter(|_| is_partition).map(last),
        bytes: text("size").parse::<u64>().unwrap_or(0) * SECTOR_BYTES,
        model: words.join(" ").trim().to_owned(),
        read_only: text("ro") == "1",
        holders: holders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect(),
    })
}

#[cfg(test)]
mod tests;
