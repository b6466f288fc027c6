//! The phase `hardware`: the kernel's file systems, the modules for wire and card, the watchdog.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use crate::boot::Boot;
use crate::console::say;
use crate::modules::Modules;
use crate::sys;
use crate::timeline::Timeline;

/// Modules that every node needs, one per line, in order.
const MODULE_LIST: &str = "/etc/fledermaus/modules";
/// Of these, what only mapping and mounting need; the kernel would load it then by itself.
const FILE_SYSTEMS: [&str; 6] = ["squashfs", "ext4", "overlay", "dm_mod", "dm_verity", "sha256_arm64"];
/// How often new devices (a controller that a driver brought up, and what hangs on it) are looked for.
const COLDPLUG_ROUNDS: usize = 4;
/// How long the watchdog waits: long enough for the services to start and the agent to take over.
const WATCHDOG_SECS: i32 = 60;
/// How long a phase may take without a word before the watchdog is not fed any more, in milliseconds. The longest step without
/// any is a file system on a slow card: minutes.
const STILL_LIMIT_MS: u64 = 10 * 60 * 1_000;
/// How often it is looked for.
const WATCHDOG_POLL: Duration = Duration::from_millis(500);
/// How often it is fed.
const FEED_INTERVAL: Duration = Duration::from_secs(5);

/// File system, where, flags.
const MOUNTS: [(&str, &str, MsFlags); 4] = [
    ("proc", "/proc", MsFlags::MS_NOSUID),
    ("sysfs", "/sys", MsFlags::MS_NOSUID),
    ("devtmpfs", "/dev", MsFlags::MS_NOSUID),
    ("tmpfs", "/run", MsFlags::MS_NOSUID),
];

/// Mounts what the kernel offers.
///
/// # Errors
/// A file system cannot be mounted.
pub(crate) fn mount_kernel_file_systems() -> Result<()> {
    for (kind, target, flags) in MOUNTS {
        let _ = fs::create_dir(target);
        let options = (kind == "tmpfs").then_some("mode=0755");
        match mount(Some(kind), target, Some(kind), flags, options) {
            // devtmpfs is there already where the kernel mounts it itself (CONFIG_DEVTMPFS_MOUNT).
            Ok(()) | Err(Errno::EBUSY) => {}
            Err(error) => return Err(error).with_context(|| format!("mounting {kind} on {target}")),
        }
    }
    Ok(())
}

/// Loads the listed modules and starts to feed the watchdog. File systems, and the drivers of devices
/// that the list does not know, follow in a thread of their own: the next phases wait for what they need.
///
/// # Errors
/// The module lists cannot be read. A single module that does not load is only said: the phase that
/// needs it fails with a better reason.
pub(crate) fn run(boot: &mut Boot) -> Result<String> {
    let mut modules = Modules::of_running_kernel()?;
    let list = fs::read_to_string(MODULE_LIST).unwrap_or_default();
    let (later, now): (Vec<String>, Vec<String>) =
        module_names(&list).map(str::to_owned).partition(|name| FILE_SYSTEMS.contains(&name.as_str()));
    load_all(&mut modules, &now);
    thread::spawn(move || {
        coldplug(&mut modules);
        load_all(&mut modules, &later);
    });
    if boot.watchdog {
        let timeline = boot.timeline.clone();
        thread::spawn(move || feed_watchdog(&timeline));
    }
    let model = fs::read_to_string("/proc/device-tree/model").unwrap_or_default();
    let model = model.trim_end_matches('\0');
    Ok(model.to_owned())
}

/// The names in a module list: one per line; `#` begins a comment line.
fn module_names(list: &str) -> impl Iterator<Item = &str> {
    list.lines().map(str::trim).filter(|name| !name.is_empty() && !name.starts_with('#'))
}

fn load_all(modules: &mut Modules, names: &[String]) {
    for name in names {
        if let Err(error) = modules.load(name, "") {
            say(&format!("fledermaus: {error:#}"));
        }
    }
}

/// Loads the drivers of all devices that have none, and of those that appear thereby.
pub(crate) fn coldplug(modules: &mut Modules) {
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..COLDPLUG_ROUNDS {
        let new: Vec<String> = modaliases().into_iter().filter(|alias| seen.insert(alias.clone())).collect();
        if new.is_empty() {
            return;
        }
        for modalias in new {
            modules.load_for_device(&modalias);
        }
    }
}

/// The modaliases of devices without a driver. By bus, not through the tree of `/sys/devices`: the
/// same devices in a tenth of the directories.
fn modaliases() -> Vec<String> {
    let mut found = Vec::new();
    for bus in entries(Path::new("/sys/bus")) {
        for device in entries(&bus.join("devices")) {
            if !device.join("driver").exists()
                && let Ok(text) = fs::read_to_string(device.join("modalias"))
            {
                found.push(text.trim().to_owned());
            }
        }
    }
    found
}

/// What is in a directory; nothing if it cannot be read.
pub(crate) fn entries(folder: &Path) -> Vec<std::path::PathBuf> {
    let listed = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = listed.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Feeds the watchdog once there is one (that of a Pi 3 waits for other drivers), until a phase hangs. The thread and the
/// open device end with the exec of the system's init, without the magic character that would stop the watchdog: the agent
/// goes on.
fn feed_watchdog(timeline: &Timeline) {
    let mut watchdog = loop {
        match File::options().write(true).open("/dev/watchdog") {
            Ok(watchdog) => break watchdog,
            Err(_) => thread::sleep(WATCHDOG_POLL),
        }
    };
    // Some hardware waits shorter than asked for; the kernel then feeds it in between.
    let _ = sys::set_watchdog_timeout(&watchdog, WATCHDOG_SECS);
    while timeline.still_ms() < STILL_LIMIT_MS {
        let _ = watchdog.write_all(b"\0");
        thread::sleep(FEED_INTERVAL);
    }
    say("fledermaus: nothing has moved for 10 minutes, the watchdog will restart this node");
    // The device stays open: whether closing it would stop the watchdog is up to its driver.
    thread::park();
    drop(watchdog);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_list_has_comments_and_blank_lines() {
        let list = "# the wire\nvirtio_net\n\n  ext4 \n";
        assert_eq!(module_names(list).collect::<Vec<_>>(), ["virtio_net", "ext4"]);
    }
}
