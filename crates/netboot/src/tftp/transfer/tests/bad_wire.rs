//! Whatever the wire does: what arrives is the file.

use proptest::prelude::*;

use super::*;

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        16 => (1..20_u64).prop_map(|after_ms| Fate::Arrives { after_ms }),
        2 => Just(Fate::Lost),
        1 => (1..50_u64, 1..3_000_u64)
            .prop_map(|(after_ms, again_ms)| Fate::Doubled { after_ms, again_ms }),
        1 => (100..1_500_u64).prop_map(|after_ms| Fate::Arrives { after_ms }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Loss, duplication, delay and reordering: what arrives is the file, byte for byte.
    #[test]
    fn the_exact_bytes_arrive_over_a_bad_wire(
        length in 0..6_000_usize,
        blksize in 8..600_usize,
        windowsize in 1..10_u64,
        // A prime number of fates, so that a retransmission does not meet the same one for ever.
        fates in proptest::collection::vec(fate(), 997),
    ) {
        let bytes = file(length);
        let mut client = Client::new(blksize, windowsize);
        let outcome = play(&mut client, bytes.clone(), fates);
        // Who has lost what it said of more than two windows looks like one that has been gone since.
        let is_known = matches!(outcome, Outcome::Complete | Outcome::Unconfirmed);
        prop_assert!(is_known || client.unheard > 2 * windowsize, "{outcome:?}, {} unheard", client.unheard);
        prop_assert!(client.done);
        prop_assert!(client.received == bytes[..]);
    }

    /// Every pace, on a wire that loses, delays and doubles: all bytes arrive, and `start4.elf` is never sent a
    /// block that it has and did not ask for.
    #[test]
    fn every_pace_brings_the_file_and_the_pi_nothing_twice(
        length in 0..40_000_usize,
        pace in prop_oneof![Just(Pace::Steady), Just(Pace::Quick), Just(Pace::OnRequest)],
        fates in proptest::collection::vec(prop_oneof![
            8 => (1..20_u64).prop_map(|after_ms| Fate::Arrives { after_ms }),
            1 => Just(Fate::Lost),
            1 => (1..20_u64, 20..300_u64).prop_map(|(after_ms, again_ms)| Fate::Doubled { after_ms, again_ms }),
        ], 997),
    ) {
        let bytes = file(length);
        let mut client = Client { pace, ..Client::new(512, 1) };
        let outcome = play(&mut client, bytes.clone(), fates);
        // A first answer that gets lost is asked for again by a new request, which is a new transfer.
        let never_began = client.blocks_seen == 0 && pace == Pace::OnRequest;
        prop_assert!(client.done || never_began, "{outcome:?}");
        prop_assert!(never_began || client.received == bytes[..]);
        // What the wire itself doubled is not the head's.
        prop_assert!(pace != Pace::OnRequest || client.unasked <= client.doubled);
    }

    #[test]
    fn no_packet_breaks_a_transfer(packets in proptest::collection::vec(
        (0..7_u8, proptest::collection::vec(any::<u8>(), 0..8)), 0..60)) {
        let request = Request { windowsize: Some(3), ..plain("kernel") };
        let (mut transfer, _) = Server::new(&request, file(3_000), 0);
        for (now_ms, (opcode, rest)) in packets.into_iter().enumerate() {
            let sent = transfer.handle(&[&[0, opcode], &rest[..]].concat(), now_ms as u64);
            prop_assert!(sent.len() <= 2 * 3);
        }
    }
}

/// A Debian kernel over a wire that loses a tenth: seconds, not minutes, and U-Boot's timer, which may ring ten times in a
/// file, rings seldom.
#[test]
fn u_boot_gets_its_kernel_over_a_lossy_wire() {
    let bytes = file(13_536_181);
    for (windowsize, limit_ms) in [(4, 90_000), (8, 60_000), (16, 30_000), (64, 20_000)] {
        for (seed, is_quiet) in [(1, false), (1, true), (2, true), (3, true)] {
            let mut random = fastrand::Rng::with_seed(seed);
            let fates = (0..99_991).map(|_| if random.u8(..) < 26 { Fate::Lost } else { CLEAN }).collect();
            let mut client = Client { is_quiet, patience_ms: 1_000, ..Client::new(1_468, windowsize) };
            let (outcome, took_ms) = timed(&mut client, bytes.clone(), fates);
            let timeouts = client.timeouts;
            let said = format!("windows of {windowsize}, seed {seed}: {took_ms} ms, {timeouts} timeouts");
            assert!(matches!(outcome, Outcome::Complete | Outcome::Unconfirmed), "{outcome:?} {said}");
            assert!(client.received == bytes[..], "{said}");
            assert!(took_ms < limit_ms && timeouts <= 5, "{said}");
        }
    }
}

#[test]
fn one_lost_block_costs_one_second_not_the_transfer() {
    let mut fates = vec![CLEAN; 100_000];
    fates[21] = Fate::Lost;
    let mut client = Client::new(1_468, 1);
    let bytes = file(100_000);
    assert_eq!(play(&mut client, bytes.clone(), fates), Outcome::Complete);
    assert_eq!(client.received, &bytes[..]);
}
