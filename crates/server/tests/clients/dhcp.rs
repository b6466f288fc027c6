//! DHCP: the clients of common systems get an address and all options that they show, renew it, give it back and get it
//! again; who is not welcome gets nothing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::room::{Furniture, HEAD, Room, Started, is_outside, run, wait};

/// What the clients are to learn.
const NETWORK: &str = r#"
router = "10.78.0.254"
lease_secs = 1200
search = ["search.test"]
ntp = ["10.78.0.5", "10.78.0.6"]
routes = ["192.0.2.0/24 via 10.78.0.253"]
"#;
/// A node with an address of its own.
const NODE: (&str, u8) = ("node1", 11);
/// A Raspberry Pi that the configuration does not name.
const OTHER_PI: &str = "b8:27:eb:00:09:09";
/// No Raspberry Pi.
const STRANGER: &str = "52:54:00:00:00:09";
/// Tells a file what the client knows, and gives the interface its address: else nothing can be renewed by unicast.
const SCRIPT: &str = r#"#!/bin/sh
event=${reason:-$1}
case $event in
  BOUND|bound) ip address replace "${new_ip_address:-$ip}/24" dev "$interface" ;;
esac
{ echo "event=$event"; env; echo; } >> "$(dirname "$0")/told"
"#;

/// A lease as a client tells of it, by the names that it uses.
pub(crate) type Told = BTreeMap<String, String>;

pub(crate) fn furnish(network: &str) -> Room {
    let room = Room::furnish(&Furniture { nodes: &[NODE], network, ..Furniture::default() });
    become_machine(&room, "b8:27:eb:00:00:0b");
    equip(&room);
    room
}

/// Has clients of DHCP work in a room.
pub(crate) fn equip(room: &Room) {
    // Clients leave their leases there, and the machine's own are none of ours.
    for folder in ["/var/lib/dhcp", "/var/lib/dhcpcd", "/run"] {
        fs::create_dir_all(folder).expect("a folder");
        run("mount", &format!("-t tmpfs none {folder}"));
    }
    let script = room.folder().join("tell");
    fs::write(&script, SCRIPT).expect("a file");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("a program");
}

/// The client's card is another's.
pub(crate) fn become_machine(room: &Room, mac: &str) {
    let said = room.at_client("ip", &format!("link set node0 address {mac}"));
    assert!(said.is_empty(), "{said}");
}

/// Another life: nothing is left of what the client learned.
pub(crate) fn forget(room: &Room) {
    room.at_client("ip", "address flush dev node0");
    let leases = ["/var/lib/dhcp/dhclient.leases", "/var/lib/dhcpcd/node0.lease"].map(PathBuf::from);
    for file in leases.into_iter().chain([room.folder().join("told")]) {
        let _ = fs::remove_file(file);
    }
}

/// Waits until the client tells of an event.
pub(crate) fn told(room: &Room, event: &str) -> Told {
    let file = room.folder().join("told");
    let mut found = None;
    wait(event, || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let whole = text.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
        let events = whole.split("\n\n").map(|block| {
            let pairs = block.lines().filter_map(|line| line.split_once('='));
            pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Told>()
        });
        found = events
            .into_iter()
            .find(|told| told.get("event").is_some_and(|name| name.eq_ignore_ascii_case(event)));
        found.is_some()
    });
    found.expect("waited for")
}

/// The address that a client got, whichever it is.
pub(crate) fn address(room: &Room) -> String {
    let bound = told(room, "bound");
    bound.get("ip").or(bound.get("new_ip_address")).expect("an address").clone()
}

/// Each name has this value.
fn check(told: &Told, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(told.get(*name).map(String::as_str), Some(*value), "{name} in {told:#?}");
    }
}

pub(crate) fn udhcpc(room: &Room) -> Command {
    let mut udhcpc = room.client("busybox");
    udhcpc.args(["udhcpc", "-f", "-i", "node0", "-s", "./tell", "-T", "1", "-t", "20", "-A", "1"]);
    udhcpc.args(["-O", "search", "-O", "ntpsrv", "-O", "staticroutes"]).stderr(Stdio::null());
    udhcpc
}

pub(crate) fn dhclient(room: &Room) -> Command {
    let configuration = room.folder().join("dhclient.conf");
    let text = "option routes code 121 = array of unsigned integer 8;\n\
                supersede dhcp-renewal-time 1;\nretry 1;\ninitial-interval 1;\nbackoff-cutoff 2;\n\
                request subnet-mask, broadcast-address, routers, domain-name, domain-name-servers, host-name,\n\
                domain-search, ntp-servers, routes;\n";
    fs::write(&configuration, text).expect("a file");
    let mut dhclient = room.client("dhclient");
    dhclient.args(["-4", "-d", "-cf"]).arg(configuration).arg("-sf").arg(room.folder().join("tell"));
    dhclient.args(["-lf", "/var/lib/dhcp/dhclient.leases", "-pf", "/run/dhclient.pid", "node0"]);
    dhclient.stderr(Stdio::null());
    dhclient
}

pub(crate) fn dhcpcd(room: &Room) -> Command {
    let configuration = room.folder().join("dhcpcd.conf");
    let text = "ipv4only\nnoarp\nnoipv4ll\nduid\npersistent\n\
                option subnet_mask, broadcast_address, routers, domain_name, domain_name_servers, host_name\n\
                option domain_search, ntp_servers, classless_static_routes\n";
    fs::write(&configuration, text).expect("a file");
    let mut dhcpcd = room.client("dhcpcd");
    dhcpcd.arg("-B").arg("-f").arg(configuration).arg("-c").arg(room.folder().join("tell")).arg("node0");
    dhcpcd.stderr(Stdio::null());
    dhcpcd
}

fn signal(client: &Started, signal: Signal) {
    let id = i32::try_from(client.id()).expect("a process number");
    kill(Pid::from_raw(id), signal).expect("a signal to the client");
}

#[test]
fn udhcpc_gets_renews_and_releases_a_fixed_address() {
    if is_outside("dhcp::udhcpc_gets_renews_and_releases_a_fixed_address") {
        return;
    }
    let room = furnish(NETWORK);
    for _life in 0..2 {
        forget(&room);
        let client = Started::new(&mut udhcpc(&room));
        let bound = told(&room, "bound");
        check(
            &bound,
            &[
                ("ip", "10.78.0.11"),
                ("mask", "24"),
                ("broadcast", "10.78.0.255"),
                ("router", "10.78.0.254"),
                ("dns", HEAD),
                ("domain", "cluster.test"),
                ("search", "cluster.test search.test"),
                ("hostname", "node1"),
                ("ntpsrv", "10.78.0.5 10.78.0.6"),
                ("staticroutes", "192.0.2.0/24 10.78.0.253 0.0.0.0/0 10.78.0.254"),
                ("lease", "1200"),
                ("serverid", HEAD),
                ("siaddr", HEAD),
            ],
        );
        signal(&client, Signal::SIGUSR1);
        check(&told(&room, "renew"), &[("ip", "10.78.0.11"), ("lease", "1200"), ("router", "10.78.0.254")]);
        signal(&client, Signal::SIGUSR2);
    }
}

#[test]
fn dhclient_gets_renews_and_releases_a_fixed_address() {
    if is_outside("dhcp::dhclient_gets_renews_and_releases_a_fixed_address") {
        return;
    }
    let room = furnish(NETWORK);
    for _life in 0..2 {
        forget(&room);
        let client = Started::new(&mut dhclient(&room));
        let bound = told(&room, "BOUND");
        check(
            &bound,
            &[
                ("new_ip_address", "10.78.0.11"),
                ("new_subnet_mask", "255.255.255.0"),
                ("new_broadcast_address", "10.78.0.255"),
                ("new_routers", "10.78.0.254"),
                ("new_domain_name_servers", HEAD),
                ("new_domain_name", "cluster.test"),
                ("new_domain_search", "cluster.test. search.test."),
                ("new_host_name", "node1"),
                ("new_ntp_servers", "10.78.0.5 10.78.0.6"),
                ("new_routes", "24 192 0 2 10 78 0 253 0 10 78 0 254"),
                ("new_dhcp_lease_time", "1200"),
                ("new_dhcp_server_identifier", HEAD),
                ("new_next_server", HEAD),
            ],
        );
        // It was told to renew after a second.
        check(&told(&room, "RENEW"), &[("new_ip_address", "10.78.0.11"), ("new_dhcp_lease_time", "1200")]);
        drop(client);
        let released = dhclient(&room).arg("-r").status().expect("dhclient");
        assert!(released.success());
        check(&told(&room, "RELEASE"), &[("old_ip_address", "10.78.0.11")]);
    }
}

#[test]
fn dhclient_comes_back_with_the_address_that_it_remembers_and_loses_a_wrong_one() {
    if is_outside("dhcp::dhclient_comes_back_with_the_address_that_it_remembers_and_loses_a_wrong_one") {
        return;
    }
    let room = furnish(NETWORK);
    let memory = Path::new("/var/lib/dhcp/dhclient.leases");
    for (remembered, event) in [("10.78.0.11", "REBOOT"), ("10.78.0.77", "BOUND")] {
        forget(&room);
        let client = Started::new(&mut dhclient(&room));
        let mut lease = String::new();
        // It writes only after it told.
        wait("a lease that is remembered", || {
            lease = fs::read_to_string(memory).unwrap_or_default();
            lease.contains("lease {") && lease.ends_with("}\n")
        });
        drop(client);
        forget(&room);
        fs::write(memory, lease.replace("10.78.0.11;", &format!("{remembered};"))).expect("a file");
        let _client = Started::new(&mut dhclient(&room));
        check(&told(&room, event), &[("new_ip_address", "10.78.0.11"), ("new_host_name", "node1")]);
    }
}

#[test]
fn dhcpcd_gets_renews_and_releases_an_address_of_the_pool() {
    if is_outside("dhcp::dhcpcd_gets_renews_and_releases_an_address_of_the_pool") {
        return;
    }
    let room = furnish(NETWORK);
    become_machine(&room, OTHER_PI);
    let mut addresses = Vec::new();
    for _life in 0..2 {
        forget(&room);
        let _client = Started::new(&mut dhcpcd(&room));
        let bound = told(&room, "BOUND");
        check(
            &bound,
            &[
                ("new_subnet_cidr", "24"),
                ("new_broadcast_address", "10.78.0.255"),
                ("new_routers", "10.78.0.254"),
                ("new_domain_name_servers", HEAD),
                ("new_domain_name", "cluster.test"),
                ("new_domain_search", "cluster.test search.test"),
                ("new_ntp_servers", "10.78.0.5 10.78.0.6"),
                ("new_classless_static_routes", "192.0.2.0/24 10.78.0.253 0.0.0.0/0 10.78.0.254"),
                ("new_dhcp_lease_time", "1200"),
                ("new_dhcp_server_identifier", HEAD),
            ],
        );
        addresses.push(bound["new_ip_address"].clone());
        room.at_client("dhcpcd", "-N node0");
        check(&told(&room, "RENEW"), &[("new_ip_address", &addresses[0]), ("new_dhcp_lease_time", "1200")]);
        room.at_client("dhcpcd", "-k node0");
        check(&told(&room, "STOP"), &[("old_ip_address", &addresses[0])]);
    }
    assert_eq!(addresses[0], addresses[1]);
    let last: u8 = addresses[0].rsplit('.').next().and_then(|last| last.parse().ok()).expect("an address");
    assert!(last >= 128, "{addresses:?}: not of the upper half");
}

#[test]
fn dhcping_gets_an_answer_for_a_node_s_own_address() {
    if is_outside("dhcp::dhcping_gets_an_answer_for_a_node_s_own_address") {
        return;
    }
    let room = furnish(NETWORK);
    room.at_client("ip", "address add 10.78.0.11/24 dev node0");
    let ask = |mac: &str| room.at_client("dhcping", &format!("-v -t 2 -s {HEAD} -c 10.78.0.11 -h {mac}"));
    assert_eq!(ask("b8:27:eb:00:00:0b").trim(), format!("Got answer from: {HEAD}"));
    assert_eq!(ask(STRANGER).trim(), "no answer");
    let inform =
        room.at_client("dhcping", &format!("-i -v -t 2 -s {HEAD} -c 10.78.0.11 -h b8:27:eb:00:00:0b"));
    assert_eq!(inform.trim(), format!("Got answer from: {HEAD}"));
}

/// Asks with three packets in as many seconds, and gives whether there was a lease.
pub(crate) fn gets_lease(room: &Room, mac: &str) -> bool {
    become_machine(room, mac);
    let status = udhcpc(room).args(["-n", "-q", "-t", "3"]).stdout(Stdio::null()).status();
    status.expect("busybox").success()
}

#[test]
fn a_stranger_is_met_by_silence() {
    if is_outside("dhcp::a_stranger_is_met_by_silence") {
        return;
    }
    let room = furnish("enrolment = \"pi\"");
    assert!(!gets_lease(&room, STRANGER));
    assert!(gets_lease(&room, OTHER_PI));
}

#[test]
fn without_enrolment_only_named_machines_get_an_address() {
    if is_outside("dhcp::without_enrolment_only_named_machines_get_an_address") {
        return;
    }
    let room = furnish("enrolment = \"never\"");
    assert!(!gets_lease(&room, OTHER_PI));
    assert!(gets_lease(&room, "b8:27:eb:00:00:0b"));
}
