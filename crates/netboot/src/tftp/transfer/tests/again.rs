//! What is sent again, and what is not, to a client with windows.

use super::*;

/// These packets meet that fate, and no others anything; how many blocks the client was sent too many.
fn sent_too_many(packets: Range<usize>, fate: Fate) -> usize {
    let mut fates = vec![CLEAN; 10_000];
    fates[packets].fill(fate);
    let bytes = file(16 * 100 * 512);
    let mut client = Client::new(512, 16);
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
    // The last, the first, one within: what came after it is there twice.
    assert_eq!(sent_too_many(ACK - 1..ACK, Fate::Lost), 0);
    assert_eq!(sent_too_many(ACK - 16..ACK - 15, Fate::Lost), 15);
    assert_eq!(sent_too_many(ACK - 8..ACK - 7, Fate::Lost), 7);
}
