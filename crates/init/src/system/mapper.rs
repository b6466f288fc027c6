//! Puts dm-verity between the slot and whoever reads it: each block is checked against the hash tree as it is read, and the
//! kernel restarts the node at the first that is wrong. The next boot finds it, too, for it checks the whole image, and
//! streams a new one. (Restarting does not need a program that would itself have to be read from that card.)
//!
//! The kernel's interface: linux/dm-ioctl.h; the target's words: Documentation/admin-guide/device-mapper/verity.rst.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cluster::Digest;
use cluster::verity::BLOCK_BYTES;

use crate::modules::Modules;
use crate::sys::{self, MAPPER_BYTES, MapperCommand};

/// The kernel makes it when the module is there.
const CONTROL: &str = "/dev/mapper/control";
/// The mapped device's name.
const NAME: &[u8] = b"system";
/// How long the device may take to appear.
const DEVICE_LIMIT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);

const SECTOR_BYTES: u64 = 512;
/// Places in the head of a request (`struct dm_ioctl`), and its size.
const VERSION_AT: usize = 0;
const DATA_START_AT: usize = 16;
const TARGET_COUNT_AT: usize = 20;
const FLAGS_AT: usize = 28;
const DEVICE_AT: usize = 40;
const NAME_AT: usize = 48;
const HEAD_BYTES: usize = 312;
/// Size of `struct dm_target_spec`, behind which the target's words follow.
const TARGET_BYTES: usize = 40;
/// `DM_READONLY_FLAG`. Of the flags of a suspend, none means: resume.
const READ_ONLY: u32 = 1;

/// Maps an image that lies at the start of `device`, its tree right behind it. Returns the device to mount.
///
/// # Errors
/// The kernel cannot do it.
pub(super) fn map(device: &Path, image_bytes: u64, root: &Digest) -> Result<PathBuf> {
    let mut modules = Modules::of_running_kernel()?;
    modules.load("dm_mod", "").context("loading the device mapper")?;
    modules.load("dm_verity", "").context("loading dm-verity")?;
    let number =
        std::fs::metadata(device).with_context(|| format!("looking at {}", device.display()))?.rdev();
    let control =
        OpenOptions::new().read(true).write(true).open(CONTROL).context("opening the device mapper")?;
    // A phase that is tried again finds what the first try left.
    let _ = ask(&control, MapperCommand::Remove, &mut request());
    let mut created = request();
    ask(&control, MapperCommand::Create, &mut created).context("making the mapped device")?;
    let mut table = table(image_bytes, &words(number, image_bytes, root))?;
    ask(&control, MapperCommand::LoadTable, &mut table).context("laying the hash tree over the slot")?;
    ask(&control, MapperCommand::Suspend, &mut request()).context("starting the mapped device")?;
    let minor = minor(u64::from_le_bytes(created[DEVICE_AT..DEVICE_AT + 8].try_into()?));
    wait_for(PathBuf::from(format!("/dev/dm-{minor}")))
}

fn ask(control: &File, command: MapperCommand, request: &mut [u8; MAPPER_BYTES]) -> nix::Result<()> {
    sys::ask_mapper(control, command, request)
}

/// A request about our device, without a target.
fn request() -> [u8; MAPPER_BYTES] {
    let mut request = [0; MAPPER_BYTES];
    // Version 4.0.0 of the interface, which is all that is used.
    put(&mut request, VERSION_AT, &4_u32.to_le_bytes());
    put(&mut request, DATA_START_AT, &(HEAD_BYTES as u32).to_le_bytes());
    put(&mut request, NAME_AT, NAME);
    request
}

/// A request with one target over the whole image.
fn table(image_bytes: u64, words: &str) -> Result<[u8; MAPPER_BYTES]> {
    let mut request = request();
    put(&mut request, TARGET_COUNT_AT, &1_u32.to_le_bytes());
    put(&mut request, FLAGS_AT, &READ_ONLY.to_le_bytes());
    // First sector 0; then the length, a status, the next target's place, and the target's name.
    put(&mut request, HEAD_BYTES + 8, &(image_bytes / SECTOR_BYTES).to_le_bytes());
    put(&mut request, HEAD_BYTES + 24, b"verity");
    // One zero at least ends the words.
    if HEAD_BYTES + TARGET_BYTES + words.len() >= MAPPER_BYTES {
        bail!("the words for dm-verity are too long");
    }
    put(&mut request, HEAD_BYTES + TARGET_BYTES, words.as_bytes());
    Ok(request)
}

fn put(request: &mut [u8; MAPPER_BYTES], at: usize, bytes: &[u8]) {
    request[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Format, device with data, device with hashes, sizes of their blocks, how many of data, where the hashes begin, algorithm,
/// root, salt (none), options.
fn words(device: u64, image_bytes: u64, root: &Digest) -> String {
    let device = format!("{}:{}", major(device), minor(device));
    let blocks = image_bytes / BLOCK_BYTES as u64;
    format!(
        "1 {device} {device} {BLOCK_BYTES} {BLOCK_BYTES} {blocks} {blocks} sha256 {root} - 1 restart_on_corruption"
    )
}

/// As the kernel's `new_decode_dev` has it.
fn major(device: u64) -> u64 {
    (device >> 8) & 0xfff
}

fn minor(device: u64) -> u64 {
    (device & 0xff) | ((device >> 12) & 0xf_ff00)
}

fn wait_for(device: PathBuf) -> Result<PathBuf> {
    let end = Instant::now() + DEVICE_LIMIT;
    while !device.exists() {
        if Instant::now() > end {
            bail!("{} does not appear", device.display());
        }
        thread::sleep(POLL);
    }
    Ok(device)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_table_has_what_the_kernel_reads_in_its_places() {
        let words = words(nix::sys::stat::makedev(254, 2), 8_192, &Digest([0xab; 32]));
        let root = "ab".repeat(32);
        assert_eq!(words, format!("1 254:2 254:2 4096 4096 2 2 sha256 {root} - 1 restart_on_corruption"));
        let table = table(8_192, &words).unwrap();
        let number = |at: usize| u32::from_le_bytes(table[at..at + 4].try_into().unwrap());
        assert_eq!((number(0), number(16), number(20), number(28)), (4, 312, 1, 1));
        assert_eq!(&table[48..55], b"system\0");
        assert_eq!(number(312 + 8), 16, "sectors");
        assert_eq!(&table[312 + 24..312 + 31], b"verity\0");
        assert_eq!(&table[352..352 + words.len()], words.as_bytes());
        assert!(super::table(8_192, &"x".repeat(MAPPER_BYTES)).is_err());
    }

    #[test]
    fn device_numbers_are_taken_apart_as_the_kernel_does() {
        let number = nix::sys::stat::makedev(179, 2);
        assert_eq!((major(number), minor(number)), (179, 2));
        let large = nix::sys::stat::makedev(259, 70_000);
        assert_eq!((major(large), minor(large)), (259, 70_000));
    }
}
