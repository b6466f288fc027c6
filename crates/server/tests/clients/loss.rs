//! One packet in ten gets lost in each direction: clients repeat theirs, and the head its own.

use std::thread;

use crate::dhcp;
use crate::machine::{Kind, Machine};
use crate::room::{Furniture, INITRAMFS, KERNEL, Room, Started, is_outside};
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

/// U-Boot's timer may ring ten times in a file before it starts over.
#[test]
fn u_boot_gets_its_kernel_in_one_go_though_packets_get_lost() {
    if is_outside("loss::u_boot_gets_its_kernel_in_one_go_though_packets_get_lost") {
        return;
    }
    let room = Room::furnish(&Furniture { nodes: &[("board", 21)], ..Furniture::default() });
    let mut machine = Machine::power_on(&room, Kind::UBoot, "b8:27:eb:00:00:15", &[]);
    room.lose_packets();
    machine.wait_says("Hit any key");
    machine.say("");
    machine.wait_says("=> ");
    // As our boot script has it.
    for variable in ["autoload no", "tftptimeout 1000", "tftpblocksize 1468", "tftpwindowsize 16"] {
        machine.say(&format!("setenv {variable}"));
    }
    machine.say("dhcp");
    machine.wait_says("DHCP client bound");
    machine.say(&format!("tftpboot 0x41000000 {}", KERNEL.path()));
    let said = machine.wait_says("Bytes transferred = ");
    assert!(!said.contains("Retry count exceeded"), "{said}");
    assert!(machine.remembers(&KERNEL.content()), "the kernel is not what the head has: {said}");
    assert!(has_lost(&room), "{:?}", room.lost_packets());
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
