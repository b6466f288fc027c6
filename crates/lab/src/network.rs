//! The lab's cable: a bridge with the head on it and a tap for every node. Addresses are the same in every lab.
//!
//! Runs inside the lab's network namespace, where nothing else is; the devices go with it.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use anyhow::Context;
use cluster::Mac;

/// How many packets wait for a board that does not take them, in packets. U-Boot's virtio-net has 32 buffers
/// and never tells QEMU when it gave them back: if what waited while the board was off (its neighbours ask for it by
/// ARP) filled them all at once, it would hear nothing more.
const TAP_QUEUE: u32 = 24;
/// What a slow cable lets through at once, in bytes: some packets, as a switch would.
const BURST: u32 = 16_384;
/// What a switch keeps for a slow port, in bytes, before it loses packets.
const PORT_BUFFER: u32 = 131_072;
/// The lab's end of the cable; the head's, if it is a process.
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

/// Whose address the lab itself has beside a head that is a machine.
const LAB: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 2);
/// That machine's ends of its two cables, one to the bridge and one for operators, to the lab alone.
pub(crate) const HEAD_TAP: &str = "head";
pub(crate) const OPERATORS_TAP: &str = "operators";
/// Their hardware addresses, and what the machine calls them.
pub(crate) const HEAD_MACS: [Mac; 2] = [Mac([2, 0x78, 0, 0, 0, 2]), Mac([2, 0x79, 0, 0, 0, 2])];
pub(crate) const CLUSTER_INTERFACE: &str = "eth0";
pub(crate) const OPERATORS_INTERFACE: &str = "eth1";
/// The lab's and the machine's address on the operators' cable.
const OPERATING: Ipv4Addr = Ipv4Addr::new(10, 79, 0, 1);
pub(crate) const OPERATED: Ipv4Addr = Ipv4Addr::new(10, 79, 0, 2);
pub(crate) const OPERATORS_PREFIX: u8 = 30;
/// Where the machine takes what is meant for its head's socket.
pub(crate) const OPERATORS_PORT: u16 = 1;

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

/// Makes the bridge and the nodes' taps; the head is put there by itself.
///
/// # Errors
/// What `ip` says, or that taps are not allowed and how to allow them.
pub(crate) fn build(nodes: u8, link: Option<u64>) -> anyhow::Result<()> {
    ip(&commands(nodes)).context(
        "making the lab's network (taps need /dev/net/tun: `modprobe tun`, and `chmod 0666 /dev/net/tun` to use it without root)",
    )?;
    let Some(bits) = link else { return Ok(()) };
    let shape =
        |tap| format!("qdisc add dev {tap} root tbf rate {bits}bit burst {BURST} limit {PORT_BUFFER}\n");
    run("tc", &["-batch", "-"], &(1..=nodes).map(tap).map(shape).collect::<String>()).context(
        "making the cables slow (`tc` is in Debian's package iproute2; the kernel has to have sch_tbf)",
    )
}

/// Makes the bridge the interface of a head that is a process.
///
/// # Errors
/// What `ip` says.
pub(crate) fn seat_head() -> anyhow::Result<()> {
    ip(&format!("addr add {HEAD}/{PREFIX} brd + dev {BRIDGE}\n")).context("giving the head its address")
}

/// Makes the cables of a head that is a machine.
///
/// # Errors
/// What `ip` says.
pub(crate) fn cable_head() -> anyhow::Result<()> {
    ip(&format!(
        "addr add {LAB}/{PREFIX} brd + dev {BRIDGE}\n\
         tuntap add {HEAD_TAP} mode tap\nlink set {HEAD_TAP} master {BRIDGE} up\n\
         tuntap add {OPERATORS_TAP} mode tap\naddr add {OPERATING}/{OPERATORS_PREFIX} dev {OPERATORS_TAP}\n\
         link set {OPERATORS_TAP} up\n"
    ))
    .context("making the head's cables")
}

/// Loses so many of a hundred packets, by chance, in every direction; 0 ends that. The filter of bridges does it and not
/// netem, which many kernels are built without; unlike other filters' it tells the sender nothing.
///
/// # Errors
/// What `nft` says.
pub(crate) fn lose(percent: u8) -> anyhow::Result<()> {
    let chain = |hook| {
        format!(
            "chain {hook} {{ type filter hook {hook} priority 0; numgen random mod 100 < {percent} drop; }}\n"
        )
    };
    let chains = ["input", "forward", "output"].map(chain).concat();
    // Made first, so that there is something to remove.
    let rules = format!("table bridge loss\ndelete table bridge loss\ntable bridge loss {{\n{chains}}}\n");
    run("nft", &["-f", "-"], &rules).context("losing packets (`nft` is in Debian's package nftables)")
}

/// Lets nothing pass between the nodes of these numbers, besides the pairs of before; `None` ends it for all.
///
/// # Errors
/// What `nft` says.
pub(crate) fn part(pair: Option<[u8; 2]>) -> anyhow::Result<()> {
    let rules = match pair {
        None => "table bridge part\ndelete table bridge part\n".to_owned(),
        Some([one, other]) => {
            let (one, other) = (tap(one), tap(other));
            format!(
                "table bridge part {{ chain forward {{ type filter hook forward priority 0; \
                 iifname {one} oifname {other} drop; iifname {other} oifname {one} drop; }}\n}}\n"
            )
        }
    };
    run("nft", &["-f", "-"], &rules).context("parting nodes (`nft` is in Debian's package nftables)")
}

/// What each device of the lab has sent since it is there, in bytes.
pub(crate) fn carried() -> BTreeMap<String, u64> {
    let devices = std::fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let sent = |line: &str| {
        let (name, counters) = line.split_once(':')?;
        Some((name.trim().to_owned(), counters.split_ascii_whitespace().nth(8)?.parse().ok()?))
    };
    devices.lines().filter_map(sent).collect()
}

/// Runs `ip -batch` in the network where the calling thread is.
///
/// # Errors
/// What `ip` says.
pub(crate) fn ip(commands: &str) -> anyhow::Result<()> {
    run("ip", &["-batch", "-"], commands).context("`ip` is in Debian's package iproute2")
}

/// Runs a program with something to read.
///
/// # Errors
/// It cannot be started, or what it says.
pub(crate) fn run(program: &str, arguments: &[&str], input: &str) -> anyhow::Result<()> {
    let mut process = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting `{program}`"))?;
    let mut pipe = process.stdin.take().with_context(|| format!("writing to `{program}`"))?;
    pipe.write_all(input.as_bytes()).with_context(|| format!("writing to `{program}`"))?;
    drop(pipe);
    let output = process.wait_with_output().with_context(|| format!("waiting for `{program}`"))?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// The bridge has an address of its own: by default it would change with every tap.
fn commands(nodes: u8) -> String {
    let mut commands = format!(
        "link set lo up\n\
         link add {BRIDGE} address 02:78:00:00:00:01 type bridge\n\
         link set {BRIDGE} up\n"
    );
    for tap in (1..=nodes).map(tap) {
        commands +=
            &format!("tuntap add {tap} mode tap\nlink set {tap} txqueuelen {TAP_QUEUE} master {BRIDGE} up\n");
    }
    commands
}
