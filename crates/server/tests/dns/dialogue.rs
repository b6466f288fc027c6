//! What no program on the shelf does: many queries at once, a resolver that takes its time, connections without end.
//! The bytes are written by hand.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::room::{HEAD, is_outside};
use crate::{RESOLVER, behind, furnish};

/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many connections one client may have.
const CONNECTIONS_PER_CLIENT: usize = 16;

/// A query for a name's address.
fn query(id: u8, name: &str) -> Vec<u8> {
    let mut packet = vec![0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        packet.push(u8::try_from(label.len()).expect("a label"));
        packet.extend(label.as_bytes());
    }
    packet.extend([0, 0, 1, 0, 1]);
    packet
}

/// A resolver's reply: an address for an hour, and nothing else.
fn reply(query: &[u8], address: [u8; 4]) -> Vec<u8> {
    // The query ends in an OPT record of eleven bytes.
    let mut packet = query[..query.len() - 11].to_vec();
    packet[2] |= 0x80;
    packet[7] = 1;
    packet[11] = 0;
    packet.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4]);
    packet.extend(address);
    packet
}

fn connect() -> TcpStream {
    let stream = TcpStream::connect((HEAD, 53)).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    stream
}

fn send(stream: &mut TcpStream, packet: &[u8]) {
    let length = u16::try_from(packet.len()).expect("a message");
    stream.write_all(&[&length.to_be_bytes(), packet].concat()).expect("sent");
}

fn receive(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut packet)?;
    Ok(packet)
}

fn socket(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
    socket
}

#[test]
fn one_question_goes_out_for_many_askers_and_nobody_waits_for_another_s() {
    if is_outside("dialogue::one_question_goes_out_for_many_askers_and_nobody_waits_for_another_s") {
        return;
    }
    let room = furnish();
    behind(&room);
    let resolver = socket(&format!("{RESOLVER}:53"));
    let head: SocketAddr = format!("{HEAD}:53").parse().expect("an address");
    let packets = socket(&format!("{HEAD}:0"));
    let mut stream = connect();
    // A slow question first, on every way, in another case each time; then forty about the cluster.
    send(&mut stream, &query(1, "slow.example"));
    for (id, name) in [(2, "SLOW.example"), (3, "slow.EXAMPLE")] {
        packets.send_to(&query(id, name), head).expect("sent");
    }
    for id in 101..=120 {
        send(&mut stream, &query(id, "node1.cluster.test"));
        packets.send_to(&query(id, "node1.cluster.test"), head).expect("sent");
    }
    let mut buffer = [0; 600];
    for _ in 101..=120 {
        let by_stream = receive(&mut stream).expect("a reply");
        let (length, _) = packets.recv_from(&mut buffer).expect("a reply");
        for packet in [&by_stream, &buffer[..length]] {
            assert!(packet[1] > 100 && packet.ends_with(&[10, 78, 0, 11]), "{packet:?}");
        }
    }
    let (mut length, mut asker) = resolver.recv_from(&mut buffer).expect("the slow question");
    // On a busy machine the head may have asked once more by now: it listens only where it asked last.
    let mut questions = 1;
    resolver.set_nonblocking(true).expect("set");
    while let Ok(again) = resolver.recv_from(&mut buffer) {
        (length, asker) = again;
        questions += 1;
    }
    assert!(questions <= 2, "three clients asked the same, and the head {questions} times");
    let asked = buffer[..length].to_vec();
    // Somebody who guesses: another number, and another port of the head.
    let mut forged = reply(&asked, [6, 6, 6, 6]);
    forged[0] ^= 1;
    resolver.send_to(&forged, asker).expect("sent");
    resolver.send_to(&reply(&asked, [192, 0, 2, 1]), asker).expect("sent");
    assert!(receive(&mut stream).expect("a reply").ends_with(&[192, 0, 2, 1]));
    for _ in 0..2 {
        let (length, _) = packets.recv_from(&mut buffer).expect("a reply");
        assert!((2..=3).contains(&buffer[1]) && buffer[..length].ends_with(&[192, 0, 2, 1]));
    }
}

#[test]
fn a_client_has_so_many_connections_and_no_more() {
    if is_outside("dialogue::a_client_has_so_many_connections_and_no_more") {
        return;
    }
    let _room = furnish();
    let mut served: Vec<TcpStream> = Vec::new();
    let answers = |stream: &mut TcpStream| {
        // What is closed may show when we write, or when we read.
        let _ = stream.write_all(&[&[0, 36][..], &query(1, "node1.cluster.test")].concat());
        receive(stream).is_ok()
    };
    for _ in 0..CONNECTIONS_PER_CLIENT {
        let mut stream = connect();
        assert!(answers(&mut stream));
        served.push(stream);
    }
    assert!(!answers(&mut connect()), "one too many");
    drop(served);
    let again = (0..100).any(|_| answers(&mut connect()));
    assert!(again, "there is room again");
}
