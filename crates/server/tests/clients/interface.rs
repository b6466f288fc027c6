//! What happens to the cluster's interface while the head serves, and before.

use crate::dhcp::{furnish, gets_lease};
use crate::room::{Room, is_outside, run};

/// A machine at the client's side that has these addresses, beside the client.
fn occupy(room: &Room, addresses: &[&str]) {
    run("ip", "link add cable1 type veth peer name other0");
    run("ip", "link set cable1 master head0 up");
    run("ip", &format!("link set other0 netns {}", room.client_id()));
    // Each card answers for its own addresses alone, or the client would be found at them.
    room.at_client("sysctl", "-q -w net.ipv4.conf.all.arp_ignore=1");
    room.at_client("ip", "link set other0 up");
    for address in addresses {
        room.at_client("ip", &format!("address add {address}/32 dev other0"));
    }
}

/// A packet socket tells once that its interface went down. The head gave up hearing then, and went on asking: it found
/// nobody at any address.
#[test]
fn an_address_in_use_is_noticed_after_the_interface_was_down() {
    if is_outside("interface::an_address_in_use_is_noticed_after_the_interface_was_down") {
        return;
    }
    let room = furnish("pool = \"10.78.0.150-10.78.0.151\"");
    occupy(&room, &["10.78.0.150", "10.78.0.151"]);
    run("ip", "link set head0 down");
    run("ip", "link set head0 up");
    assert!(!gets_lease(&room, "b8:27:eb:00:00:99"), "somebody has both addresses");
}
