//! The ioctls that no safe wrapper has. The only `unsafe` of init; nothing else belongs here.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;

nix::ioctl_none!(blkrrpart, 0x12, 95);
nix::ioctl_readwrite!(wdioc_settimeout, b'W', 6, i32);

/// Makes the kernel read a disk's partition table again (`BLKRRPART` of linux/fs.h).
///
/// # Errors
/// `EBUSY` while one of its partitions is in use.
pub(crate) fn read_partitions_again(disk: &File) -> nix::Result<()> {
    // SAFETY: the ioctl takes no argument; the descriptor is open for the whole call.
    unsafe { blkrrpart(disk.as_raw_fd()) }?;
    Ok(())
}

/// Sets how long the watchdog waits to be fed, in seconds (`WDIOC_SETTIMEOUT` of linux/watchdog.h).
///
/// # Errors
/// `EINVAL` where the hardware cannot wait that long.
pub(crate) fn set_watchdog_timeout(watchdog: &File, seconds: i32) -> nix::Result<()> {
    let mut argument = seconds;
    // SAFETY: the kernel reads and writes one int behind the pointer, which lives for the whole call.
    unsafe { wdioc_settimeout(watchdog.as_raw_fd(), &mut argument) }?;
    Ok(())
}
