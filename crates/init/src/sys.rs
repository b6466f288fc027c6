//! The ioctls that no safe wrapper has. The only `unsafe` of init; nothing else belongs here.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;

nix::ioctl_none!(blkrrpart, 0x12, 95);
nix::ioctl_readwrite!(wdioc_settimeout, b'W', 6, i32);
nix::ioctl_none_bad!(loop_get_free, 0x4c82);
nix::ioctl_write_int_bad!(loop_set_fd, 0x4c00);
nix::ioctl_none_bad!(loop_clear, 0x4c01);
// Their numbers hold the size of a request's head, not of the whole (linux/dm-ioctl.h).
nix::ioctl_readwrite_bad!(dm_create, nix::request_code_readwrite!(0xfd, 3, 312), u8);
nix::ioctl_readwrite_bad!(dm_remove, nix::request_code_readwrite!(0xfd, 4, 312), u8);
nix::ioctl_readwrite_bad!(dm_suspend, nix::request_code_readwrite!(0xfd, 6, 312), u8);
nix::ioctl_readwrite_bad!(dm_load_table, nix::request_code_readwrite!(0xfd, 9, 312), u8);

/// Size of a request to the device mapper: its head and whatever follows.
pub(crate) const MAPPER_BYTES: usize = 1_024;
/// Where a request says how large it is (`data_size`).
const MAPPER_SIZE_AT: usize = 12;

/// What the device mapper is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MapperCommand {
    /// `DM_DEV_CREATE`.
    Create,
    /// `DM_DEV_REMOVE`.
    Remove,
    /// `DM_DEV_SUSPEND`, which resumes if the request's flags do not say otherwise.
    Suspend,
    /// `DM_TABLE_LOAD`.
    LoadTable,
}

/// Asks the device mapper; the answer takes the request's place.
///
/// # Errors
/// What the kernel says.
pub(crate) fn ask_mapper(
    control: &File,
    command: MapperCommand,
    request: &mut [u8; MAPPER_BYTES],
) -> nix::Result<()> {
    request[MAPPER_SIZE_AT..MAPPER_SIZE_AT + 4].copy_from_slice(&(MAPPER_BYTES as u32).to_le_bytes());
    let call = match command {
        MapperCommand::Create => dm_create,
        MapperCommand::Remove => dm_remove,
        MapperCommand::Suspend => dm_suspend,
        MapperCommand::LoadTable => dm_load_table,
    };
    // SAFETY: the kernel reads and writes at most `data_size` bytes, which is the array's size; the array lives for the
    // whole call.
    unsafe { call(control.as_raw_fd(), request.as_mut_ptr()) }?;
    Ok(())
}

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

/// The number of a loop device that nobody uses (`LOOP_CTL_GET_FREE` of linux/loop.h).
///
/// # Errors
/// What the kernel says.
pub(crate) fn free_loop_device(control: &File) -> nix::Result<i32> {
    // SAFETY: the ioctl takes no argument; the descriptor is open for the whole call.
    unsafe { loop_get_free(control.as_raw_fd()) }
}

/// Lays a file on a loop device (`LOOP_SET_FD` of linux/loop.h), which keeps it open.
///
/// # Errors
/// `EBUSY` if it has one.
pub(crate) fn lend_to_loop_device(device: &File, file: &File) -> nix::Result<()> {
    // SAFETY: the argument is a number, a descriptor that is open for the whole call.
    unsafe { loop_set_fd(device.as_raw_fd(), file.as_raw_fd()) }?;
    Ok(())
}

/// Takes the file off a loop device (`LOOP_CLR_FD` of linux/loop.h).
///
/// # Errors
/// What the kernel says; `ENXIO` if it has none.
pub(crate) fn clear_loop_device(device: &File) -> nix::Result<()> {
    // SAFETY: the ioctl takes no argument; the descriptor is open for the whole call.
    unsafe { loop_clear(device.as_raw_fd()) }?;
    Ok(())
}
