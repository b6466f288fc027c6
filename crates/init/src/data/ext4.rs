//! The superblock of an ext4 as far as it says whether the file system can be trusted
//! (Documentation/filesystems/ext4/super.rst). Reads nothing else.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, ensure};

/// Where the superblock begins, in bytes.
const SUPERBLOCK_AT: u64 = 1_024;
/// `s_magic` and `s_state`.
const MAGIC_AT: u64 = 0x38;
const STATE_AT: u64 = 0x3a;
const MAGIC: u16 = 0xef53;
/// In `s_state`: the kernel found errors.
const HAS_ERRORS: u16 = 0x0002;

/// Looks whether an ext4 without noted errors lies on the device.
///
/// # Errors
/// What speaks against it.
pub(super) fn check(device: &File) -> Result<()> {
    ensure!(is_there(device)?, "there is no file system on it");
    ensure!(half(device, STATE_AT)? & HAS_ERRORS == 0, "its file system has errors");
    Ok(())
}

/// Whether there is an ext4 on the device, sound or not.
///
/// # Errors
/// It cannot be read.
pub(super) fn is_there(device: &File) -> Result<bool> {
    Ok(half(device, MAGIC_AT)? == MAGIC)
}

/// A field of 16 bits.
fn half(device: &File, at: u64) -> Result<u16> {
    let mut bytes = [0; 2];
    device.read_exact_at(&mut bytes, SUPERBLOCK_AT + at).context("reading the partition")?;
    Ok(u16::from_le_bytes(bytes))
}
