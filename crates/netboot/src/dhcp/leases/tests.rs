//! One address per machine, one machine per address, whatever is done to them.

use super::*;

fn mac(number: u16) -> Mac {
    let [a, b] = number.to_be_bytes();
    Mac([0xb8, 0x27, 0xeb, 0, a, b])
}

fn lease(number: u16, last: u16, until_ms: u64) -> Lease {
    Lease { mac: mac(number), address: address(last), until_ms }
}

fn address(number: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 78, 0, 0).to_bits() + u32::from(number))
}

fn pool(first: u16, last: u16) -> RangeInclusive<Ipv4Addr> {
    address(first)..=address(last)
}

#[test]
fn one_machine_has_one_address_and_one_address_one_machine() {
    let mut leases = Leases::restore(vec![lease(1, 10, 100), lease(2, 11, 100), lease(1, 12, 100)]);
    assert_eq!(leases.of(mac(1)).map(|lease| lease.address), Some(address(12)));
    assert_eq!(leases.holder(address(10), 0), None);
    leases.grant(lease(3, 11, 100), 0);
    assert_eq!(leases.of(mac(2)), None);
    assert_eq!(leases.holder(address(11), 99).map(|lease| lease.mac), Some(mac(3)));
    assert_eq!(leases.holder(address(11), 100), None, "it ran out");
    assert_eq!(leases.by_mac.len(), leases.by_address.len());
}

#[test]
fn who_lost_its_lease_is_named_and_an_older_lease_never_wins_over_a_newer_one() {
    let mut leases = Leases::restore(vec![lease(1, 10, 100)]);
    let granted = leases.grant(lease(2, 10, 200), 150).expect("a lease");
    assert_eq!(granted, Granted { lease: lease(2, 10, 200), displaced: Some(mac(1)) });
    let moved = leases.grant(lease(2, 11, 200), 150).expect("a lease");
    assert_eq!(moved.displaced, None, "its own other address is nobody's loss");
    // A store lists what it has in any order.
    for both in [[lease(1, 10, 100), lease(2, 10, 200)], [lease(2, 10, 200), lease(1, 10, 100)]] {
        let leases = Leases::restore(both.to_vec());
        assert_eq!(leases.holder(address(10), 0).map(|lease| lease.mac), Some(mac(2)));
        assert_eq!(leases.of(mac(1)), None);
    }
}

#[test]
fn a_full_pool_takes_back_what_ran_out_and_then_gives_nothing() {
    let mut leases = Leases::default();
    for number in 0..4 {
        let address = leases.pick(mac(number), &pool(10, 13), 0, |_| true).expect("a free one");
        leases.grant(Lease { mac: mac(number), address, until_ms: 100 + u64::from(number) }, 0);
    }
    assert_eq!(leases.pick(mac(9), &pool(10, 13), 50, |_| true), None);
    let freed = leases.of(mac(0)).map(|lease| lease.address);
    assert_eq!(leases.pick(mac(9), &pool(10, 13), 100, |_| true), freed);
}

#[test]
fn a_declined_address_is_avoided_for_a_while() {
    let mut leases = Leases::restore(vec![lease(1, 10, 1_000)]);
    assert_eq!(leases.avoid(address(10), 5), Some(mac(1)));
    assert_eq!(leases.pick(mac(1), &pool(10, 10), 6, |_| true), None);
    assert_eq!(leases.pick(mac(1), &pool(10, 10), 5 + DECLINED_MS, |_| true), Some(address(10)));
}

#[test]
fn the_number_of_leases_is_limited_and_running_ones_are_not_forgotten() {
    let many = (0..LEASES_LIMIT as u16 + 5).map(|n| lease(n, n, 100 + u64::from(n))).collect();
    let mut leases = Leases::restore(many);
    assert_eq!(leases.iter().count(), LEASES_LIMIT);
    assert_eq!(leases.grant(lease(60_000, 60_000, 500), 50), None);
    let granted = leases.grant(lease(60_000, 60_000, 500), 105);
    assert_eq!(granted.and_then(|granted| granted.displaced), Some(mac(5)));
    assert_eq!(leases.iter().count(), LEASES_LIMIT);
    assert_eq!(leases.of(mac(5)), None, "the one that ran out first made place");
}

#[test]
fn an_offer_takes_nothing_from_anybody_and_is_held_for_its_client() {
    let mut leases = Leases::restore(vec![lease(1, 10, 1_000)]);
    assert!(leases.offer(lease(1, 20, 100), 0).is_some());
    assert_eq!(leases.of(mac(1)).map(|lease| lease.address), Some(address(10)));
    assert!(!leases.is_free_for(mac(2), address(20), 99) && leases.is_free_for(mac(1), address(20), 99));
    assert!(leases.is_free_for(mac(2), address(20), 100), "it was not taken");
    assert!(leases.offer(lease(1, 21, 200), 0).is_some(), "another offer replaces it");
    assert!(leases.is_free_for(mac(2), address(20), 0));
    leases.grant(lease(1, 21, 1_000), 0);
    assert_eq!((leases.offer_to(mac(1), 0), leases.offers.len(), leases.offered.len()), (None, 0, 0));
    assert_eq!(leases.holder(address(10), 0), None);
}

#[test]
fn the_number_of_offers_is_limited_and_those_that_ran_out_make_place() {
    let mut leases = Leases::default();
    for number in 0..LEASES_LIMIT as u16 {
        assert!(leases.offer(lease(number, number, 100), 0).is_some());
    }
    assert_eq!(leases.offer(lease(60_000, 60_000, 100), 99), None);
    assert!(leases.offer(lease(5, 60_000, 100), 99).is_some(), "one that is there is replaced");
    assert!(leases.offer(lease(60_000, 60_001, 300), 100).is_some());
    assert_eq!((leases.offers.len(), leases.offered.len()), (1, 1));
}

#[test]
fn a_machine_runs_where_it_was_heard_until_it_has_another_address() {
    let mut leases = Leases::restore(vec![lease(1, 10, 1_000_000)]);
    assert_eq!(leases.runs_at(mac(1), 5_000), None, "a head that starts has heard nobody");
    leases.hear(mac(1), 5_000);
    leases.hear(mac(2), 5_000);
    assert_eq!(leases.runs_at(mac(1), 5_000 + RUNS_MS - 1), Some(address(10)));
    assert_eq!(leases.runs_at(mac(1), 5_000 + RUNS_MS), None);
    leases.grant(lease(1, 11, 1_000_000), 5_000);
    assert_eq!((leases.runs_at(mac(1), 5_000), leases.heard.len()), (None, 0));
}
