//! What becomes of a node's lease, and what is learned of who asks for one.

use netboot::dhcp::Lease;

use super::*;

/// A ROM sends no REQUEST: its lease is a short one, which the booted node's own reports make a full one.
#[test]
fn the_short_lease_of_a_rom_is_a_full_one_after_the_first_report() {
    let mut state = state();
    let rom = b"\x3c\x20PXEClient:Arch:00000:UNDI:002001";
    assert!(state.dhcp(&request_with(Kind::Discover, MAC, rom)).reply.is_ok());
    let lease = |state: &State| *state.dhcp.leases.of(MAC).expect("a lease");
    let short = lease(&state);
    assert!(short.until_ms <= state.now_ms + 600_000);
    let (token, _) = plan(&mut state, MAC, ADDRESS);
    // A slow boot: nobody else had its address meanwhile.
    state.now_ms += 900_000;
    assert!(state.report(&token, ADDRESS, report(vec![])).is_some());
    assert_eq!(lease(&state), Lease { until_ms: state.now_ms + 86_400_000, ..short });
}

/// Beside a router the head answers nothing to U-Boot, and once did not look who it was: with lwIP every lost block cost the
/// whole file.
#[test]
fn beside_another_server_the_head_learns_who_asks_for_files() {
    let mut state = state();
    boot(&mut state, MAC, ADDRESS);
    state.dhcp.settings.mode = netboot::dhcp::Mode::Proxy;
    let lwip = b"\x37\x03\x01\x03\x1c";
    assert!(state.dhcp(&request_with(Kind::Discover, MAC, lwip)).reply.is_err());
    assert_eq!(state.pace(ADDRESS), netboot::tftp::Pace::Quick);
}
