//! Kea's perfdhcp: a relay that asks for many machines, each of which gets an address of its own.

use crate::room::{Furniture, HEAD, Room, is_outside};

/// How many machines ask, within a second.
const MACHINES: usize = 50;
/// How long the last answers are waited for, in microseconds.
const PATIENCE_MICROS: u32 = 1_000_000;

#[test]
fn perfdhcp_gets_an_address_for_each_machine_behind_its_relay() {
    if is_outside("relay::perfdhcp_gets_an_address_for_each_machine_behind_its_relay") {
        return;
    }
    let room = Room::furnish(&Furniture { network: "enrolment = \"any\"", ..Furniture::default() });
    room.at_client("ip", "address add 10.78.0.9/24 dev node0");
    let said = room.at_client(
        "perfdhcp",
        // `-u`: no two machines may have the same address.
        &format!("-4 -l node0 -r {MACHINES} -R {MACHINES} -n {MACHINES} -W {PATIENCE_MICROS} -u {HEAD}"),
    );
    for exchange in ["DISCOVER-OFFER", "REQUEST-ACK"] {
        let (_, statistics) = said.split_once(exchange).unwrap_or_else(|| panic!("no {exchange}: {said}"));
        for (line, figure) in [
            ("sent packets", MACHINES),
            ("received packets", MACHINES),
            ("drops", 0),
            ("orphans", 0),
            ("rejected leases", 0),
            ("non unique addresses", 0),
        ] {
            let found = statistics.lines().find_map(|text| text.strip_prefix(&format!("{line}: ")));
            assert_eq!(found, Some(figure.to_string().as_str()), "{line} of {exchange}: {said}");
        }
    }
}
