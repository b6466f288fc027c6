//! Which machine has which address, until when. One address per machine, one machine per address.
//!
//! A lease that ran out is kept as a memory, so that the machine gets its address back; it is forgotten only
//! when its address or its place is needed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use cluster::Mac;

/// The most leases, running or remembered.
pub const LEASES_LIMIT: usize = 16_384;
/// The most addresses that are remembered as declined.
const DECLINED_LIMIT: usize = 256;
/// How long an address is not given out after a client found it in use, in milliseconds.
const DECLINED_MS: u64 = 10 * 60 * 1_000;

/// An address that a machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The machine.
    pub mac: Mac,
    /// Its address.
    pub address: Ipv4Addr,
    /// When it runs out, in the caller's milliseconds (the head's: since 1970).
    pub until_ms: u64,
}

/// All leases.
#[derive(Clone, Debug, Default)]
pub struct Leases {
    by_mac: BTreeMap<Mac, Lease>,
    by_address: BTreeMap<Ipv4Addr, Mac>,
    /// The machines whose lease is an offer that was not taken yet.
    offered: BTreeSet<Mac>,
    /// Until when addresses are avoided, because somebody else uses them.
    declined: BTreeMap<Ipv4Addr, u64>,
    /// Counts how often a machine got another address.
    moves: u64,
}

impl Leases {
    /// The leases of an earlier run. Of two for one machine or one address the later in the list counts;
    /// those over [`LEASES_LIMIT`] are dropped, the ones that ran out first before others.
    pub fn restore(mut leases: Vec<Lease>) -> Self {
        if leases.len() > LEASES_LIMIT {
            leases.sort_by_key(|lease| std::cmp::Reverse(lease.until_ms));
            leases.truncate(LEASES_LIMIT);
        }
        let mut restored = Self::default();
        for lease in leases {
            restored.put(lease);
        }
        restored
    }

    /// The machine's lease, running or remembered.
    pub fn of(&self, mac: Mac) -> Option<&Lease> {
        self.by_mac.get(&mac)
    }

    /// The running lease of the address.
    pub fn holder(&self, address: Ipv4Addr, now_ms: u64) -> Option<&Lease> {
        let lease = self.by_mac.get(self.by_address.get(&address)?)?;
        (lease.until_ms > now_ms).then_some(lease)
    }

    /// The machine is seen at its address and keeps it until `until_ms`: what a node that runs does in place
    /// of a REQUEST. The lease, if the machine has one.
    pub fn renew(&mut self, mac: Mac, until_ms: u64) -> Option<Lease> {
        let lease = self.by_mac.get_mut(&mac)?;
        lease.until_ms = until_ms;
        Some(*lease)
    }

    /// A number that is another one when a machine has another address than before, or none any more.
    pub fn moves(&self) -> u64 {
        self.moves
    }

    /// All leases, running or remembered, by hardware address.
    pub fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.by_mac.values()
    }

    /// Notes a lease: whatever the machine or the address had before is gone. `None` if there is no place.
    pub fn grant(&mut self, lease: Lease, now_ms: u64) -> Option<Lease> {
        let known = self.by_mac.contains_key(&lease.mac) || self.by_address.contains_key(&lease.address);
        if !known && self.by_mac.len() >= LEASES_LIMIT {
            self.forget_one(now_ms)?;
        }
        self.put(lease);
        Some(lease)
    }

    /// Holds an address for a machine that was offered it. One that it has anyway keeps its term, but none beyond
    /// `longest_ms`. `None` if there is no place.
    pub(super) fn offer(&mut self, lease: Lease, longest_ms: u64, now_ms: u64) -> Option<()> {
        let running = self.of(lease.mac).filter(|running| running.address == lease.address);
        let running =
            running.filter(|running| running.until_ms > now_ms && !self.offered.contains(&lease.mac));
        match running.copied() {
            Some(running) => self.put(Lease { until_ms: running.until_ms.min(longest_ms), ..running }),
            None => {
                self.grant(lease, now_ms)?;
                self.offered.insert(lease.mac);
            }
        }
        Some(())
    }

    /// Whether what the machine has is an offer that it has not taken yet.
    pub(super) fn is_offer(&self, mac: Mac) -> bool {
        self.offered.contains(&mac)
    }

    /// The machine does not need its address any more; it is remembered for it.
    pub(super) fn release(&mut self, mac: Mac, now_ms: u64) -> Option<Lease> {
        let lease = self.by_mac.get_mut(&mac)?;
        lease.until_ms = lease.until_ms.min(now_ms);
        Some(*lease)
    }

    /// Somebody else uses the address: nobody gets it for a while. The machine that had it, if one had.
    pub(super) fn avoid(&mut self, address: Ipv4Addr, now_ms: u64) -> Option<Mac> {
        self.declined.retain(|_, until_ms| *until_ms > now_ms);
        if self.declined.len() < DECLINED_LIMIT {
            self.declined.insert(address, now_ms.saturating_add(DECLINED_MS));
        }
        let mac = self.by_address.remove(&address)?;
        self.moves += 1;
        self.by_mac.remove(&mac);
        self.offered.remove(&mac);
        Some(mac)
    }

    /// Whether the address may be given to the machine: no other has it, and nobody declined it.
    pub(super) fn is_free_for(&self, mac: Mac, address: Ipv4Addr, now_ms: u64) -> bool {
        let taken = self.holder(address, now_ms).is_some_and(|lease| lease.mac != mac);
        let declined = self.declined.get(&address).is_some_and(|until_ms| *until_ms > now_ms);
        !taken && !declined
    }

    /// An address of the pool for a machine that has none yet. The search begins at a place that depends on
    /// the machine alone, so that a head that lost its leases gives most machines the same again; addresses
    /// that nobody had before come first.
    pub(super) fn pick(
        &self,
        mac: Mac,
        pool: &RangeInclusive<Ipv4Addr>,
        now_ms: u64,
        usable: impl Fn(Ipv4Addr) -> bool,
    ) -> Option<Ipv4Addr> {
        let first = pool.start().to_bits();
        let size = u64::from(pool.end().to_bits().checked_sub(first)?) + 1;
        let start = place(mac) % size;
        // More addresses than leases and declined ones cannot all be taken.
        let looked_at = size.min((LEASES_LIMIT + DECLINED_LIMIT + 8) as u64);
        let candidates = (0..looked_at)
            .map(|step| Ipv4Addr::from_bits(first + ((start + step) % size) as u32))
            .filter(|address| usable(*address) && self.is_free_for(mac, *address, now_ms));
        let mut remembered = None;
        for address in candidates {
            if !self.by_address.contains_key(&address) {
                return Some(address);
            }
            remembered = remembered.or(Some(address));
        }
        remembered
    }

    fn put(&mut self, lease: Lease) {
        self.offered.remove(&lease.mac);
        match self.by_mac.insert(lease.mac, lease) {
            Some(before) if before.address == lease.address => return,
            Some(before) => drop(self.by_address.remove(&before.address)),
            None => {}
        }
        self.moves += 1;
        if let Some(other) = self.by_address.insert(lease.address, lease.mac)
            && other != lease.mac
        {
            self.by_mac.remove(&other);
            self.offered.remove(&other);
        }
    }

    /// Makes place: forgets the lease that ran out first.
    fn forget_one(&mut self, now_ms: u64) -> Option<()> {
        let oldest = self.by_mac.values().min_by_key(|lease| lease.until_ms)?;
        let Lease { mac, address, until_ms } = *oldest;
        if until_ms > now_ms {
            return None;
        }
        self.moves += 1;
        self.by_mac.remove(&mac);
        self.by_address.remove(&address);
        self.offered.remove(&mac);
        Some(())
    }
}

/// A number that depends on the address alone and spreads well (FNV-1a): neighbours in the factory are
/// neighbours in the rack.
fn place(mac: Mac) -> u64 {
    mac.0
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
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
        assert!(leases.grant(lease(60_000, 60_000, 500), 105).is_some());
        assert_eq!(leases.iter().count(), LEASES_LIMIT);
        assert_eq!(leases.of(mac(5)), None, "the one that ran out first made place");
    }
}
