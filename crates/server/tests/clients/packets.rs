//! A stranger's packets that no client sends, to DHCP, TFTP and DNS; the rest of what strangers try is in `attack.rs`.

use std::io::Write;
use std::net::{TcpStream, UdpSocket};

use super::attack::{NODE, STRANGER, boot, curl, furnish, masked, move_to};
use crate::room::{HEAD, is_outside};

#[test]
fn packets_that_are_nonsense_cut_or_too_large_leave_the_head_up() {
    if is_outside("packets::packets_that_are_nonsense_cut_or_too_large_leave_the_head_up") {
        return;
    }
    let (room, _) = furnish();
    let plain = masked(&boot(&room, &[]));
    move_to(&room, STRANGER);
    let held = room.as_client(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        for (what, bytes) in packets() {
            for port in [53, 67, 69] {
                socket
                    .send_to(&bytes, (HEAD, port))
                    .unwrap_or_else(|error| panic!("{what} to {port}: {error}"));
            }
        }
        // Transfers that are begun and then left alone, and questions that are never asked whole.
        let transfers = (0..300).map(|_| {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            socket.send_to(b"\0\x01public.txt\0octet\0windowsize\x0064\0", (HEAD, 69)).expect("sent");
            socket
        });
        let transfers: Vec<_> = transfers.collect();
        let questions = (0..50).filter_map(|_| {
            let mut stream = TcpStream::connect((HEAD, 53)).ok()?;
            stream.write_all(&[0xff, 0xff, 0]).ok()?;
            Some(stream)
        });
        (transfers, questions.collect::<Vec<_>>())
    });
    room.at_client("ip", "address flush dev node0");
    assert_eq!(masked(&boot(&room, &[])), plain, "DHCP, and a plan");
    assert_eq!(curl(&room, &["tftp://10.78.0.1/public.txt"]), "public", "TFTP");
    let named = room.at_client("dig", "+short +tries=3 +time=5 @10.78.0.1 node1.cluster.test");
    assert_eq!(named.trim(), NODE, "DNS");
    drop(held);
}

/// For all of DHCP, TFTP and DNS: what is nonsense for one may be a beginning for another.
fn packets() -> Vec<(&'static str, Vec<u8>)> {
    let request = |rest: &[u8]| [b"\0\x01", rest].concat();
    let many_options = [b"x\0octet\0".to_vec(), b"blksize\x00512\0".repeat(400)].concat();
    let dhcp = |options: &[u8]| {
        let mut packet = vec![1, 1, 6, 0, 1, 2, 3, 4];
        packet.resize(28, 0);
        packet.extend([0xb8, 0x27, 0xeb, 0, 0, 0x0b]);
        packet.resize(236, 0);
        packet.extend([99, 130, 83, 99]);
        packet.extend([53, 1, 1]);
        packet.extend(options);
        packet
    };
    let mut long_address = dhcp(&[255]);
    long_address[2] = 255;
    let question = |name: &[u8]| [b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0", name, b"\0\x01\0\x01"].concat();
    vec![
        ("nothing", vec![]),
        ("one byte", vec![1]),
        ("as much as a packet holds", vec![0xff; 65_000]),
        ("all bytes", (0..=255).cycle().take(1_400).collect()),
        ("a request for a file whose name does not end", request(&[b'a'; 1_000])),
        ("one without a name", request(b"\0octet\0")),
        ("one with an unknown mode", request(b"public.txt\0mail\0")),
        ("one with blocks of no bytes", request(b"public.txt\0octet\0blksize\x000\0")),
        ("one with blocks of too many", request(b"public.txt\0octet\0blksize\099999999999999999999\0")),
        ("one with a window below nothing", request(b"public.txt\0octet\0windowsize\0-1\0timeout\0x\0")),
        ("one with hundreds of options", request(&many_options)),
        ("a file to be written", b"\0\x02public.txt\0octet\0".to_vec()),
        ("data of no transfer", b"\0\x03\0\x01data".to_vec()),
        ("an acknowledgement of no transfer", b"\0\x04\xff\xff".to_vec()),
        ("an error of no transfer", b"\0\x05\0\x01".to_vec()),
        ("DHCP without options", dhcp(&[])),
        ("an option that is longer than the packet", dhcp(&[12, 200, b'x'])),
        ("options that are cut", dhcp(&[81, 1, 0, 80, 1, 0, 94, 1, 0, 93, 1, 0, 97, 1, 0, 255])),
        ("a relay's note within a relay's note", dhcp(&[82, 4, 82, 200, 1, 255, 255])),
        ("options that go on in themselves", dhcp(&[52, 1, 3, 255])),
        ("an address of 255 bytes", long_address),
        ("a DNS name that points at itself", question(b"\xc0\x0c")),
        ("one that is longer than names are", question(&[&[63][..], &[b'a'; 63]].concat().repeat(20))),
        ("one that ends in the midst", question(b"\x3fabc")),
    ]
}
