//! One packet in ten gets lost in each direction: clients repeat theirs, and the head its own.

use std::thread;

use crate::dhcp;
use crate::room::{INITRAMFS, Room, Started, is_outside};
use crate::tftp::{self, CLIENTS, Client};

/// As many fetch at a time as the head grants to one address.
const AT_A_TIME: usize = 8;
/// How often atftp is asked again.
const TRIES_LIMIT: usize = 10;
/// How many clients ask for an address: at least, and at most.
const CLIENTS_MIN: usize = 6;
const CLIENTS_LIMIT: usize = 60;

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
    assert!(has_lost(&room), "{:?}", room.lost_packets());
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
    // A client needs but four packets: go on until some of both ways got lost.
    let clients = [dhcp::udhcpc, dhcp::dhclient, dhcp::dhcpcd].into_iter().cycle().take(CLIENTS_LIMIT);
    for (count, start) in clients.enumerate() {
        if count >= CLIENTS_MIN && has_lost(&room) {
            break;
        }
        dhcp::forget(&room);
        let _client = Started::new(&mut start(&room));
        assert_eq!(dhcp::address(&room), "10.78.0.11");
    }
    assert!(has_lost(&room), "{:?}", room.lost_packets());
}

/// Whether the test tested something: both ways lost packets.
fn has_lost(room: &Room) -> bool {
    let lost = room.lost_packets();
    lost.len() == 2 && lost.iter().all(|packets| *packets > 0)
}
