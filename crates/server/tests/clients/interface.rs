//! What happens to the cluster's interface while the head serves, and before.

use std::sync::mpsc;

use crate::dhcp::{furnish, gets_lease};
use crate::room::{Furniture, Room, is_outside, run, wait};

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

/// Its sockets were bound to the old one's number: the head lived on, and heard nothing.
#[test]
fn the_head_ends_when_its_interface_is_another_one() {
    if is_outside("interface::the_head_ends_when_its_interface_is_another_one") {
        return;
    }
    let room = Room::empty();
    let ended = room.serve_until_it_ends(&Furniture::default());
    run("ip", "link del head0");
    run("ip", "link add head0 address 02:00:00:00:00:01 type bridge");
    run("ip", "address add 10.78.0.1/24 dev head0");
    let sentence = ended.recv().expect("it ends");
    assert!(sentence.contains("head0 "), "{sentence}");
}

/// After a power cut the head was back before the switch, and gave up for good.
#[test]
fn the_head_waits_for_its_interface_and_its_address() {
    if is_outside("interface::the_head_waits_for_its_interface_and_its_address") {
        return;
    }
    let room = Room::empty();
    run("ip", "link del head0");
    let options = room.options(&Furniture::default());
    let (tell, there) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(server::interface::wait(&options));
        tell.send(()).expect("somebody waits");
    });
    run("ip", "link add head0 type bridge");
    assert!(there.try_recv().is_err(), "it has no address");
    run("ip", "address add 10.78.0.1/24 dev head0");
    wait("the head", || there.try_recv().is_ok());
}
