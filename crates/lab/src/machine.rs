//! PID 1 of an emulated head: makes of a kernel and an image's initramfs as much of a system as `fledermaus serve` needs, and
//! starts that.
//!
//! ```text
//! rootfs   /fledermaus (this program), /sbin/modprobe and the modules of a node's initramfs
//! vda      /system   the image's system image, read only, for its `ip`
//! vdb      /data     the head's disk: cluster.toml, user-data, image, state
//! eth0     the cluster's network          eth1     the cable for operators, to the lab
//! ```
//! The machine is on for as long as the head runs.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::Pid;
use server::client::SOCKET;

use crate::{configuration, network, relay};

/// Where the lab puts this program in the initramfs.
pub(crate) const PROGRAM: &str = "fledermaus";
/// Where the head has its files.
const DATA: &str = "/data";
/// Where the system image is; its programs run with it as their root.
const SYSTEM: &str = "/system";
/// Drivers of an emulated machine's devices: nothing else looks for them here.
const MODULES: [&str; 3] = ["virtio_blk", "virtio_net", "virtio-rng"];
/// Device, where, file system, flags.
const MOUNTS: [(&str, &str, &str, MsFlags); 3] = [
    ("proc", "/proc", "proc", MsFlags::MS_NOSUID),
    ("sysfs", "/sys", "sysfs", MsFlags::MS_NOSUID),
    ("devtmpfs", "/dev", "devtmpfs", MsFlags::MS_NOSUID),
];
const DISKS: [(&str, &str, &str, MsFlags); 2] =
    [("/dev/vda", SYSTEM, "squashfs", MsFlags::MS_RDONLY), ("/dev/vdb", DATA, "ext4", MsFlags::MS_NOATIME)];

/// Is PID 1: returns only if it is not.
///
/// # Errors
/// This process is not the first one of a machine.
pub fn run() -> anyhow::Result<()> {
    ensure!(std::process::id() == 1, "this is PID 1 of a lab's head (`fledermaus lab up --head arm64`)");
    let ended = live();
    // PID 1 has nobody to tell but the console. Nobody may listen; then the power goes off without a word.
    let mut console = std::io::stderr();
    let _ = match ended {
        Ok(status) => writeln!(console, "fledermaus: the head ended: {status:?}"),
        Err(error) => writeln!(console, "fledermaus: {error:#}"),
    };
    nix::unistd::sync();
    match reboot(RebootMode::RB_POWER_OFF)? {}
}

fn live() -> anyhow::Result<WaitStatus> {
    MOUNTS.iter().try_for_each(attach)?;
    let loaded =
        Command::new("/sbin/modprobe").arg("-a").args(MODULES).status().context("starting modprobe")?;
    ensure!(loaded.success(), "modprobe of {MODULES:?} ended with {loaded}");
    DISKS.iter().try_for_each(attach)?;
    set_addresses()?;
    let state = Path::new(DATA).join("head");
    let cable = SocketAddrV4::new(network::OPERATED, network::OPERATORS_PORT);
    let listener = TcpListener::bind(cable).context("listening on the cable for operators")?;
    let socket = state.join(SOCKET);
    relay::begin(move || Ok(listener.accept()?.0.into()), move || Ok(UnixStream::connect(&socket)?.into()));
    serve(&state)
}

fn attach((device, place, kind, flags): &(&str, &str, &str, MsFlags)) -> anyhow::Result<()> {
    std::fs::create_dir_all(place).with_context(|| format!("making {place}"))?;
    mount(Some(*device), *place, Some(*kind), *flags, None::<&str>)
        .with_context(|| format!("mounting {device} on {place}"))
}

/// Interfaces are named by their place on the bus: the lab plugs in the cluster's first. busybox's `ip` takes one command at a time.
fn set_addresses() -> anyhow::Result<()> {
    let up = |interface| format!("link set {interface} up");
    let add =
        |interface, address: Ipv4Addr, prefix| format!("addr add {address}/{prefix} brd + dev {interface}");
    let commands = [
        up("lo"),
        add(network::CLUSTER_INTERFACE, network::HEAD, network::PREFIX),
        up(network::CLUSTER_INTERFACE),
        add(network::OPERATORS_INTERFACE, network::OPERATED, network::OPERATORS_PREFIX),
        up(network::OPERATORS_INTERFACE),
    ];
    let busybox = format!("{SYSTEM}/usr/bin/busybox");
    commands.iter().try_for_each(|command| {
        let words = ["chroot", SYSTEM, "/usr/bin/ip"].into_iter().chain(command.split(' '));
        network::run(&busybox, &words.collect::<Vec<_>>(), "").with_context(|| format!("ip {command}"))
    })
}

/// Until the head ends. What it prints goes through a pipe: on a console it would print in colours.
fn serve(state: &Path) -> anyhow::Result<WaitStatus> {
    let (mut printed, pen) = std::io::pipe().context("making a pipe")?;
    let data = Path::new(DATA);
    let head = Command::new(Path::new("/").join(PROGRAM))
        .args(["serve", "--interface", network::CLUSTER_INTERFACE])
        .args([Path::new("--config"), &data.join(configuration::FILE)])
        .args([Path::new("--state-dir"), state])
        .args([Path::new("--image-dir"), &data.join("image")])
        .stdin(Stdio::null())
        .stdout(pen.try_clone()?)
        .stderr(pen)
        .spawn()
        .context("starting the head")?;
    let head = Pid::from_raw(head.id().cast_signed());
    let printing = std::thread::spawn(move || std::io::copy(&mut printed, &mut std::io::stderr()));
    // PID 1 inherits, and buries, the children of everybody who died.
    loop {
        let ended = wait().context("waiting for the head's end")?;
        if ended.pid() == Some(head) {
            // The last thing it printed says why it ended.
            let _ = printing.join();
            return Ok(ended);
        }
    }
}
