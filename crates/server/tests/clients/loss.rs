//! One packet in ten gets lost in each direction: clients repeat theirs, and the head its own.

use std::thread;

use crate::dhcp;
use crate::room::{INITRAMFS, Room, Started, is_outside};
use crate::tftp::{self, CLIENTS, Client};

/// As many fetch at a time as the head grants to one address.
const AT_A_TIME: usize = 8;
/// How often atftp is asked again.
const TRIES_LIMIT: usize = 10;

#[test]
fn every_file_arrives_though_packets_get_lost() {
    if is_outside("loss::every_file_arrives_though_packets_get_lost") {
        return;
    }
    let room = tftp::furnish();
    room.lose_packets();
    let content = INITRAMFS.content();
    for clients in CLIENTS.chunks(AT_A_TIME) {
        thread::scope(|scope| {
            for client in clients {
                let (room, content) = (&room, &content);
                scope.spawn(move || {
                    tftp::assert_same(&fetch(*client, room), content, &format!("{client:?}"));
                });
            }
        });
    }
    assert_lost(&room);
}

/// Fetches, and once more when atftp's ACK of the options got lost: it gives up as the head repeats them.
fn fetch(client: Client, room: &Room) -> (Option<Vec<u8>>, String) {
    let mut tries = (0..TRIES_LIMIT).map(|_| client.fetch(room, &INITRAMFS.path()));
    tries.find(|(_, said)| !said.contains("unexpected OACK")).expect("one of ten ACKs arrives")
}

#[test]
fn every_client_gets_its_address_though_packets_get_lost() {
    if is_outside("loss::every_client_gets_its_address_though_packets_get_lost") {
        return;
    }
    let room = dhcp::furnish("");
    room.lose_packets();
    for start in [dhcp::udhcpc, dhcp::dhclient, dhcp::dhcpcd].into_iter().cycle().take(6) {
        dhcp::forget(&room);
        let _client = Started::new(&mut start(&room));
        assert_eq!(dhcp::address(&room), "10.78.0.11");
    }
    assert_lost(&room);
}

/// The test tested something: both ways lost packets.
fn assert_lost(room: &Room) {
    let lost = room.lost_packets();
    assert!(lost.len() == 2 && lost.iter().all(|packets| *packets > 0), "{lost:?}");
}
