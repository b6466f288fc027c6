//! A node without a card: the system image and all data lie in memory and are gone with the boot.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::modules::Modules;
use crate::sys;

/// What the services and the data need beside the image, in bytes: Docker takes 150 MB, and something has to run in it.
const BESIDE_IMAGE_BYTES: u64 = 512 << 20;
/// How much of the memory the data may take.
const DATA_SHARE: &str = "size=60%,mode=0755";
/// Where the image lies.
const FOLDER: &str = "/mnt/image";
const MEBIBYTE: u64 = 1 << 20;

/// Whether a node with so much memory can do without a card.
///
/// # Errors
/// It cannot; the sentence says what is needed.
pub(crate) fn check(memory_bytes: u64, image_bytes: u64) -> Result<()> {
    let needed = image_bytes.saturating_add(BESIDE_IMAGE_BYTES);
    ensure!(
        memory_bytes >= needed,
        "{} MiB of memory are too little to do without a card, {} MiB are needed: put in a card whose first partition is a \
         FAT with the label FLEDERMAUS",
        memory_bytes / MEBIBYTE,
        needed.div_ceil(MEBIBYTE)
    );
    Ok(())
}

/// The memory that the kernel has, in bytes.
///
/// # Errors
/// It does not say.
pub(crate) fn total_bytes() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("reading the size of the memory")?;
    parse_total(&text).context("understanding the size of the memory")
}

fn parse_total(text: &str) -> Option<u64> {
    let kibibytes = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(kibibytes.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1_024)
}

/// An empty file in memory with room for the image.
///
/// # Errors
/// The kernel does not give it.
pub(crate) fn image_file(image_bytes: u64) -> Result<PathBuf> {
    // A phase that is tried again finds what the first try left.
    let _ = umount2(FOLDER, MntFlags::MNT_DETACH);
    fs::create_dir_all(FOLDER)?;
    let room = format!("size={},mode=0700", image_bytes.next_multiple_of(MEBIBYTE) + MEBIBYTE);
    mount(Some("tmpfs"), FOLDER, Some("tmpfs"), MsFlags::MS_NOATIME, Some(room.as_str()))
        .context("making room for the image in memory")?;
    Ok(Path::new(FOLDER).join("system"))
}

/// Makes a file a block device that cannot be written, and returns that.
///
/// # Errors
/// The kernel has no loop devices.
pub(crate) fn as_device(file: &Path) -> Result<PathBuf> {
    Modules::of_running_kernel()?.load("loop", "").context("loading the driver of loop devices")?;
    let control =
        File::options().read(true).write(true).open("/dev/loop-control").context("opening loop-control")?;
    let number = sys::free_loop_device(&control).context("asking for a loop device")?;
    let path = PathBuf::from(format!("/dev/loop{number}"));
    let device = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
    let content = File::open(file).with_context(|| format!("opening {}", file.display()))?;
    sys::lend_to_loop_device(&device, &content)
        .with_context(|| format!("laying the image on {}", path.display()))?;
    Ok(path)
}

/// Gives the memory back that an image took; nobody must have it mounted any more.
///
/// # Errors
/// The kernel does not let go of it.
pub(crate) fn free(device: &Path) -> Result<()> {
    let file = File::open(device).with_context(|| format!("opening {}", device.display()))?;
    sys::clear_loop_device(&file).with_context(|| format!("taking the image off {}", device.display()))?;
    // Where the image came with the initramfs, nothing is mounted there, and the file goes with all others.
    let _ = umount2(FOLDER, MntFlags::MNT_DETACH);
    Ok(())
}

/// Mounts room for the data.
///
/// # Errors
/// The kernel does not give it.
pub(crate) fn mount_data(folder: &Path) -> Result<()> {
    let mounted = mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::MS_NOATIME, Some(DATA_SHARE));
    match mounted {
        Ok(()) => Ok(()),
        Err(error) => bail!("making room for the data in memory: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_has_to_hold_image_and_services() {
        assert!(check(970 << 20, 57_000_000).is_ok());
        let told = check(429 << 20, 57_000_000).expect_err("a Zero 2").to_string();
        assert!(told.contains("429 MiB") && told.contains("567 MiB are needed"), "{told}");
        assert!(check(u64::MAX, u64::MAX).is_ok() && check(1, u64::MAX).is_err());
    }

    #[test]
    fn the_kernel_s_word_on_memory_is_understood() {
        assert_eq!(parse_total("MemTotal:         995328 kB\nMemFree: 1 kB\n"), Some(995_328 * 1_024));
        assert_eq!(parse_total("MemFree: 1 kB\n"), None);
        assert!(total_bytes().expect("this machine has memory") > 0);
    }
}
