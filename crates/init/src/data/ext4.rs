//! The superblock of an ext4 as far as it says whether the file system can be trusted
//! (Documentation/filesystems/ext4/super.rst). Reads nothing else.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};

/// Where the superblock begins, and how much of it is read, in bytes.
const SUPERBLOCK_AT: u64 = 1_024;
const SUPERBLOCK_BYTES: usize = 1_024;
/// `s_magic` and `s_state`.
const MAGIC_AT: usize = 0x38;
const STATE_AT: usize = 0x3a;
const MAGIC: u16 = 0xef53;
/// In `s_state`: the kernel found errors.
const HAS_ERRORS: u16 = 0x0002;

/// Looks whether an ext4 without noted errors lies on the device.
///
/// # Errors
/// What speaks against it.
pub(super) fn check(device: &File) -> Result<()> {
    let mut superblock = [0; SUPERBLOCK_BYTES];
    device.read_exact_at(&mut superblock, SUPERBLOCK_AT).context("reading the data partition")?;
    let half = |at: usize| u16::from_le_bytes([superblock[at], superblock[at + 1]]);
    ensure!(half(MAGIC_AT) == MAGIC, "there is no file system on it");
    ensure!(half(STATE_AT) & HAS_ERRORS == 0, "its file system has errors");
    Ok(())
}
