//! The machine itself: interface, clock, disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::statvfs::statvfs;

use super::{Finding, bad, doubtful, good};
use crate::config::{Resolved, has};
use crate::neighbours;

/// Under this much free space the state soon has no room, in bytes.
const STATE_BYTES: u64 = 256 * 1024 * 1024;
/// No clock that is right shows less: the project's own year, in seconds since 1970.
const CLOCK_MIN_SECS: u64 = 1_767_225_600;
/// Bits of an interface's `flags` (netdevice(7)).
const IFF_UP: u32 = 1;
const IFF_BROADCAST: u32 = 1 << 1;
const IFF_LOOPBACK: u32 = 1 << 3;
/// What programs that keep the clock leave behind while it is right, or while they run.
const CLOCK_KEEPERS: [(&str, &str); 4] = [
    ("/run/systemd/timesync/synchronized", "systemd-timesyncd"),
    ("/run/chrony/chronyd.pid", "chronyd"),
    ("/run/ntpd.pid", "ntpd"),
    ("/run/ntpsec/ntpd.pid", "ntpd"),
];

/// Where the service has its configuration, and what its unit hides from it (`ProtectHome`, systemd.exec(5)).
const SERVICE_FOLDER: &str = "/etc/fledermaus";
const HIDDEN_FOLDERS: [&str; 3] = ["/home", "/root", "/run/user"];

/// Whether the interface is up, has a cable and its address, and carries broadcasts. (`lo` does not; tests serve there.)
pub(super) fn interface(network: &Resolved) -> Vec<Finding> {
    const CHECK: &str = "interface";
    let Resolved { interface, address, prefix, .. } = network;
    let read =
        |file: &str| fs::read_to_string(format!("/sys/class/net/{interface}/{file}")).unwrap_or_default();
    let flags = u32::from_str_radix(read("flags").trim().trim_start_matches("0x"), 16).unwrap_or(0);
    let mut findings = Vec::new();
    if flags & IFF_UP == 0 {
        findings.push(bad(
            CHECK,
            format!("{interface} is down"),
            &format!("run `ip link set {interface} up`"),
        ));
    } else if read("carrier").trim() == "0" {
        findings.push(bad(
            CHECK,
            format!("{interface} has no carrier"),
            "plug in its cable, and power the switch",
        ));
    } else if flags & IFF_BROADCAST == 0 && flags & IFF_LOOPBACK == 0 {
        findings.push(bad(
            CHECK,
            format!("{interface} carries no broadcasts"),
            "boot loaders ask by broadcast: serve an Ethernet interface",
        ));
    } else if !has(interface, *address) {
        findings.push(bad(
            CHECK,
            format!("{interface} does not have {address}"),
            &format!("run `ip address add {address}/{prefix} dev {interface}`, or correct `address`"),
        ));
    } else {
        findings.push(good(CHECK, format!("{interface} is up with {address}/{prefix}")));
    }
    if Path::new(&format!("/sys/class/net/{interface}/wireless")).exists() {
        findings.push(doubtful(
            CHECK,
            format!("{interface} is wireless"),
            "Raspberry Pis boot by cable: serve the interface that their switch is plugged into",
        ));
    }
    findings
}

/// Whether the kernel can remember as many machines as the network may have.
pub(super) fn neighbours(network: &Resolved, named: usize) -> Finding {
    const CHECK: &str = "neighbours";
    let machines = neighbours::machines(network, named);
    match neighbours::lack(machines) {
        Some((seen, remedy)) => doubtful(CHECK, seen, &remedy),
        None => good(CHECK, format!("room for the {machines} addresses of the network")),
    }
}

/// Whether the clock is right: nodes have no battery, and take their time from here.
pub(super) fn clock() -> Finding {
    const CHECK: &str = "clock";
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    if since.as_secs() < CLOCK_MIN_SECS {
        return bad(
            CHECK,
            "it shows a time in the past; nodes take theirs from here, and refuse certificates then"
                .to_owned(),
            "set it with `date`, or install systemd-timesyncd or chrony",
        );
    }
    let keeper = CLOCK_KEEPERS.iter().find(|(mark, _)| Path::new(mark).exists());
    match keeper {
        Some((_, keeper)) => good(CHECK, format!("kept by {keeper}")),
        None => doubtful(
            CHECK,
            "nothing seems to keep it right".to_owned(),
            "install systemd-timesyncd or chrony: nodes take their time from this machine",
        ),
    }
}

/// Whether the state has room, and can be written.
pub(super) fn disk(state_dir: &Path) -> Vec<Finding> {
    const CHECK: &str = "disk";
    let there = nearest(state_dir);
    let shown = state_dir.display();
    let free = match statvfs(&there) {
        Ok(told) => told.blocks_available() * told.fragment_size(),
        Err(error) => return vec![bad(CHECK, format!("{shown}: {error}"), "name another --state-dir")],
    };
    let mut findings = vec![match free {
        0..STATE_BYTES => {
            doubtful(CHECK, format!("{} MB are free for {shown}", free / 1_000_000), "make room there")
        }
        _ => good(CHECK, format!("{} GB are free for {shown}", free / 1_000_000_000)),
    }];
    if nix::unistd::access(&there, nix::unistd::AccessFlags::W_OK).is_err() {
        let seen = format!("{} cannot be written", there.display());
        findings.push(bad(CHECK, seen, "run as root, or name another --state-dir"));
    }
    findings
}

/// Whether the package's service sees the directories of its configuration: its unit hides the homes.
pub(super) fn service(config: &Path, directories: &[&Path]) -> Vec<Finding> {
    const CHECK: &str = "service";
    if !config.starts_with(SERVICE_FOLDER) {
        return Vec::new();
    }
    let is_hidden = |directory: &&&Path| {
        let whole = directory.canonicalize().unwrap_or_else(|_| directory.to_path_buf());
        HIDDEN_FOLDERS.iter().any(|folder| whole.starts_with(folder))
    };
    let finding = |directory: &&Path| {
        let seen = format!("{} is where the service does not look", directory.display());
        bad(CHECK, seen, "move it out of the home directories, beside cluster.toml for example")
    };
    directories.iter().filter(is_hidden).map(finding).collect()
}

/// The directory, or the nearest above it that is there.
fn nearest(directory: &Path) -> PathBuf {
    let found = directory.ancestors().find(|above| above.is_dir());
    found.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::doctor::Verdict;

    fn network(interface: &str) -> Resolved {
        let pool = Ipv4Addr::new(127, 0, 0, 2)..=Ipv4Addr::new(127, 0, 0, 9);
        Resolved { interface: interface.to_owned(), address: Ipv4Addr::LOCALHOST, prefix: 8, pool }
    }

    #[test]
    fn an_interface_that_is_up_and_one_that_is_not_there() {
        assert_eq!(interface(&network("lo"))[0].verdict, Verdict::Good);
        let other = Resolved { address: Ipv4Addr::new(192, 0, 2, 1), ..network("lo") };
        assert!(interface(&other)[0].seen.contains("lo does not have 192.0.2.1"));
        let findings = interface(&network("nosuchif"));
        assert_eq!((findings[0].verdict, findings.len()), (Verdict::Bad, 1));
        assert!(findings[0].remedy.contains("ip link set nosuchif up"));
    }

    #[test]
    fn what_the_service_does_not_see_is_named() {
        let directories = [Path::new("/home/nobody-here/image"), Path::new("/etc/fledermaus/user-data")];
        let findings = service(Path::new("/etc/fledermaus/cluster.toml"), &directories);
        assert_eq!((findings.len(), findings[0].verdict), (1, Verdict::Bad));
        assert!(findings[0].seen.starts_with("/home/nobody-here/image "), "{}", findings[0].seen);
        assert!(service(Path::new("/home/nobody-here/cluster.toml"), &directories).is_empty());
    }

    #[test]
    fn a_state_directory_that_is_not_made_yet_is_looked_at_where_it_will_be() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(nearest(&folder.path().join("a/b")), folder.path());
        assert!(disk(&folder.path().join("a/b")).iter().all(|finding| finding.verdict != Verdict::Bad));
    }
}
