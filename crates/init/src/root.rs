//! The phase `root`: the root out of the image and a writable layer, or copied out of it; and the step into it.

mod copy;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use cluster::plan::RootPlace;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::boot::Boot;
use crate::data::{DATA, KEEP, PLACE, SYSTEM};
use crate::memory;

/// Where the new root is put together.
const NEW_ROOT: &str = "/newroot";
/// Init of the system.
const SYSTEM_INIT: &str = "/sbin/init";
/// Events that the head has not seen, for the agent.
const EVENTS_FILE: &str = "/run/fledermaus/events.jsonl";
/// How long the last reports may hold up the step into the system.
const LAST_REPORTS_LIMIT: Duration = Duration::from_millis(150);

/// Folders on the data partition: the writable layer, what the kernel keeps beside it, and a root that was copied.
const UPPER: &str = "root/upper";
const WORK: &str = "root/work";
const COPY: &str = "root/copy";
/// Where a copy is until it is whole.
const DRAFT: &str = "root/copy.new";
/// Folder of the data partition, where it is seen in the new root.
const BINDS: [(&str, &str); 2] = [("docker", "/var/lib/docker"), ("containerd", "/var/lib/containerd")];
/// File systems that go along, `/dev` last: it holds the console.
const MOVES: [&str; 4] = ["/proc", "/sys", "/run", "/dev"];

/// Puts the new root together.
///
/// # Errors
/// A mount or a file that the system needs cannot be made.
pub(crate) fn assemble(boot: &mut Boot) -> Result<String> {
    fs::create_dir_all(NEW_ROOT)?;
    let detail = match boot.plan.root {
        RootPlace::Copied => copy_root(boot)?,
        RootPlace::Auto | RootPlace::Card | RootPlace::Memory => lay_root()?,
    };
    let data = in_new_root("/data");
    fs::create_dir_all(&data)?;
    move_mount(DATA, &data)?;
    for (folder, target) in BINDS {
        let target = in_new_root(target);
        fs::create_dir_all(&target)?;
        let source = format!("{data}/{folder}");
        fs::create_dir_all(&source).with_context(|| format!("making {folder}"))?;
        mount(Some(source.as_str()), target.as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .with_context(|| format!("binding {target}"))?;
    }
    if boot.is_keeping {
        let place = in_new_root(PLACE);
        fs::create_dir_all(&place)?;
        move_mount(KEEP, &place)?;
    }
    write_settings(boot)?;
    Ok(detail)
}

/// Where on the data partition a root of this kind lies.
pub(crate) fn folder(place: RootPlace) -> &'static str {
    if place == RootPlace::Copied { COPY } else { UPPER }
}

/// The image, and a writable layer over it.
fn lay_root() -> Result<String> {
    for folder in [UPPER, WORK] {
        fs::create_dir_all(Path::new(DATA).join(folder)).with_context(|| format!("making {folder}"))?;
    }
    let layers = format!("lowerdir={SYSTEM},upperdir={DATA}/{UPPER},workdir={DATA}/{WORK}");
    mount(Some("overlay"), NEW_ROOT, Some("overlay"), MsFlags::MS_NOATIME, Some(layers.as_str()))
        .context("laying the writable layer over the image")?;
    Ok(String::new())
}

/// All files of the image, copied onto the card, unless they lie there from an earlier boot of this life. The image is not needed
/// any more then.
fn copy_root(boot: &Boot) -> Result<String> {
    let root = Path::new(DATA).join(COPY);
    let mut detail = String::new();
    if !root.is_dir() {
        let draft = Path::new(DATA).join(DRAFT);
        let bytes = copy::tree(Path::new(SYSTEM), &draft)?;
        // A power cut must not leave a stamp on the card, and behind it a root with holes.
        nix::unistd::syncfs(&fs::File::open(DATA)?).context("writing the root out")?;
        fs::rename(&draft, &root).context("naming the copied root")?;
        detail = format!("{} MiB copied onto the card", bytes >> 20);
    }
    mount(Some(&root), NEW_ROOT, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .context("mounting the copied root")?;
    umount2(SYSTEM, MntFlags::empty()).context("letting go of the image")?;
    memory::free(boot.system.as_deref().context("the image has no device")?)?;
    Ok(detail)
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
