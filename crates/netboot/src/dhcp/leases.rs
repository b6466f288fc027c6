//! Which machine has which address, until when. One address per machine, one machine per address.
//!
//! A lease that ran out is kept as a memory, so that the machine gets its address back; it is forgotten only
//! when its address or its place is needed. An offer is no lease: anybody can ask for one in a node's name, and the
//! node, which may be running, must not lose its address by that.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use cluster::Mac;

/// The most leases, running or remembered.
pub const LEASES_LIMIT: usize = 16_384;
/// The most addresses that are remembered as declined.
const DECLINED_LIMIT: usize = 256;
/// How long an address is not given out after a client found it in use, in milliseconds.
const DECLINED_MS: u64 = 10 * 60 * 1_000;
/// For how long a machine counts as running after it was last heard, in milliseconds. Nodes report every two seconds; a
/// board that was told to reboot asks for its address ten seconds later, and a Pi 3's ROM gives up after 25.
const RUNS_MS: u64 = 15_000;

/// How long a lease that another machine displaced can be given back, in milliseconds: until ARP was asked who is there.
const LOST_MS: u64 = 5_000;
/// The most of those.
const LOST_LIMIT: usize = 256;

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

/// A lease that was noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The lease.
    pub lease: Lease,
    /// Whose lease is gone for it: the address was that machine's, or its place was needed. Whoever keeps leases has to
    /// forget it as well, or it comes back with the next start.
    pub displaced: Option<Mac>,
}

/// All leases.
#[derive(Clone, Debug, Default)]
pub struct Leases {
    by_mac: BTreeMap<Mac, Lease>,
    by_address: BTreeMap<Ipv4Addr, Mac>,
    /// What machines were offered and did not take yet. As many as leases, at most.
    offers: BTreeMap<Mac, Lease>,
    /// Whose offers those are.
    offered: BTreeMap<Ipv4Addr, Mac>,
    /// When machines with a lease last proved that they run at its address.
    heard: BTreeMap<Mac, u64>,
    /// Leases that others displaced a moment ago, and when.
    lost: BTreeMap<Ipv4Addr, (Lease, u64)>,
    /// Until when addresses are avoided, because somebody else uses them.
    declined: BTreeMap<Ipv4Addr, u64>,
    /// Counts how often a machine got another address.
    moves: u64,
}

impl Leases {
    /// The leases of an earlier run. Of two for one machine or one address the one that runs out later counts, however
    /// the store lists them; those over [`LEASES_LIMIT`] are dropped, the ones that ran out first before others.
    pub fn restore(mut leases: Vec<Lease>) -> Self {
        leases.sort_by_key(|lease| lease.until_ms);
        let mut restored = Self::default();
        for lease in leases.split_off(leases.len().saturating_sub(LEASES_LIMIT)) {
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
    pub fn grant(&mut self, lease: Lease, now_ms: u64) -> Option<Granted> {
        let known = self.by_mac.contains_key(&lease.mac) || self.by_address.contains_key(&lease.address);
        let is_full = !known && self.by_mac.len() >= LEASES_LIMIT;
        let forgotten = if is_full { Some(self.forget_one(now_ms)?) } else { None };
        let lost = self.put(lease);
        if let Some(lost) = lost {
            self.lost.retain(|_, (_, since_ms)| since_ms.abs_diff(now_ms) < LOST_MS);
            if self.lost.len() < LOST_LIMIT {
                self.lost.insert(lost.address, (lost, now_ms));
            }
        }
        Some(Granted { lease, displaced: lost.map(|lost| lost.mac).or(forgotten) })
    }

    /// The lease of that address that a machine lost to another a moment ago.
    pub(super) fn lost_by(&self, mac: Mac, address: Ipv4Addr, now_ms: u64) -> Option<Lease> {
        let (lease, since_ms) = self.lost.get(&address)?;
        (lease.mac == mac && since_ms.abs_diff(now_ms) < LOST_MS).then_some(*lease)
    }

    /// The machine proved that it runs at the address of its lease.
    pub fn hear(&mut self, mac: Mac, now_ms: u64) {
        if self.by_mac.contains_key(&mac) {
            self.heard.insert(mac, now_ms);
        }
    }

    /// Where the machine runs, if it was heard lately.
    pub(super) fn runs_at(&self, mac: Mac, now_ms: u64) -> Option<Ipv4Addr> {
        let heard_ms = self.heard.get(&mac)?;
        // A clock that was set back makes nobody run for ever.
        (heard_ms.abs_diff(now_ms) < RUNS_MS).then(|| self.of(mac).map(|lease| lease.address))?
    }

    /// Holds an address for a machine that was offered it. `None` if there is no place.
    pub(super) fn offer(&mut self, offer: Lease, now_ms: u64) -> Option<()> {
        if !self.offers.contains_key(&offer.mac) && self.offers.len() >= LEASES_LIMIT {
            self.offers.retain(|_, offer| offer.until_ms > now_ms);
            self.offered = self.offers.values().map(|offer| (offer.address, offer.mac)).collect();
            if self.offers.len() >= LEASES_LIMIT {
                return None;
            }
        }
        self.withdraw(offer.mac);
        if let Some(other) = self.offered.insert(offer.address, offer.mac) {
            self.offers.remove(&other);
        }
        self.offers.insert(offer.mac, offer);
        Some(())
    }

    /// What the machine was offered and may still take.
    pub(super) fn offer_to(&self, mac: Mac, now_ms: u64) -> Option<Ipv4Addr> {
        self.offers.get(&mac).filter(|offer| offer.until_ms > now_ms).map(|offer| offer.address)
    }

    /// A lease runs no longer than this: one that does comes from a clock that was wrong.
    pub(super) fn cut(&mut self, mac: Mac, longest_ms: u64) {
        if let Some(lease) = self.by_mac.get_mut(&mac) {
            lease.until_ms = lease.until_ms.min(longest_ms);
        }
    }

    /// The machine does not need its address any more; it is remembered for it.
    pub(super) fn release(&mut self, mac: Mac, now_ms: u64) -> Option<Granted> {
        let lease = self.by_mac.get_mut(&mac)?;
        lease.until_ms = lease.until_ms.min(now_ms);
        Some(Granted { lease: *lease, displaced: None })
    }

    /// Somebody else uses the address: nobody gets it for a while. The machine that had it, if one had.
    pub(super) fn avoid(&mut self, address: Ipv4Addr, now_ms: u64) -> Option<Mac> {
        self.declined.retain(|_, until_ms| *until_ms > now_ms);
        if self.declined.len() < DECLINED_LIMIT {
            self.declined.insert(address, now_ms.saturating_add(DECLINED_MS));
        }
        if let Some(mac) = self.offered.remove(&address) {
            self.offers.remove(&mac);
        }
        let mac = *self.by_address.get(&address)?;
        self.forget(mac);
        Some(mac)
    }

    /// Whether the address may be given to the machine: no other has it or was offered it, and nobody declined it.
    pub(super) fn is_free_for(&self, mac: Mac, address: Ipv4Addr, now_ms: u64) -> bool {
        let offer = self.offered.get(&address).filter(|other| self.offer_to(**other, now_ms).is_some());
        let holder = self.holder(address, now_ms).map(|lease| &lease.mac);
        let taken = offer.into_iter().chain(holder).any(|other| *other != mac);
        !taken && !self.is_declined(address, now_ms)
    }

    /// Whether the machine may have the address that is its own by configuration, whoever has the lease: nobody declined
    /// it, and no other was heard from there lately.
    pub(super) fn is_vacant_for(&self, mac: Mac, address: Ipv4Addr, now_ms: u64) -> bool {
        let other = self.by_address.get(&address).filter(|other| **other != mac);
        let runs = other.is_some_and(|other| self.runs_at(*other, now_ms).is_some());
        !runs && !self.is_declined(address, now_ms)
    }

    fn is_declined(&self, address: Ipv4Addr, now_ms: u64) -> bool {
        self.declined.get(&address).is_some_and(|until_ms| *until_ms > now_ms)
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

    /// What another machine had of the address before.
    fn put(&mut self, lease: Lease) -> Option<Lease> {
        self.withdraw(lease.mac);
        if let Some(other) = self.offered.remove(&lease.address) {
            self.offers.remove(&other);
        }
        match self.by_mac.insert(lease.mac, lease) {
            Some(before) if before.address == lease.address => return None,
            Some(before) => drop(self.by_address.remove(&before.address)),
            None => {}
        }
        self.moves += 1;
        self.heard.remove(&lease.mac);
        let other = self.by_address.insert(lease.address, lease.mac)?;
        self.heard.remove(&other);
        self.by_mac.remove(&other)
    }

    /// The machine has no lease any more.
    fn forget(&mut self, mac: Mac) {
        if let Some(lease) = self.by_mac.remove(&mac) {
            self.moves += 1;
            self.by_address.remove(&lease.address);
            self.heard.remove(&mac);
        }
    }

    /// What the machine was offered is not held for it any more.
    fn withdraw(&mut self, mac: Mac) {
        if let Some(offer) = self.offers.remove(&mac) {
            self.offered.remove(&offer.address);
        }
    }

    /// Makes place: forgets the lease that ran out first.
    fn forget_one(&mut self, now_ms: u64) -> Option<Mac> {
        let oldest = self.by_mac.values().min_by_key(|lease| lease.until_ms)?;
        let Lease { mac, until_ms, .. } = *oldest;
        if until_ms > now_ms {
            return None;
        }
        self.forget(mac);
        Some(mac)
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
mod tests;
