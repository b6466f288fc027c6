//! What is sent again, when, and what is not.

use super::*;

/// These packets meet that fate, and no others anything; how many blocks the client was sent too many.
fn sent_too_many(packets: Range<usize>, fate: Fate) -> usize {
    sent_too_many_to(Client::new(512, 16), packets, fate)
}

fn sent_too_many_to(mut client: Client, packets: Range<usize>, fate: Fate) -> usize {
    let mut fates = vec![CLEAN; 10_000];
    fates[packets].fill(fate);
    let bytes = file(16 * 100 * 512);
    assert_eq!(play(&mut client, bytes.clone(), fates), Outcome::Complete);
    assert_eq!(client.received, &bytes[..]);
    client.blocks_seen - (16 * 100 + 1)
}

#[test]
fn what_was_late_or_lost_does_not_double_the_rest() {
    // The OACK, its ACK, sixteen blocks, their ACK; then the second window's.
    const ACK: usize = 2 + 2 * 17 - 1;
    const BLOCKS: Range<usize> = ACK - 16..ACK;
    // The probe, the window again, and one more for what the client says when the late ones come.
    assert_eq!(sent_too_many(BLOCKS, Fate::Arrives { after_ms: 150 }), 1 + 16 + 16);
    assert_eq!(sent_too_many(ACK..ACK + 1, Fate::Arrives { after_ms: 350 }), 1, "the probe");
    assert_eq!(sent_too_many(ACK..ACK + 1, Fate::Lost), 1);
    assert_eq!(sent_too_many(ACK..ACK + 1, Fate::Doubled { after_ms: 1, again_ms: 2 }), 16, "a complaint");
    assert_eq!(sent_too_many(BLOCKS, Fate::Lost), 1, "the probe");
    let quiet = Client { is_quiet: true, ..Client::new(512, 16) };
    assert_eq!(sent_too_many_to(quiet, ACK..ACK + 1, Fate::Lost), 1 + 16, "the window again, with the next");
    // The last, the first, one within: what came after it is there twice.
    assert_eq!(sent_too_many(ACK - 1..ACK, Fate::Lost), 0);
    assert_eq!(sent_too_many(ACK - 16..ACK - 15, Fate::Lost), 15);
    assert_eq!(sent_too_many(ACK - 8..ACK - 7, Fate::Lost), 7);
}

/// As from a boot loader that writes each window somewhere slow.
#[test]
fn a_slow_client_is_hurried_for_its_first_windows_only() {
    let request = Request { windowsize: Some(4), ..plain("kernel") };
    let (mut server, _) = Server::new(&request, file(50_000), 0);
    let mut now_ms = 1;
    server.handle(&ack(0), now_ms);
    let hurried = (1..=5).map(|window| {
        let until_ms = now_ms + 600;
        let mut count = 0;
        while let Some(at_ms) = server.transfer.poll_at().filter(|at_ms| *at_ms < until_ms) {
            count += server.poll(at_ms).len();
        }
        now_ms = until_ms;
        server.handle(&ack(4 * window), now_ms);
        count
    });
    // The probe, then the window with the one after it; those two at once.
    assert_eq!(hurried.collect::<Vec<_>>(), [1 + 8, 8, 8, 0, 0]);
}

#[test]
fn what_follows_a_silent_window_is_sent_and_its_late_acknowledgement_sends_nothing_twice() {
    let request = Request { windowsize: Some(4), ..plain("kernel") };
    let (mut server, _) = Server::new(&request, file(50_000), 0);
    server.handle(&ack(0), 1);
    assert_eq!(server.transfer.handle(&ack(4), 1), Send::Blocks(5..9));
    let mut silent = || {
        let at_ms = server.transfer.poll_at().expect("it runs");
        (at_ms, server.transfer.poll(at_ms))
    };
    let expected = [(51, 8..9), (101, 5..13), (201, 13..17), (301, 5..13), (501, 17..21)];
    for (at_ms, blocks) in expected {
        assert_eq!(silent(), (at_ms, Send::Blocks(blocks)));
    }
    assert_eq!(server.transfer.handle(&ack(8), 502), Send::Nothing, "13 to 20 are under way");
    assert_eq!(server.transfer.handle(&ack(20), 503), Send::Blocks(21..25));
    // Again two windows; the client misses the third block, and drops what comes after it.
    let at_ms = server.transfer.poll_at().expect("it runs");
    assert_eq!(server.transfer.poll(at_ms), Send::Blocks(21..29));
    assert_eq!(server.transfer.handle(&ack(22), at_ms + 1), Send::Blocks(23..27));
    assert_eq!(
        server.transfer.handle(&ack(26), at_ms + 2),
        Send::Blocks(27..31),
        "nothing of them is under way"
    );
}

#[test]
fn duplicate_acknowledgements_raise_no_apprentices() {
    let (mut transfer, _) = Server::new(&plain("kernel"), file(5_000), 0);
    assert_eq!(transfer.handle(&ack(1), 1).len(), 1);
    for now_ms in 2..10 {
        assert!(transfer.handle(&ack(1), now_ms).is_empty());
    }
    let request = Request { windowsize: Some(4), ..plain("kernel") };
    let (mut transfer, _) = Server::new(&request, file(50_000), 0);
    assert_eq!(transfer.handle(&ack(0), 1).len(), 4);
    assert_eq!(transfer.handle(&ack(4), 1).len(), 4);
    assert_eq!(transfer.handle(&ack(4), 2).len(), 4, "with windows it says that a block is missing");
    assert!(transfer.handle(&ack(4), 3).is_empty(), "but only once");
    assert_eq!(transfer.handle(&ack(6), 4)[0][..4], [0, 3, 0, 7], "half a window: go on behind it");
}

#[test]
fn silence_is_answered_within_a_second_and_given_up_after_the_limit() {
    let (mut transfer, first) = Server::new(&plain("kernel"), file(5_000), 0);
    assert_eq!(transfer.transfer.poll_at(), Some(1_000));
    assert!(transfer.poll(999).is_empty());
    let mut repeated = 0;
    let mut now_ms = 0;
    while let Some(at_ms) = transfer.transfer.poll_at() {
        assert!(at_ms > now_ms && at_ms - now_ms <= 8_000);
        now_ms = at_ms;
        for packet in transfer.poll(now_ms) {
            assert_eq!(packet, first[0]);
            repeated += 1;
        }
    }
    assert_eq!(repeated, 8);
    assert_eq!(transfer.transfer.outcome(), Some(&Outcome::TimedOut));
}

#[test]
fn lw_ip_is_sent_everything_again_well_within_its_second() {
    let (mut server, _) = Server::paced(&plain("kernel"), file(5_000), Pace::Quick, 0);
    let mut before_ms = 0;
    while let Some(at_ms) = server.transfer.poll_at() {
        assert!(at_ms - before_ms <= 500);
        before_ms = at_ms;
        server.poll(at_ms);
    }
    assert!(before_ms >= 5_000, "and not given up soon");
}

#[test]
fn a_request_that_comes_again_is_answered_again_until_the_client_is_heard() {
    let (mut transfer, first) = Transfer::new(&plain("start.elf"), 5_000, Pace::OnRequest, 0);
    assert_eq!(transfer.repeat(5), Some(first));
    assert_eq!(transfer.handle(&ack(1), 6), Send::Blocks(2..3));
    assert_eq!(transfer.repeat(7), None, "it is a new transfer's");
}

#[test]
fn who_complains_of_the_last_windows_and_then_falls_silent_has_most_likely_everything() {
    let request = Request { windowsize: Some(2), ..plain("kernel") };
    let (mut server, _) = Server::new(&request, file(6 * 512 - 1), 0);
    assert_eq!(server.transfer.handle(&ack(0), 1), Send::Blocks(1..3));
    server.handle(&ack(2), 300);
    let again = std::iter::repeat_with(|| {
        let at_ms = server.transfer.poll_at().expect("it runs");
        server.transfer.poll(at_ms)
    });
    assert!(again.take(9).any(|sent| sent == Send::Blocks(3..7)));
    // The third came, and those after it are late.
    assert_eq!(server.transfer.handle(&ack(3), 9_000), Send::Blocks(4..6));
    while let Some(at_ms) = server.transfer.poll_at() {
        server.poll(at_ms);
    }
    assert_eq!(server.transfer.outcome(), Some(&Outcome::Unconfirmed));
}
