//! The phases `data` and `root`: a new file system, the root out of the image and a writable layer,
//! and the step into it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::boot::Boot;

/// The name under which this program runs another one inside the system image.
pub(crate) const INSIDE: &str = "inside";

/// Where the image, the data and the new root are put together.
const SYSTEM: &str = "/mnt/system";
const DATA: &str = "/mnt/data";
const NEW_ROOT: &str = "/newroot";
/// Init of the system.
const SYSTEM_INIT: &str = "/sbin/init";
/// Events that the head has not seen, for the agent.
const EVENTS_FILE: &str = "/run/fledermaus/events.jsonl";
/// How long the last reports may hold up the step into the system.
const LAST_REPORTS_LIMIT: Duration = Duration::from_millis(150);

/// The data file system lives for one boot only (wipe policy `always`): nothing is won by forcing it
/// onto the card in order, and barriers cost most on a slow card.
const DATA_OPTIONS: &str = "nobarrier,noauto_da_alloc";
/// Without discard: an emulated or slow card spends minutes on it. Tables are written in the background.
const MKE2FS: [&str; 7] =
    ["/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1"];

/// Folders on the data partition: for the writable layer, and those that cannot lie on an overlay.
const DATA_FOLDERS: [&str; 4] = ["root/upper", "root/work", "docker", "containerd"];
/// Folder of the data partition, where it is seen in the new root.
const BINDS: [(&str, &str); 2] = [("docker", "/var/lib/docker"), ("containerd", "/var/lib/containerd")];
/// File systems that go along, `/dev` last: it holds the console.
const MOVES: [&str; 4] = ["/proc", "/sys", "/run", "/dev"];

/// Mounts the image and makes the data partition anew with the image's own mke2fs.
///
/// # Errors
/// The image cannot be mounted, mke2fs fails, or what it made cannot be mounted.
pub(crate) fn make_data(boot: &mut Boot) -> Result<String> {
    let (system, data) = (boot.card()?.system.clone(), boot.card()?.data.clone());
    // A phase that is tried again finds what the first try left.
    for folder in [DATA, "/mnt/system/dev", SYSTEM] {
        let _ = umount2(folder, MntFlags::MNT_DETACH);
    }
    fs::create_dir_all(SYSTEM)?;
    fs::create_dir_all(DATA)?;
    mount(Some(&system), SYSTEM, Some("squashfs"), MsFlags::MS_RDONLY, None::<&str>)
        .context("mounting the system image")?;
    make_file_system(&data)?;
    mount(Some(&data), DATA, Some("ext4"), MsFlags::MS_NOATIME, Some(DATA_OPTIONS))
        .context("mounting the data partition")?;
    Ok(String::new())
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

/// Puts the new root together.
///
/// # Errors
/// A mount or a file that the system needs cannot be made.
pub(crate) fn assemble(boot: &mut Boot) -> Result<String> {
    for folder in DATA_FOLDERS {
        fs::create_dir_all(Path::new(DATA).join(folder)).with_context(|| format!("making {folder}"))?;
    }
    fs::create_dir_all(NEW_ROOT)?;
    let layers = format!("lowerdir={SYSTEM},upperdir={DATA}/root/upper,workdir={DATA}/root/work");
    mount(Some("overlay"), NEW_ROOT, Some("overlay"), MsFlags::MS_NOATIME, Some(layers.as_str()))
        .context("laying the writable layer over the image")?;
    let data = in_new_root("/data");
    fs::create_dir_all(&data)?;
    move_mount(DATA, &data)?;
    for (folder, target) in BINDS {
        let target = in_new_root(target);
        fs::create_dir_all(&target)?;
        let source = format!("{data}/{folder}");
        mount(Some(source.as_str()), target.as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .with_context(|| format!("binding {target}"))?;
    }
    write_settings(boot)?;
    Ok(String::new())
}

/// The files that only the plan knows.
fn write_settings(boot: &Boot) -> Result<()> {
    let (name, address) = (&boot.plan.name, boot.plan.address);
    let files = [
        ("/etc/hostname", format!("{name}\n")),
        ("/etc/hosts", format!("127.0.0.1 localhost\n{address} {name}\n")),
        ("/etc/resolv.conf", format!("nameserver {}\n", boot.plan.dns)),
    ];
    for (path, text) in files {
        let file = in_new_root(path);
        // The image may hold a link there (resolv.conf to /run/…): replace it, do not follow it.
        let _ = fs::remove_file(&file);
        fs::write(&file, text).with_context(|| format!("writing {path}"))?;
    }
    Ok(())
}

/// Steps into the new root and becomes the system's init. Returns only the reason why that failed.
pub(crate) fn enter(boot: &Boot) -> anyhow::Error {
    if let Err(error) = leave_events(boot).and_then(|()| switch()) {
        return error;
    }
    let error = Command::new(SYSTEM_INIT).env_clear().env("TERM", "linux").exec();
    anyhow::Error::new(error).context("starting the system's init")
}

fn leave_events(boot: &Boot) -> Result<()> {
    fs::create_dir_all("/run/fledermaus")?;
    let mut lines = String::new();
    for event in boot.timeline.stop(LAST_REPORTS_LIMIT) {
        lines += &serde_json::to_string(&event)?;
        lines.push('\n');
    }
    fs::write(EVENTS_FILE, lines).context("leaving the unsent events to the agent")
}

/// What switch_root(8) does.
fn switch() -> Result<()> {
    let old_device = fs::metadata("/")?.dev();
    for folder in MOVES {
        let target = in_new_root(folder);
        let _ = fs::create_dir(&target);
        move_mount(folder, &target)?;
    }
    // The initramfs is memory: what stays in it is lost to the node.
    empty(Path::new("/"), old_device);
    std::env::set_current_dir(NEW_ROOT)?;
    move_mount(".", "/")?;
    std::os::unix::fs::chroot(".").context("entering the new root")?;
    std::env::set_current_dir("/").context("entering the new root")
}

/// Deletes everything below a folder that lies on the given device; what resists stays.
fn empty(folder: &Path, device: u64) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match fs::symlink_metadata(&path) {
            Ok(found) if found.dev() != device => {}
            Ok(found) if found.is_dir() => {
                empty(&path, device);
                let _ = fs::remove_dir(&path);
            }
            _ => drop(fs::remove_file(&path)),
        }
    }
}

fn in_new_root(path: &str) -> String {
    format!("{NEW_ROOT}{path}")
}

fn move_mount(from: &str, to: &str) -> Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .with_context(|| format!("moving {from} to {to}"))
}
