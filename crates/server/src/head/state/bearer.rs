//! Who a node is by its token and address, and that a node that runs keeps its address.

use std::net::Ipv4Addr;

use cluster::{BootToken, Digest, Mac};
use sha2::{Digest as _, Sha256};

use super::State;
use crate::head::node::Node;
use crate::store::Write;

impl State {
    /// Whose boot a token is, if it comes from that node's address. The first use of a token that firmware was given
    /// ends the node's last life.
    pub(super) fn bearer(&mut self, token: &BootToken, client: Ipv4Addr) -> Option<Mac> {
        let hash = Some(hash(token));
        let mac = self.index.bearer(&hash?)?;
        let known = |node: &&mut Node| node.kept.token_hash == hash || node.kept.offered_hash == hash;
        let node = self.nodes.get_mut(&mac).filter(known)?;
        // A node that runs does not ask DHCP again: its address is its own until another machine gets it.
        if self.dhcp.leases.of(mac).is_none_or(|lease| lease.address != client) {
            return None;
        }
        node.reserve = node.reserve.take().filter(|reserve| !reserve.is_given);
        if node.kept.offered_hash == hash {
            node.settle();
            self.remember(mac);
        }
        Some(mac)
    }

    /// A report counts as a renewal once half of the lease is over.
    pub(super) fn renew(&mut self, mac: Mac) {
        let lease_ms = u64::from(self.dhcp.settings.lease_secs) * 1_000;
        if self.dhcp.leases.of(mac).is_some_and(|lease| lease.until_ms > self.now_ms + lease_ms / 2) {
            return;
        }
        if let Some(renewed) = self.dhcp.leases.renew(mac, self.now_ms + lease_ms) {
            self.writes.push(Write::Lease(renewed));
        }
    }
}

/// What is kept of a token: enough to know it again, not enough to use it.
pub(super) fn hash(token: &BootToken) -> Digest {
    Digest(Sha256::digest(token.expose().as_bytes()).into())
}
