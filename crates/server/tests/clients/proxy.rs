//! Beside another DHCP server, which gives the addresses and knows nothing of booting: dnsmasq on the client's side.

use crate::machine::{Kind, Machine};
use crate::room::{Furniture, HEAD, Room, Started, is_outside, noise};
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
