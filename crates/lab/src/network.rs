//! The lab's cable: a bridge with the head on it and a tap for every node. Addresses are the same in every lab.
//!
//! Runs inside the lab's network namespace, where nothing else is; the devices go with it.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use anyhow::Context;
use cluster::Mac;

/// How many packets wait for a board that does not take them, in packets. U-Boot's virtio-net has 32 buffers
/// and never tells QEMU when it gave them back: if what waited while the board was off (its neighbours ask for it by
/// ARP) filled them all at once, it would hear nothing more.
const TAP_QUEUE: u32 = 24;
/// The head's network interface in the lab.
pub(crate) const BRIDGE: &str = "br0";

/// The most nodes in a lab. Each takes 1 GiB of memory.
pub const NODES_LIMIT: u8 = 32;

/// The lab's network begins there.
pub(crate) const BASE: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 0);
/// The bits of an address that name the lab's network: room for the clients of a storm.
pub(crate) const PREFIX: u8 = 16;
/// The address of the interface that the clients of a storm share.
pub(crate) const STORM: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 250);
/// The head's address in the lab.
pub const HEAD: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);

/// The address of the node with that number, from 1.
pub fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 78, 0, 10 + number)
}

/// The hardware address of the node with that number: a Raspberry Pi's, so that the head takes it for one.
pub fn mac(number: u8) -> Mac {
    Mac([0xb8, 0x27, 0xeb, 0, 1, number])
}

/// The tap that is the node's end of the cable.
pub(crate) fn tap(number: u8) -> String {
    format!("tap{number}")
}

/// Makes all devices.
///
/// # Errors
/// What `ip` says, or that taps are not allowed and how to allow them.
pub(crate) fn build(nodes: u8) -> anyhow::Result<()> {
    ip(&commands(nodes)).context(
        "making the lab's network (taps need /dev/net/tun: `modprobe tun`, and `chmod 0666 /dev/net/tun` to use it without root)",
    )
}

/// Runs `ip -batch` in the network where the calling thread is.
///
/// # Errors
/// What `ip` says.
pub(crate) fn ip(commands: &str) -> anyhow::Result<()> {
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting `ip` (Debian package iproute2)")?;
    let mut input = ip.stdin.take().context("writing to `ip`")?;
    input.write_all(commands.as_bytes()).context("writing to `ip`")?;
    drop(input);
    let output = ip.wait_with_output().context("waiting for `ip`")?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// The bridge has an address of its own: by default it would change with every tap.
fn commands(nodes: u8) -> String {
    let mut commands = format!(
        "link set lo up\n\
         link add {BRIDGE} address 02:78:00:00:00:01 type bridge\n\
         addr add {HEAD}/{PREFIX} brd + dev {BRIDGE}\n\
         link set {BRIDGE} up\n"
    );
    for tap in (1..=nodes).map(tap) {
        commands +=
            &format!("tuntap add {tap} mode tap\nlink set {tap} txqueuelen {TAP_QUEUE} master {BRIDGE} up\n");
    }
    commands
}
