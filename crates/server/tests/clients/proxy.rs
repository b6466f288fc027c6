//! Beside another DHCP server, which gives the addresses and knows nothing of booting: dnsmasq on the client's side.

use crate::machine::{Kind, Machine};
use crate::room::{Furniture, HEAD, Room, Started, is_outside, noise, wait};
use crate::uefi;

/// A Raspberry Pi's address: the head adds to what others say for its own machines alone.
const MAC: &str = "b8:27:eb:00:00:17";

fn furnish(boot: &str, files: &[(&str, &[u8])]) -> (Room, Started) {
    let room = Room::furnish(&Furniture { network: "dhcp = \"proxy\"", boot, files, ..Furniture::default() });
    room.at_client("ip", "address add 10.78.0.9/24 dev node0");
    let mut dnsmasq = room.client("dnsmasq");
    dnsmasq.args(["--no-daemon", "--conf-file=/dev/null", "--pid-file=", "--port=0", "--no-ping"]);
    dnsmasq.args(["--interface=node0", "--bind-interfaces", "--dhcp-leasefile=leases"]);
    let started = Started::new(dnsmasq.arg("--dhcp-range=10.78.0.50,10.78.0.59,255.255.255.0,1h"));
    (room, started)
}

#[test]
fn uefi_boots_what_the_head_names_beside_another_server() {
    if is_outside("proxy::uefi_boots_what_the_head_names_beside_another_server") {
        return;
    }
    let content = noise("content", 1_000_001);
    let (room, _other) = furnish("uefi_x64 = \"x64.efi\"", &[("x64.efi", &uefi::x64_program(&content))]);
    let mut machine = Machine::power_on(&room, Kind::UefiX64, MAC, &[]);
    let said = machine.wait_says(uefi::WORD);
    assert!(said.contains("Station IP address is 10.78.0.5"), "{said}");
    assert!(machine.remembers(&content), "the program is not what the head has");
}

#[test]
fn ipxe_runs_what_the_head_names_beside_another_server() {
    if is_outside("proxy::ipxe_runs_what_the_head_names_beside_another_server") {
        return;
    }
    let script = format!(
        "#!ipxe\necho address ${{net0/ip}}\nimgfetch http://{HEAD}:8080/files/program && echo it is here\nshell\n"
    );
    let program = noise("program", 300_001);
    let files: [(&str, &[u8]); 2] = [("start.ipxe", script.as_bytes()), ("program", &program)];
    let (room, _other) = furnish("ipxe = \"start.ipxe\"", &files);
    let mut machine = Machine::power_on(&room, Kind::Pc, MAC, &[]);
    let said = machine.wait_says("it is here");
    assert!(said.contains("address 10.78.0.5"), "{said}");
    assert!(machine.remembers(&program), "the program is not what the head has");
}

/// A server that adds to others' DHCP answers boot ROMs alone: the head asked as a system does, and never noticed it.
#[test]
fn another_server_that_adds_to_dhcp_is_noticed() {
    if is_outside("proxy::another_server_that_adds_to_dhcp_is_noticed") {
        return;
    }
    let room = Room::empty();
    room.at_client("ip", "address add 10.78.0.9/24 dev node0");
    let mut dnsmasq = room.client("dnsmasq");
    dnsmasq.args(["--no-daemon", "--conf-file=/dev/null", "--pid-file=", "--port=0", "--interface=node0"]);
    dnsmasq.args(["--bind-interfaces", "--dhcp-range=10.78.0.0,proxy", "--dhcp-leasefile=leases"]);
    let _other = Started::new(dnsmasq.arg("--pxe-service=x86PC,other,other,10.78.0.9"));
    // It has its port before the head looks for the first time; the next look is ten minutes later.
    wait("dnsmasq", || room.at_client("ss", "-Hlun sport = :67").contains(":67"));
    room.serve(&Furniture { network: "dhcp = \"proxy\"", ..Furniture::default() });
    let client = server::client::Client::new(&room.folder().join("state/head.sock"));
    wait("the other server", || {
        let rivals = client.get_text("/v1/rivals").unwrap_or_default();
        rivals.contains("10.78.0.9") && rivals.contains("\"adds_only\":true")
    });
}
