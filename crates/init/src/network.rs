//! The phases `network` and `clock`: the plan's address on the first wire that carries, the head's
//! first answer, and the time of day from it.

mod netlink;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cluster::report::Orders;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};

use crate::boot::Boot;
use crate::hardware::{coldplug, entries};
use crate::modules::Modules;
use netlink::Netlink;

/// How long a wire may take to appear (USB) and to carry (autonegotiation).
const CARRIER_LIMIT: Duration = Duration::from_secs(40);
/// Pause between two looks at the wires.
const CARRIER_POLL: Duration = Duration::from_millis(10);
/// How often, while no wire carries, drivers for new devices are looked for.
const COLDPLUG_INTERVAL: Duration = Duration::from_millis(500);
/// How long the head may take to answer the first report.
const HEAD_LIMIT: Duration = Duration::from_secs(60);
/// The shortest and the longest pause between two first reports.
const HEAD_PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// `lo` always has this index.
const LOOPBACK: u32 = 1;

/// An Ethernet interface.
#[derive(Debug, PartialEq, Eq)]
struct Wire {
    name: String,
    index: u32,
}

/// Sets the node's name and address and waits for the head's answer.
///
/// # Errors
/// No wire carries, the kernel refuses the address, or the head does not answer.
pub(crate) fn run(boot: &mut Boot) -> Result<String> {
    nix::unistd::sethostname(boot.plan.name.as_str()).context("setting the host name")?;
    let mut netlink = Netlink::open().context("opening a netlink socket")?;
    netlink.set_up(LOOPBACK).context("bringing the loopback up")?;
    let wire = wait_for_wire(&mut netlink)?;
    netlink
        .add_address(wire.index, boot.plan.address, boot.plan.prefix)
        .with_context(|| format!("setting {} on {}", boot.plan.address, wire.name))?;
    if let Some(gateway) = boot.plan.gateway {
        netlink.add_default_route(wire.index, gateway).with_context(|| format!("routing over {gateway}"))?;
    }
    let orders = first_report(boot)?;
    boot.answer = Some((orders, Instant::now()));
    boot.timeline.report_from_now_on(boot.head());
    Ok(format!("{}/{} on {}", boot.plan.address, boot.plan.prefix, wire.name))
}

/// Sets the clock from the head's first answer.
///
/// # Errors
/// The head's own clock is wrong, or the kernel refuses.
pub(crate) fn set_clock(boot: &mut Boot) -> Result<String> {
    let (orders, came) = boot.answer.as_ref().context("the head has not answered yet")?;
    let now_ms = orders.now_ms;
    ensure!(now_ms >= Orders::EARLIEST_MS, "the head's clock is before 2026; set it, then reboot this node");
    let now = Duration::from_millis(now_ms) + came.elapsed();
    clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::from_duration(now)).context("setting the clock")?;
    Ok(String::new())
}

fn wait_for_wire(netlink: &mut Netlink) -> Result<Wire> {
    let began = Instant::now();
    let mut next_coldplug = began + COLDPLUG_INTERVAL;
    loop {
        let wires = wires(Path::new("/sys/class/net"));
        for wire in &wires {
            // An interface that is up already takes it as well.
            netlink.set_up(wire.index).with_context(|| format!("bringing {} up", wire.name))?;
        }
        if let Some(wire) = wires.iter().find(|wire| carries(&wire.name)) {
            return Ok(Wire { name: wire.name.clone(), index: wire.index });
        }
        if began.elapsed() > CARRIER_LIMIT {
            bail!("{}", no_carrier(&wires));
        }
        if Instant::now() > next_coldplug {
            coldplug(&mut Modules::of_running_kernel()?);
            next_coldplug = Instant::now() + COLDPLUG_INTERVAL;
        }
        thread::sleep(CARRIER_POLL);
    }
}

fn no_carrier(wires: &[Wire]) -> String {
    let names: Vec<&str> = wires.iter().map(|wire| wire.name.as_str()).collect();
    match names.as_slice() {
        [] => "no Ethernet interface appeared: its driver is not in the initramfs".to_owned(),
        names => format!("no cable carries on {}: check the plug and the switch", names.join(", ")),
    }
}

/// The Ethernet interfaces with hardware behind them, in the order of their names.
fn wires(class: &Path) -> Vec<Wire> {
    entries(class).into_iter().filter(|path| is_wire(path)).filter_map(|path| wire(&path)).collect()
}

fn wire(path: &Path) -> Option<Wire> {
    let index = fs::read_to_string(path.join("ifindex")).ok()?.trim().parse().ok()?;
    Some(Wire { name: path.file_name()?.to_str()?.to_owned(), index })
}

fn is_wire(path: &Path) -> bool {
    // ARPHRD_ETHER of linux/if_arp.h; Wi-Fi has it too, but also a directory of its own.
    let ethernet = fs::read_to_string(path.join("type")).is_ok_and(|kind| kind.trim() == "1");
    ethernet && path.join("device").exists() && !path.join("wireless").exists()
}

fn carries(name: &str) -> bool {
    // Reading it fails while the interface is down.
    fs::read_to_string(format!("/sys/class/net/{name}/carrier")).is_ok_and(|text| text.trim() == "1")
}

/// Reports until the head answers; a switch port may swallow the first packets.
fn first_report(boot: &Boot) -> Result<Orders> {
    let (began, head) = (Instant::now(), boot.head());
    let mut pause = HEAD_PAUSES.0;
    loop {
        match boot.timeline.report_now(&head) {
            Ok(orders) => return Ok(orders),
            Err(error) if began.elapsed() > HEAD_LIMIT => return Err(error),
            Err(_) => thread::sleep(pause),
        }
        pause = (pause * 2).min(HEAD_PAUSES.1);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_ethernet_with_hardware_is_a_wire() {
        let class = tempfile::tempdir().unwrap();
        for (name, kind, inside) in
            [("lo", "772", ""), ("eth1", "1", "device"), ("docker0", "1", ""), ("wlan0", "1", "wireless")]
        {
            let folder = class.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("type"), format!("{kind}\n")).unwrap();
            fs::write(folder.join("ifindex"), "7\n").unwrap();
            if !inside.is_empty() {
                fs::create_dir(folder.join("device")).unwrap();
                let _ = fs::create_dir(folder.join(inside));
            }
        }
        assert_eq!(wires(class.path()), [Wire { name: "eth1".to_owned(), index: 7 }]);
    }
}
