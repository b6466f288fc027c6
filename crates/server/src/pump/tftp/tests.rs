//! The pump on real sockets, with files that are made up.

use std::sync::{Arc, Mutex};

use super::*;

const MAC: Mac = Mac([0xb8, 0x27, 0xeb, 0, 0, 1]);

/// A pump that serves one file of so many bytes; its address, and what is told of the transfers.
fn pump(bytes: usize) -> (SocketAddr, Arc<Mutex<Vec<Step>>>) {
    let server = bind_port("lo", SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), &[]).expect("a socket");
    let address = server.requests.local_addr().expect("bound").as_socket().expect("an address");
    let told = Arc::new(Mutex::new(Vec::new()));
    let teller = told.clone();
    let tell = move |_, _, step| teller.lock().expect("not poisoned").push(step);
    let content = content(bytes);
    let find = move |path: String, _| {
        let file = BootFile::plain(content.clone(), Some((MAC, Phase::Kernel)));
        async move { if path == "kernel" { Ok((file, Pace::Steady)) } else { Err(Missing::NoFile) } }
    };
    tokio::spawn(serve(server, find, tell));
    (address, told)
}

fn content(bytes: usize) -> Arc<Vec<u8>> {
    Arc::new((0..bytes).map(|index| (index / 7) as u8).collect())
}

async fn client() -> UdpSocket {
    client_at(1).await
}

/// Each machine has but a few transfers at a time.
async fn client_at(last: u8) -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::new(127, 0, 1, last), 0)).await.expect("a socket")
}

fn request(path: &str, options: &[&str]) -> Vec<u8> {
    let words = [&[path, "octet"], options].concat();
    [&[0, 1], words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect::<Vec<_>>().as_slice()]
        .concat()
}

/// Fetches with blocks of 1,468 bytes; acknowledges each window's last block.
async fn fetch(client: &UdpSocket, server: SocketAddr, window: &str) -> Vec<u8> {
    let ask = request("kernel", &["blksize", "1468", "windowsize", window]);
    client.send_to(&ask, server).await.expect("sent");
    let window: u16 = window.parse().expect("a number");
    let (mut received, mut last) = (Vec::new(), 0_u16);
    let mut buffer = [0; PACKET_BYTES];
    loop {
        let (length, peer) = client.recv_from(&mut buffer).await.expect("a packet");
        let number = if buffer[1] == 6 { 0 } else { u16::from_be_bytes([buffer[2], buffer[3]]) };
        let ends = buffer[1] == 3 && length < 4 + 1_468;
        if buffer[1] == 3 {
            // Loopback loses and reorders nothing.
            assert_eq!(number, last.wrapping_add(1));
            last = number;
            received.extend(&buffer[4..length]);
        }
        if ends || number % window == 0 {
            let [high, low] = number.to_be_bytes();
            client.send_to(&[0, 4, high, low], peer).await.expect("sent");
        }
        if ends {
            return received;
        }
    }
}

#[tokio::test]
async fn files_cross_real_sockets_in_every_window_and_their_progress_is_told() {
    let (server, told) = pump(5_000_000);
    for window in ["1", "16", "64"] {
        assert!(fetch(&client().await, server, window).await == content(5_000_000)[..], "window {window}");
    }
    // The last ACK is still under way.
    let done = || told.lock().expect("not poisoned").iter().filter(|step| **step == Step::Done).count();
    while done() < 3 {
        tokio::task::yield_now().await;
    }
    let steps = told.lock().expect("not poisoned");
    assert_eq!(steps.iter().filter(|step| **step == Step::Started).count(), 3);
    assert!(steps.iter().all(|step| !matches!(step, Step::Progress { total, .. } if *total != 5_000_000)));
}

#[tokio::test]
async fn two_hundred_clients_at_once_get_the_whole_file() {
    let (server, _) = pump(300_000);
    let mut clients = JoinSet::new();
    for last in 1..=200 {
        let window = if last % 2 == 0 { "16" } else { "1" };
        clients.spawn(async move { fetch(&client_at(last).await, server, window).await });
    }
    while let Some(received) = clients.join_next().await {
        assert!(received.expect("no panic") == content(300_000)[..]);
    }
}

/// What comes next, and from where.
async fn hear(client: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; PACKET_BYTES];
    let (length, from) = client.recv_from(&mut buffer).await.expect("a packet");
    (buffer[..length].to_vec(), from)
}

#[tokio::test]
async fn a_request_that_comes_again_is_answered_again_and_another_one_replaces_it() {
    let (server, _) = pump(2_000);
    let client = client().await;
    let ask = request("kernel", &[]);
    for _ in 0..2 {
        client.send_to(&ask, server).await.expect("sent");
        assert_eq!(hear(&client).await.0[..4], [0, 3, 0, 1]);
    }
    client.send_to(&request("nothing", &[]), server).await.expect("sent");
    let (missing, peer) = hear(&client).await;
    assert_eq!(missing[..4], [0, 5, 0, 1], "ERROR 1 at once, though a transfer was running");
    // That transfer is no more: an ACK of it is met by silence, and disturbs no other.
    client.send_to(&[0, 4, 0, 1], peer).await.expect("sent");
    client.send_to(&ask, server).await.expect("sent");
    assert_eq!(hear(&client).await.0[..4], [0, 3, 0, 1]);
}

#[tokio::test]
async fn one_client_cannot_take_all_places() {
    let (server, _) = pump(2_000);
    let ask = request("kernel", &[]);
    let mut clients = Vec::new();
    for _ in 0..8 {
        let client = client().await;
        client.send_to(&ask, server).await.expect("sent");
        hear(&client).await;
        clients.push(client);
    }
    let (ninth, first) = (client().await, &clients[0]);
    ninth.send_to(&ask, server).await.expect("sent");
    // Its place is free once another one is done with.
    first.send_to(b"\0\x05\0\0early terminate\0", server).await.expect("sent to the wrong port");
    first.send_to(&ask, server).await.expect("sent");
    let peer = hear(first).await.1;
    let mut none = [0; 1];
    assert!(ninth.try_recv(&mut none).is_err(), "silence");
    first.send_to(b"\0\x05\0\0early terminate\0", peer).await.expect("sent");
    // It asks again until the ERROR was read.
    let mut buffer = [0; PACKET_BYTES];
    while ninth.try_recv(&mut buffer).is_err() {
        ninth.send_to(&ask, server).await.expect("sent");
        tokio::task::yield_now().await;
    }
    assert_eq!(buffer[..4], [0, 3, 0, 1]);
}
