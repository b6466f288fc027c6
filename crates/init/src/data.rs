//! The phase `data`: a new file system on the data partition, or the one that is there, where the plan lets a node keep it. What no
//! wipe reaches is a partition of its own ([`keep`]).
//!
//! ```text
//!  plan: always ─────────────────────────────────────────────────────────┐
//!  plan: on-change ──► ext4 without errors? ──► mounts? ──► stamp of this ├─ no ──► new file system
//!                                        (replays the journal)  plan?  ──┘
//!                                                                └─ yes ──► kept
//! ```

mod ext4;
mod keep;

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use cluster::life::{KEPT_FILE, STAMP_FILE, STAMP_LIMIT};
use cluster::plan::Keep;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::boot::Boot;
use crate::{memory, root};

pub(crate) use keep::PLACE;

/// The name under which this program runs another one inside the system image.
pub(crate) const INSIDE: &str = "inside";

/// Where the image and the data are until the root is put together.
pub(crate) const SYSTEM: &str = "/mnt/system";
pub(crate) const DATA: &str = "/mnt/data";
/// The same for what no wipe reaches.
pub(crate) const KEEP: &str = "/mnt/keep";

/// Of a file system that lives for one boot only: nothing is won by forcing it onto the card in order, and barriers cost
/// most on a slow card.
const ONE_BOOT_OPTIONS: &str = "nobarrier,noauto_da_alloc";
/// Of one that may be kept: a power cut must leave what was synced.
const KEPT_OPTIONS: &str = "errors=remount-ro";
/// Without discard: an emulated or slow card spends minutes on it. Tables are written in the background.
const MKE2FS: [&str; 7] =
    ["/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1"];

/// Mounts the image and the data, which are made anew with the image's own mke2fs unless they are kept.
///
/// # Errors
/// The image cannot be mounted, mke2fs fails, or what it made cannot be mounted.
pub(crate) fn run(boot: &mut Boot) -> Result<String> {
    let system = boot.system.clone().context("the system image is not known yet")?;
    // A phase that is tried again finds what the first try left.
    for folder in [KEEP, DATA, "/mnt/system/dev", SYSTEM] {
        let _ = umount2(folder, MntFlags::MNT_DETACH);
    }
    let _ = fs::remove_file(KEPT_FILE);
    fs::create_dir_all(SYSTEM)?;
    fs::create_dir_all(DATA)?;
    mount(Some(&system), SYSTEM, Some("squashfs"), MsFlags::MS_RDONLY, None::<&str>)
        .context("mounting the system image")?;
    let Some(card) = &boot.card else {
        memory::mount_data(Path::new(DATA))?;
        let kept = if boot.plan.keep == Keep::NOTHING { "" } else { "; nothing can be kept there" };
        return Ok(format!("in memory{kept}"));
    };
    let (data, keep) = (card.data.clone(), card.keep.clone());
    let said = mount_or_make(boot, &data)?;
    let Some(keep) = keep else { return Ok(said) };
    // What is wrong with it is no reason not to boot: whoever needs it finds no folder there.
    let kept = keep::mount(&keep, Path::new(KEEP), boot.plan.name.as_str());
    boot.is_keeping = kept.is_ok();
    let kept = kept.unwrap_or_else(|error| format!("not mounted: {error:#}"));
    let sentences = [said, format!("{}: {kept}", keep::PLACE)];
    Ok(sentences.into_iter().filter(|sentence| !sentence.is_empty()).collect::<Vec<_>>().join("; "))
}

/// Mounts the data partition, made anew unless what is there may be kept. Says which.
fn mount_or_make(boot: &Boot, data: &Path) -> Result<String> {
    let Some(stamp) = boot.plan.life_stamp() else {
        make_file_system(data)?;
        mount_data(data, Path::new(DATA), ONE_BOOT_OPTIONS)?;
        return Ok(String::new());
    };
    let kept = mount_kept(data, Path::new(DATA), &stamp, root::folder(boot.plan.root));
    let Err(doubt) = kept else {
        leave_word()?;
        return Ok("kept: image and user data are those it was made for".to_owned());
    };
    make_file_system(data)?;
    mount_data(data, Path::new(DATA), KEPT_OPTIONS)?;
    Ok(format!("made anew: {doubt:#}"))
}

/// Mounts the data that are there, if they are sound, of the life that the stamp says, and hold a root of that kind.
///
/// # Errors
/// Why they are not to be kept. Nothing is mounted then.
fn mount_kept(device: &Path, folder: &Path, stamp: &str, root: &str) -> Result<()> {
    let file = File::open(device).context("opening the data partition")?;
    ext4::check(&file)?;
    drop(file);
    mount_data(device, folder, KEPT_OPTIONS)?;
    let same = has_stamp(folder, stamp).and_then(|()| has_root(folder, root));
    if same.is_err() {
        umount2(folder, MntFlags::MNT_DETACH).context("letting go of the data partition")?;
    }
    same
}

/// Whether the data were made for this life.
fn has_stamp(folder: &Path, wanted: &str) -> Result<()> {
    let Ok(file) = File::open(folder.join(STAMP_FILE)) else {
        bail!("no user data has run to a good end on it");
    };
    let mut found = Vec::new();
    file.take(STAMP_LIMIT).read_to_end(&mut found).context("reading what it was made for")?;
    ensure!(found == wanted.as_bytes(), "the image, the user data or the life it was made for is another");
    Ok(())
}

/// Whether the root lies where it is wanted: in a root of another kind the user data did not run.
fn has_root(folder: &Path, root: &str) -> Result<()> {
    ensure!(folder.join(root).is_dir(), "its root was to lie elsewhere");
    Ok(())
}

/// Tells the agent that the user data ran in this life.
fn leave_word() -> Result<()> {
    let file = Path::new(KEPT_FILE);
    fs::create_dir_all(file.parent().unwrap_or(Path::new("/")))?;
    fs::write(file, "").context("leaving word that the data is kept")
}

fn mount_data(device: &Path, folder: &Path, options: &str) -> Result<()> {
    mount(Some(device), folder, Some("ext4"), MsFlags::MS_NOATIME, Some(options))
        .context("mounting the data partition")
}

fn make_file_system(device: &Path) -> Result<()> {
    let dev = Path::new(SYSTEM).join("dev");
    mount(Some("/dev"), &dev, None::<&str>, MsFlags::MS_BIND, None::<&str>).context("lending /dev")?;
    let made = Command::new("/proc/self/exe")
        .arg0(INSIDE)
        .arg(SYSTEM)
        .args(MKE2FS)
        .arg(device)
        .stdin(Stdio::null())
        .output()
        .context("starting mke2fs");
    umount2(&dev, MntFlags::MNT_DETACH).context("taking /dev back")?;
    let made = made?;
    if !made.status.success() {
        bail!("mke2fs failed ({}): {}", made.status, String::from_utf8_lossy(&made.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
