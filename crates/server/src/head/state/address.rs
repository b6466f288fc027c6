//! Who gets an address, and which other servers give some.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use cluster::view::{RivalView, WaitingView};
use cluster::{Mac, NodeName};
use netboot::dhcp::{Answer, Change, Granted, Kind, Lease, Profile, Request, Standing, Why};
use netboot::tftp::Pace;

use super::State;
use crate::config::Enrolment;
use crate::head::inventory::WAITING_LIMIT;
use crate::head::news::Topic;
use crate::pump::rivals::Found;
use crate::store::Write;

/// The most nodes that enrol by themselves; more are strangers, so that nobody fills the store.
const NODES_LIMIT: usize = 16_384;
/// For how long another DHCP server counts as there after it was last noticed, in milliseconds: longer than the head
/// waits before it looks again. Who was not noticed for so long gives up its place in a full list, and that is told.
const RIVAL_MS: u64 = 15 * 60 * 1_000;
/// The least time between two lines about DECLINEs, in milliseconds.
const DECLINE_PAUSE_MS: u64 = 5_000;
/// The most other DHCP servers that are kept.
const RIVALS_LIMIT: usize = 64;

impl State {
    /// Answers what came to port 67.
    pub(in crate::head) fn dhcp(&mut self, request: &Request) -> Answer {
        let now_ms = self.now_ms;
        // Whether it is answered or not: beside another server U-Boot is left to that one, and fetches its files here.
        if request.kind == Kind::Discover
            && let Some(node) = self.nodes.get_mut(&request.mac)
        {
            node.profile = request.profile;
        }
        let before = self.dhcp.leases.of(request.mac).map(|lease| lease.address);
        let answer = self.with_standing(request.mac, |dhcp, standing| dhcp.answer(request, standing, now_ms));
        if let Some(change) = answer.change {
            self.change(change);
        }
        match answer.reply {
            Ok(_) if request.kind == Kind::Discover => self.discovered(request.mac, request.profile),
            // Beside a router this is as it should be.
            Err(Why::OtherServer(server)) if !self.is_beside_another() => {
                self.meet_rival(server, Found { mac: None, adds_only: false })
            }
            Err(why) if request.kind == Kind::Decline => self.declined(request.mac, why),
            _ => {}
        }
        if let Some(Change::Lease(Granted { lease, .. })) = answer.change {
            self.reserve_token(request.mac);
            if before != Some(lease.address) {
                self.moved(&lease);
            }
        }
        answer
    }

    /// A node has another address than before. If that is not its own, an operator waits for it to be.
    fn moved(&self, lease: &Lease) {
        let Some(node) = self.nodes.get(&lease.mac) else { return };
        let Some(own) = node.fixed.filter(|own| *own != lease.address) else { return };
        let settings = &self.dhcp.settings;
        // Behind a relay it has an address of that network.
        if settings.subnet_of(own) != settings.subnet_of(lease.address) {
            return;
        }
        let user = self.dhcp.leases.holder(own, self.now_ms).and_then(|lease| self.nodes.get(&lease.mac));
        let user = user.map_or("another machine", |user| user.kept.name.as_str());
        let (node, address) = (&node.kept.name, lease.address);
        tracing::warn!(%node, "its address {own} is used by {user}: it has {address} until it boots next");
    }

    /// A node said that somebody else uses its address, or somebody said so in its name.
    fn declined(&mut self, mac: Mac, why: Why) {
        let Some(node) = self.nodes.get(&mac) else { return };
        // Forged packets must not fill the log.
        if self.now_ms.abs_diff(self.declined_ms) >= DECLINE_PAUSE_MS {
            tracing::warn!(node = %node.kept.name, "DHCP DECLINE: {why}");
            self.declined_ms = self.now_ms;
        }
    }

    /// Answers what came to port 4011.
    pub(in crate::head) fn pxe(&mut self, request: &Request, from: SocketAddrV4) -> Answer {
        self.with_standing(request.mac, |dhcp, standing| dhcp.answer_pxe(request, standing, from))
    }

    /// Somebody else answered at an address that was about to be offered.
    pub(in crate::head) fn in_use(&mut self, address: Ipv4Addr, by: Mac) {
        tracing::warn!("{address} is in use by {by}: nobody else gets it for a while");
        if let Some(change) = self.dhcp.in_use(address, by, self.now_ms) {
            self.change(change);
        }
    }

    /// A machine that has its address from another server is met there.
    pub(in crate::head) fn meet(&mut self, mac: Mac, address: Ipv4Addr) {
        let known = self.dhcp.leases.of(mac).is_some_and(|lease| lease.address == address);
        let on_our_network = self.dhcp.settings.subnet_of(address).is_some();
        let is_node = self.with_standing(mac, |_, standing| standing != Standing::Stranger);
        if !is_node || !on_our_network || (known && self.dhcp.leases.holder(address, self.now_ms).is_some()) {
            return;
        }
        let until_ms = self.now_ms.saturating_add(u64::from(self.dhcp.settings.lease_secs) * 1_000);
        if let Some(granted) = self.dhcp.leases.grant(Lease { mac, address, until_ms }, self.now_ms) {
            self.change(Change::Lease(granted));
        }
    }

    /// Another DHCP server is on the wire.
    pub(in crate::head) fn meet_rival(&mut self, server: Ipv4Addr, found: Found) {
        let Found { mac, adds_only } = found;
        let now_ms = self.now_ms;
        if let Some(known) = self.rivals.get_mut(&server) {
            known.seen_ms = now_ms;
            known.mac = mac.or(known.mac);
            known.adds_only &= adds_only;
        } else {
            if has_place(&mut self.rivals, RIVALS_LIMIT, now_ms, |rival| rival.seen_ms) {
                warn_of(server, mac, adds_only);
            }
            self.rivals.insert(server, RivalView { server, mac, adds_only, seen_ms: now_ms });
            self.unheard.topic(Topic::Rivals);
        }
    }

    /// The other DHCP servers that were noticed lately.
    pub(in crate::head) fn rivals(&self) -> Vec<RivalView> {
        let lately = |rival: &&RivalView| self.now_ms.saturating_sub(rival.seen_ms) < RIVAL_MS;
        self.rivals.values().filter(lately).cloned().collect()
    }

    /// How a client of TFTP is sent something again, by what it was when it asked for its address.
    pub(in crate::head) fn pace(&self, client: Ipv4Addr) -> Pace {
        let lease = self.dhcp.leases.holder(client, self.now_ms);
        let node = lease.and_then(|lease| self.nodes.get(&lease.mac));
        node.map_or(Pace::default(), |node| Pace::of(node.profile))
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Lease(Granted { lease, displaced }) => {
                self.writes.extend(displaced.map(Write::NoLease));
                self.writes.push(Write::Lease(lease));
            }
            Change::NoLease(mac) => self.writes.push(Write::NoLease(mac)),
        }
    }

    /// A machine never seen begins its first boot. A known one begins its boot when it fetches its plan from its own
    /// address: a DISCOVER can be forged by any host on the wire, and would end the token of a node that runs.
    fn discovered(&mut self, mac: Mac, profile: Profile) {
        if self.nodes.get(&mac).is_none_or(|node| node.kept.boot == 0) {
            self.begin_boot(mac);
        }
        if let Some(node) = self.nodes.get_mut(&mac) {
            node.profile = profile;
        }
    }

    fn with_standing<T>(
        &mut self,
        mac: Mac,
        ask: impl FnOnce(&mut netboot::dhcp::Server, Standing) -> T,
    ) -> T {
        if let Some(node) = self.nodes.get(&mac) {
            return ask(&mut self.dhcp, Standing::Node { fixed: node.fixed, name: node.kept.name.as_str() });
        }
        if self.settings.network.enrolment.welcomes(mac) && self.nodes.len() < NODES_LIMIT {
            // It gets its name when it enrols, with its first OFFER.
            return ask(&mut self.dhcp, Standing::Node { fixed: None, name: "" });
        }
        self.note_waiting(mac);
        ask(&mut self.dhcp, Standing::Stranger)
    }

    /// A machine that may become a node once somebody approves it.
    fn note_waiting(&mut self, mac: Mac) {
        if self.settings.network.enrolment != Enrolment::Ask || !mac.is_raspberry_pi() {
            return;
        }
        let now_ms = self.now_ms;
        if let Some(known) = self.waiting.get_mut(&mac) {
            known.seen_ms = now_ms;
        } else {
            if has_place(&mut self.waiting, WAITING_LIMIT, now_ms, |machine| machine.seen_ms) {
                tracing::info!("{mac} waits to become a node: `fledermaus node approve {mac}`");
            }
            self.waiting.insert(mac, WaitingView { mac, first_ms: now_ms, seen_ms: now_ms });
            self.unheard.topic(Topic::Nodes);
        }
    }

    /// Whether an address can be a node's own; or a sentence.
    pub(in crate::head) fn check_address(&self, address: Ipv4Addr) -> Result<(), String> {
        let settings = &self.dhcp.settings;
        let Some(subnet) = settings.subnet_of(address) else {
            return Err(format!("{address} is in none of the cluster's networks"));
        };
        if address == settings.server || Some(address) == subnet.router {
            return Err(format!("{address} is the head's or the router's"));
        }
        if !settings.is_usable(subnet, address) {
            return Err(format!("{address} is the network's own, its broadcasts' or the resolver's"));
        }
        if subnet.pool.contains(&address) {
            let (first, last) = (subnet.pool.start(), subnet.pool.end());
            return Err(format!("{address} is in the pool {first}-{last}: take one outside"));
        }
        Ok(())
    }

    /// A node is no more.
    pub(in crate::head) fn forget_index(&mut self, mac: Mac) {
        self.index.forget(mac);
    }

    pub(in crate::head) fn is_beside_another(&self) -> bool {
        self.dhcp.settings.mode == netboot::dhcp::Mode::Proxy
    }

    /// Machines of different makers can have the same last three bytes.
    pub(in crate::head) fn free_name(&self, mac: Mac) -> NodeName {
        let short = NodeName::from_mac(mac);
        if self.index.named(&short).is_none_or(|other| other == mac) {
            return short;
        }
        format!("pi-{}", mac.to_string().replace(':', "")).parse().unwrap_or(short)
    }
}

/// Tells of a server that was not there before.
fn warn_of(server: Ipv4Addr, mac: Option<Mac>, adds_only: bool) {
    let hardware = mac.map_or(String::new(), |mac| format!(" ({mac})"));
    if adds_only {
        tracing::warn!(
            "another server adds boot information to what DHCP says on the wire, {server}{hardware}: stop it, or \
             boards may boot from there"
        );
    } else {
        tracing::warn!(
            "another DHCP server is on the wire, {server}{hardware}: stop it, or give the cluster a network of \
             its own, or set `dhcp = \"proxy\"`"
        );
    }
}

/// Makes place for one more. Requests can be forged: those that were must not hide for ever who is there, so that the one that
/// was noticed longest ago goes. Whether the log is to tell of the new one: not of each that somebody forges.
fn has_place<K: Copy + Ord, V>(
    known: &mut BTreeMap<K, V>,
    limit: usize,
    now_ms: u64,
    seen_ms: impl Fn(&V) -> u64,
) -> bool {
    if known.len() < limit {
        return true;
    }
    let oldest = known.iter().map(|(key, value)| (seen_ms(value), *key)).min();
    let Some((seen_ms, key)) = oldest else { return false };
    known.remove(&key);
    now_ms.saturating_sub(seen_ms) >= RIVAL_MS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::state::tests::{request, state};

    /// Sixty-four forged servers kept every later one off the list until the head's end.
    #[test]
    fn forged_servers_do_not_hide_one_that_is_there() {
        let (mut state, found) = (state(), Found { mac: None, adds_only: false });
        for last in 1..=64 {
            state.now_ms += 1;
            state.meet_rival(Ipv4Addr::new(10, 0, 0, last), found);
        }
        state.now_ms += 1;
        let real = Ipv4Addr::new(127, 0, 0, 77);
        state.meet_rival(real, found);
        let servers: Vec<_> = state.rivals().iter().map(|rival| rival.server).collect();
        assert_eq!((servers.len(), servers.contains(&real)), (RIVALS_LIMIT, true));
        assert!(!servers.contains(&Ipv4Addr::new(10, 0, 0, 1)), "the oldest made place");
        state.now_ms += RIVAL_MS;
        assert!(state.rivals().is_empty());
    }

    #[test]
    fn forged_boards_do_not_keep_one_that_is_there_from_waiting() {
        let mut state = state();
        state.settings.network.enrolment = Enrolment::Ask;
        for last in 0..=255 {
            state.now_ms += 1;
            state.dhcp(&request(Kind::Discover, Mac([0xb8, 0x27, 0xeb, 7, 7, last])));
        }
        state.now_ms += 1;
        let real = Mac([0xb8, 0x27, 0xeb, 9, 9, 9]);
        state.dhcp(&request(Kind::Discover, real));
        assert_eq!((state.waiting.len(), state.waiting.contains_key(&real)), (WAITING_LIMIT, true));
    }

    #[test]
    fn the_log_tells_of_a_new_one_but_not_of_each_that_is_forged() {
        let mut known: BTreeMap<u8, u64> = (0..3).map(|key| (key, 1)).collect();
        assert!(has_place(&mut known, 4, 2, |seen| *seen));
        assert!(!has_place(&mut known, 3, 2, |seen| *seen), "a storm");
        known.insert(9, 2);
        assert!(has_place(&mut known, 3, 1 + RIVAL_MS, |seen| *seen));
        assert_eq!(known.keys().copied().collect::<Vec<_>>(), [2, 9]);
    }
}
