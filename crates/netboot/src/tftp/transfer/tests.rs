//! Both ends in memory, a stepped clock, and a wire that loses, doubles and reorders.

mod again;
mod bad_wire;

use std::sync::Arc;

use super::*;
use crate::tftp::Mode;

/// How long the client of these tests waits before it repeats its last acknowledgement: U-Boot's 5 s.
const CLIENT_PATIENCE_MS: u64 = 5_000;

/// A client as RFC 1350 and 7440 describe it, with U-Boot's habits (net/tftp.c): it acknowledges once for each block that it waits
/// for, whatever came instead (since 2023.04: only what comes after it), and never before the first. Its timer counts from
/// the last block that it could use.
struct Client {
    blksize: usize,
    windowsize: u64,
    received: Vec<u8>,
    /// The last block that arrived in order.
    last: u64,
    /// The block that it acknowledges next.
    next_ack: u64,
    /// Whether it says nothing of a block that it has.
    is_quiet: bool,
    /// How long it waits for a block before it repeats its last acknowledgement.
    patience_ms: u64,
    /// How often it did.
    timeouts: u32,
    /// Whether it complained since the last block in order.
    complained: bool,
    done: bool,
    blocks_seen: usize,
    pace: Pace,
    /// Blocks that came although they were there already, and nothing had been asked for again.
    unasked: usize,
    /// Whether the last acknowledgement was sent again.
    asked_again: bool,
    /// How many packets to the client the wire doubled.
    doubled: usize,
    /// How many of its blocks the server had not heard of when it ended.
    unheard: u64,
}

impl Client {
    fn new(blksize: usize, windowsize: u64) -> Self {
        Self {
            pace: Pace::Steady,
            unasked: 0,
            asked_again: false,
            doubled: 0,
            unheard: 0,
            blksize,
            windowsize,
            received: Vec::new(),
            last: 0,
            next_ack: windowsize,
            is_quiet: false,
            patience_ms: CLIENT_PATIENCE_MS,
            timeouts: 0,
            complained: true,
            done: false,
            blocks_seen: 0,
        }
    }

    fn request(&self) -> Request {
        Request {
            path: "kernel".to_owned(),
            mode: Mode::Octet,
            blksize: Some(self.blksize as u16),
            tsize: true,
            timeout: Some(5),
            windowsize: (self.windowsize > 1).then_some(self.windowsize as u16),
        }
    }

    fn handle(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        if self.done {
            return None;
        }
        match (packet[1], u16::from_be_bytes([packet[2], packet[3]])) {
            (6, _) => (self.last == 0).then(|| ack(0)),
            (3, number) => self.data(number, &packet[4..]),
            other => panic!("an unexpected packet {other:?}"),
        }
    }

    fn data(&mut self, number: u16, data: &[u8]) -> Option<Vec<u8>> {
        self.blocks_seen += 1;
        if number == self.last as u16 && !self.asked_again {
            self.unasked += 1;
        }
        if number == self.last as u16 && self.pace == Pace::Quick {
            // lwIP acknowledges a block again that comes again (tftp.c, `tftp_recv`).
            return Some(ack(self.last));
        }
        if number != (self.last + 1) as u16 {
            let is_behind = number.wrapping_sub(self.last as u16 + 1) > u16::MAX / 2;
            if self.is_quiet && is_behind {
                return None;
            }
            if self.complained || self.pace == Pace::OnRequest {
                return None;
            }
            self.complained = true;
            self.next_ack = self.last + self.windowsize;
            return Some(ack(self.last));
        }
        self.received.extend(data);
        self.last += 1;
        self.asked_again = false;
        self.complained = false;
        self.done = data.len() < self.blksize;
        let is_asked = self.last == self.next_ack;
        if is_asked {
            self.next_ack += self.windowsize;
        }
        (self.done || is_asked).then(|| ack(self.last))
    }
}

/// A transfer with its file, as packets.
struct Server {
    transfer: Transfer,
    bytes: Arc<[u8]>,
}

impl Server {
    fn new(request: &Request, bytes: Arc<[u8]>, now_ms: u64) -> (Self, Vec<Vec<u8>>) {
        Self::paced(request, bytes, Pace::Steady, now_ms)
    }

    fn paced(request: &Request, bytes: Arc<[u8]>, pace: Pace, now_ms: u64) -> (Self, Vec<Vec<u8>>) {
        let (transfer, first) = Transfer::new(request, bytes.len() as u64, pace, now_ms);
        let server = Self { transfer, bytes };
        let packets = server.packets(first);
        (server, packets)
    }

    fn packets(&self, send: Send) -> Vec<Vec<u8>> {
        let block = |block| {
            let mut packet = Vec::new();
            self.transfer.write_block(block, &self.bytes, &mut packet);
            packet
        };
        match send {
            Send::Nothing => Vec::new(),
            Send::Oack(packet) => vec![packet],
            Send::Blocks(blocks) => blocks.map(block).collect(),
        }
    }

    fn handle(&mut self, packet: &[u8], now_ms: u64) -> Vec<Vec<u8>> {
        let send = self.transfer.handle(packet, now_ms);
        self.packets(send)
    }

    fn poll(&mut self, now_ms: u64) -> Vec<Vec<u8>> {
        let send = self.transfer.poll(now_ms);
        self.packets(send)
    }
}

fn data_packet(number: u16, data: &[u8]) -> Vec<u8> {
    [&data_header(number)[..], data].concat()
}

fn ack(block: u64) -> Vec<u8> {
    [4_u16.to_be_bytes(), (block as u16).to_be_bytes()].concat()
}

fn file(length: usize) -> Arc<[u8]> {
    (0..length).map(|index| (index * 7 + index / 251) as u8).collect()
}

fn plain(path: &str) -> Request {
    Request {
        path: path.to_owned(),
        mode: Mode::Octet,
        blksize: None,
        tsize: false,
        timeout: None,
        windowsize: None,
    }
}

/// What the wire does to the next packet: drawn by proptest, used in turn.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Arrives { after_ms: u64 },
    Lost,
    Doubled { after_ms: u64, again_ms: u64 },
}

struct Wire {
    fates: Vec<Fate>,
    packets: u64,
    /// How many to the client arrive twice.
    doubled: usize,
    /// Arrival time, order of sending, whether to the server, the packet.
    flying: Vec<(u64, u64, bool, Vec<u8>)>,
}

impl Wire {
    fn send(&mut self, now_ms: u64, to_server: bool, packet: Vec<u8>) {
        let fate = self.fates[self.packets as usize % self.fates.len()];
        self.packets += 1;
        let times = match fate {
            Fate::Lost => vec![],
            Fate::Arrives { after_ms } => vec![after_ms],
            Fate::Doubled { after_ms, again_ms } => vec![after_ms, again_ms],
        };
        self.doubled += usize::from(times.len() == 2 && !to_server);
        for after_ms in times {
            self.flying.push((now_ms + after_ms, self.packets, to_server, packet.clone()));
        }
    }

    fn next_at(&self) -> Option<u64> {
        self.flying.iter().map(|(at_ms, ..)| *at_ms).min()
    }

    fn arrived(&mut self, now_ms: u64) -> Vec<(bool, Vec<u8>)> {
        self.flying.sort();
        let due = self.flying.partition_point(|(at_ms, ..)| *at_ms <= now_ms);
        self.flying.drain(..due).map(|(_, _, to_server, packet)| (to_server, packet)).collect()
    }
}

/// Plays a whole transfer; gives its outcome.
fn play(client: &mut Client, bytes: Arc<[u8]>, fates: Vec<Fate>) -> Outcome {
    timed(client, bytes, fates).0
}

/// The same, and how many milliseconds it took until the client had all.
fn timed(client: &mut Client, bytes: Arc<[u8]>, fates: Vec<Fate>) -> (Outcome, u64) {
    const BEGIN_MS: u64 = 1_000;
    let mut wire = Wire { fates, packets: 0, doubled: 0, flying: Vec::new() };
    let (mut now_ms, mut took_ms) = (BEGIN_MS, 0);
    let (mut transfer, first) = Server::paced(&client.request(), bytes, client.pace, now_ms);
    first.into_iter().for_each(|packet| wire.send(now_ms, false, packet));
    let mut repeat_at_ms = now_ms + client.patience_ms;
    let mut last = 0;
    loop {
        if let Some(outcome) = transfer.transfer.outcome() {
            client.doubled = wire.doubled;
            client.unheard = client.last - transfer.transfer.acked;
            return (outcome.clone(), took_ms);
        }
        if !client.done {
            took_ms = now_ms - BEGIN_MS;
        }
        let timer = transfer.transfer.poll_at().expect("it runs");
        now_ms = wire.next_at().unwrap_or(u64::MAX).min(timer).min(repeat_at_ms).max(now_ms);
        for (to_server, packet) in wire.arrived(now_ms) {
            if to_server {
                let answers = transfer.handle(&packet, now_ms);
                answers.into_iter().for_each(|packet| wire.send(now_ms, false, packet));
            } else if let Some(answer) = client.handle(&packet) {
                wire.send(now_ms, true, answer);
            }
            if client.last > last {
                (last, repeat_at_ms) = (client.last, now_ms + client.patience_ms);
            }
        }
        transfer.poll(now_ms).into_iter().for_each(|packet| wire.send(now_ms, false, packet));
        if now_ms >= repeat_at_ms {
            repeat_at_ms = now_ms + client.patience_ms;
            // lwIP never does: it ends the transfer instead, and here it is to need no such thing.
            if !client.done && client.last > 0 && client.pace != Pace::Quick {
                client.asked_again = true;
                client.timeouts += 1;
                wire.send(now_ms, true, ack(client.last));
            }
        }
    }
}

const CLEAN: Fate = Fate::Arrives { after_ms: 1 };

#[test]
fn block_numbers_roll_over() {
    for windowsize in [1, 64] {
        let bytes = file(8 * 70_000 + 3);
        let mut client = Client::new(8, windowsize);
        assert_eq!(play(&mut client, bytes.clone(), vec![CLEAN]), Outcome::Complete);
        assert_eq!(client.received, &bytes[..]);
        assert_eq!(client.blocks_seen, 70_001, "nothing was sent twice");
    }
}

#[test]
fn a_file_that_fills_its_last_block_ends_with_an_empty_one() {
    for length in [0, 512, 1024] {
        let mut client = Client::new(512, 1);
        assert_eq!(play(&mut client, file(length), vec![CLEAN]), Outcome::Complete);
        assert_eq!((client.received.len(), client.blocks_seen), (length, length / 512 + 1));
    }
}

#[test]
fn the_oack_promises_no_more_than_was_asked_for_and_no_more_than_the_limits() {
    let request = Request {
        blksize: Some(9_000),
        tsize: true,
        timeout: Some(200),
        windowsize: Some(1_000),
        ..plain("kernel")
    };
    let (_, packets) = Server::new(&request, file(10), 0);
    let expected = b"\0\x06blksize\x001468\0windowsize\x0064\0timeout\x00200\0tsize\x0010\0".to_vec();
    assert_eq!(packets, [expected]);
    let request = Request { windowsize: Some(2), ..plain("kernel") };
    let (_, packets) = Server::new(&request, file(10), 0);
    assert_eq!(packets, [b"\0\x06windowsize\x002\0".to_vec()], "what was not asked for is not answered");
}

#[test]
fn without_options_the_answer_is_the_first_block() {
    let (mut transfer, packets) = Server::new(&plain("bootcode.bin"), file(600), 0);
    assert_eq!(packets, [data_packet(1, &file(600)[..512])]);
    assert_eq!(transfer.handle(&ack(1), 1), [data_packet(2, &file(600)[512..])]);
    assert_eq!(transfer.transfer.progress(), (512, 600));
    assert!(transfer.handle(&ack(2), 2).is_empty());
    assert_eq!(transfer.transfer.outcome(), Some(&Outcome::Complete));
    assert_eq!(transfer.transfer.progress(), (600, 600));
    assert_eq!(transfer.transfer.poll_at(), None);
}

#[test]
fn what_was_never_sent_cannot_be_acknowledged() {
    let (mut transfer, _) = Server::new(&plain("kernel"), file(5_000), 0);
    for packet in [ack(2), ack(40_000), ack(0xffff), vec![], vec![0], vec![0, 4, 1], data_packet(1, b"x")] {
        assert!(transfer.handle(&packet, 1).is_empty(), "{packet:?}");
    }
    assert_eq!(transfer.transfer.progress().0, 0);
}

#[test]
fn the_client_s_error_ends_it_at_once() {
    let (mut transfer, _) = Server::new(&plain("start4.elf"), file(5_000), 0);
    assert!(transfer.handle(b"\0\x05\0\0early terminate\0", 1).is_empty());
    assert_eq!(
        transfer.transfer.outcome(),
        Some(&Outcome::Aborted { code: 0, message: "early terminate".to_owned() })
    );
    assert!(transfer.handle(&ack(1), 2).is_empty());
    assert!(transfer.poll(u64::MAX).is_empty());
}

#[test]
fn a_client_that_leaves_without_its_last_acknowledgement_has_most_likely_everything() {
    let (mut transfer, _) = Server::new(&plain("kernel"), file(600), 0);
    transfer.handle(&ack(1), 1);
    while let Some(at_ms) = transfer.transfer.poll_at() {
        transfer.poll(at_ms);
    }
    assert_eq!(transfer.transfer.outcome(), Some(&Outcome::Unconfirmed));
}
