//! What is kept, how long, and how much.

use super::*;
use crate::dns::packet::HEADER_BYTES;

/// A reply of one A record of that TTL, to the question for the root's address.
fn reply(ttl_secs: u32) -> Reply {
    let mut asked = vec![0; HEADER_BYTES];
    asked[5] = 1;
    asked.extend([0, 0, 1, 0, 1]);
    let mut packet = asked.clone();
    packet[2] = 0x80;
    packet[7] = 1;
    packet.extend([0, 0, 1, 0, 1]);
    packet.extend(ttl_secs.to_be_bytes());
    packet.extend([0, 4, 192, 0, 2, 1]);
    Reply::parse(&packet, &asked).expect("a reply")
}

fn key(number: usize) -> Key {
    number.to_be_bytes().as_slice().into()
}

#[test]
fn a_reply_is_kept_as_long_as_it_may_be() {
    let mut cache = Cache::default();
    cache.keep(key(1), reply(10), 5_000);
    assert_eq!(cache.look_up(&key(1), 5_000).map(|(_, age_secs)| age_secs), Some(0));
    assert_eq!(cache.look_up(&key(1), 14_999).map(|(_, age_secs)| age_secs), Some(9));
    assert!(cache.look_up(&key(1), 15_000).is_none());
    cache.keep(key(2), reply(0), 0);
    assert!(cache.look_up(&key(2), 0).is_none(), "a TTL of zero is not kept");
    cache.keep(key(3), reply(u32::MAX), 0);
    assert!(cache.look_up(&key(3), 0).is_none(), "nor is one with the highest bit set");
    cache.keep(key(4), reply(i32::MAX as u32), 0);
    assert!(cache.look_up(&key(4), 86_400_000).is_none(), "nothing is kept longer than a day");
}

#[test]
fn what_goes_first_anyway_goes_first() {
    let mut cache = Cache::default();
    for number in 0..ENTRIES_LIMIT {
        cache.keep(key(number), reply(if number == 7 { 60 } else { 600 }), 0);
    }
    cache.keep(key(ENTRIES_LIMIT), reply(600), 0);
    assert!(cache.look_up(&key(7), 0).is_none());
    assert!(cache.look_up(&key(ENTRIES_LIMIT), 0).is_some());
    assert_eq!((cache.entries.len(), cache.by_expiry.len()), (ENTRIES_LIMIT, ENTRIES_LIMIT));
}

#[test]
fn a_newer_reply_takes_the_place_of_an_older_one_and_bytes_are_counted() {
    let mut cache = Cache::default();
    cache.keep(key(1), reply(10), 0);
    let once = cache.bytes;
    cache.keep(key(1), reply(20), 1_000);
    assert_eq!((cache.bytes, cache.entries.len(), cache.by_expiry.len()), (once, 1, 1));
    assert!(cache.look_up(&key(1), 20_999).is_some());
    cache.remove(&key(1));
    assert_eq!((cache.bytes, cache.by_expiry.len()), (0, 0));
}
