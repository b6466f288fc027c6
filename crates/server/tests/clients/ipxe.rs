//! iPXE on an emulated PC: an address by DHCP, its script and a file by TFTP, another by HTTP.

use crate::machine::{Kind, Machine};
use crate::room::{Furniture, HEAD, KERNEL, Room, is_outside, noise};

/// What the head names to iPXE: it says what it learned, and fetches.
fn script() -> String {
    format!(
        "#!ipxe\n\
         echo address ${{net0/ip}} ${{net0/netmask}} router ${{net0/gateway}} dns ${{net0/dns}}\n\
         echo domain ${{net0/domain}} name ${{net0/hostname}} next ${{next-server}} file ${{filename}}\n\
         imgfetch tftp://{HEAD}/{} && imgfetch http://{HEAD}:8080/files/program && echo both are here\n\
         imgfetch tftp://{HEAD}/nothing || echo refused\n\
         shell\n",
        KERNEL.path()
    )
}

#[test]
fn ipxe_gets_its_address_its_script_and_its_files() {
    if is_outside("ipxe::ipxe_gets_its_address_its_script_and_its_files") {
        return;
    }
    let (script, program) = (script(), noise("program", 300_001));
    let room = Room::furnish(&Furniture {
        nodes: &[("pc", 21)],
        network: "router = \"10.78.0.254\"",
        boot: "ipxe = \"start.ipxe\"",
        files: &[("start.ipxe", script.as_bytes()), ("program", &program)],
        ..Furniture::default()
    });
    let mut machine = Machine::power_on(&room, Kind::Pc, "b8:27:eb:00:00:15", &[]);
    let said = machine.wait_says("refused");
    for words in [
        "address 10.78.0.21 255.255.255.0 router 10.78.0.254 dns 10.78.0.1",
        "domain cluster.test name pc next 10.78.0.1 file start.ipxe",
        "both are here",
    ] {
        assert!(said.contains(words), "no `{words}`: {said}");
    }
    assert!(machine.remembers(&KERNEL.content()), "the kernel is not what the head has");
    assert!(machine.remembers(&program), "the program is not what the head has");
}
