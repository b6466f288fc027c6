//! A cable to the lab's bridge for a thread that plays other machines: it gets a network of its own.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;

use anyhow::Context;
use cluster::Mac;
use nix::sched::{CloneFlags, setns, unshare};

use crate::network::{self, ip};

/// The cable's end in the thread's own network.
pub(crate) const OWN: &str = "eth0";
/// The network of the calling thread.
const NETWORK: &str = "/proc/thread-self/ns/net";
/// The lab's network, for the moments when something has to be done there.
static LAB: OnceLock<File> = OnceLock::new();

/// Moves the calling thread, and those that it starts from now on, from the lab's network to one of its own. `plug` is the
/// name of the cable's other end, which is not yet in the bridge; `mac` the address of its own end. An older cable of that
/// name goes: the kernel takes its time to remove that of a process that was killed.
///
/// # Errors
/// The kernel does not allow it.
pub(crate) fn leave(plug: &str, mac: Option<Mac>) -> anyhow::Result<()> {
    let lab = File::open(NETWORK).context("finding the lab's network")?;
    unshare(CloneFlags::CLONE_NEWNET).context("making a network")?;
    let own = File::open(NETWORK).context("finding the own network")?;
    LAB.get_or_init(|| lab);
    let target = format!("/proc/{}/fd/{}", std::process::id(), own.as_raw_fd());
    let address = mac.map_or_else(String::new, |mac| format!("address {mac} "));
    let add = format!("link add {plug} type veth peer name {OWN} {address}netns {target}\n");
    let remove = format!("link del {plug}\n");
    in_lab(move || {
        // There is none, most of the time.
        let _ = ip(&remove);
        ip(&add)
    })?;
    ip(&format!("link set lo up\nlink set {OWN} up\n"))
}

/// Puts the cable into the bridge.
///
/// # Errors
/// There is no such plug.
pub(crate) fn connect(plug: &str) -> anyhow::Result<()> {
    let commands = format!("link set {plug} master {} up\n", network::BRIDGE);
    in_lab(move || ip(&commands))
}

/// Pulls the cable out of the bridge.
///
/// # Errors
/// There is no such plug.
pub(crate) fn disconnect(plug: &str) -> anyhow::Result<()> {
    let commands = format!("link set {plug} nomaster down\n");
    in_lab(move || ip(&commands))
}

/// Does something in the lab's network. A process that is started there stays there.
///
/// # Errors
/// That of `deed`, or [`leave`] was not called before.
pub(crate) fn in_lab<T: Send + 'static>(
    deed: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let there = std::thread::spawn(move || {
        let lab = LAB.get().context("the lab's network is not known")?;
        setns(lab, CloneFlags::CLONE_NEWNET).context("going to the lab's network")?;
        deed()
    });
    there.join().map_err(|_| anyhow::anyhow!("the thread in the lab's network panicked"))?
}
