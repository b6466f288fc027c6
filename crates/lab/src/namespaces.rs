//! Leaving the host: own network, mounts and processes, so that nothing is left behind however the lab ends.
//!
//! ```text
//! lab up ──spawns──► supervise (outside) ──unshares, spawns──► supervise (inside) = PID 1 of the lab
//!                     waits, then removes the directory         │ dies with the outside one (PDEATHSIG)
//!                                                               └─ head, emulators: die with PID 1
//! ```
//! Has to run before the process has a second thread. Makes no network devices.

use std::path::Path;

use anyhow::Context;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid};

/// Moves this process to a network and mounts of its own; its next child is PID 1 of a process space of its own.
///
/// # Errors
/// The system does not allow it; the sentence says what to change.
pub(crate) fn leave_host() -> anyhow::Result<()> {
    let (uid, gid) = (Uid::effective(), Gid::effective());
    let own = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID;
    if uid.is_root() {
        unshare(own).map_err(refused_to_root)?;
    } else {
        unshare(own | CloneFlags::CLONE_NEWUSER).map_err(refused_to_user)?;
        become_root_inside(uid, gid)?;
    }
    // Otherwise the lab's mounts would appear on the host.
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING).map_err(restricted)
}

/// Ties the lab's first process to the one that waits for it, and shows it its own processes and devices.
///
/// # Errors
/// The tie cannot be made.
pub(crate) fn settle() -> anyhow::Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).context("tying the lab to its supervisor")?;
    // In a container with a masked /proc this is not allowed; the old ones serve, they only show more.
    let _ = mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), NOTHING);
    let _ = mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), NOTHING);
    Ok(())
}

const NOTHING: Option<&str> = None;

/// One user is enough: inside, it is root over the lab's network.
fn become_root_inside(uid: Uid, gid: Gid) -> anyhow::Result<()> {
    let files = [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {uid} 1")),
        ("/proc/self/gid_map", format!("0 {gid} 1")),
    ];
    files
        .iter()
        .try_for_each(|(file, text)| std::fs::write(file, text).with_context(|| format!("writing {file}")))
}

fn refused_to_root(error: Errno) -> anyhow::Error {
    anyhow::anyhow!(
        "the system does not let root make namespaces ({error}): inside a container, start it with --privileged or with CAP_SYS_ADMIN"
    )
}

fn refused_to_user(error: Errno) -> anyhow::Error {
    anyhow::anyhow!(
        "the system does not let you make a user namespace ({error}): run as root, or allow it with \
         `sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000`"
    )
}

/// Ubuntu lets a user make the namespace and then takes its rights away.
fn restricted(error: Errno) -> anyhow::Error {
    let knob = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
    if Path::new(knob).exists() && !Uid::effective().is_root() || error == Errno::EACCES {
        return anyhow::anyhow!(
            "the system takes the rights away inside a user namespace ({error}): run as root, or allow it with \
             `sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
        );
    }
    anyhow::anyhow!("making the lab's mounts private: {error}")
}
