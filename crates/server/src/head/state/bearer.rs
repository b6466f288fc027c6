//! Who a node is by its token and address, that a node that runs gets another token, and keeps its address.

use std::net::Ipv4Addr;

use cluster::{BootToken, Digest, Mac};
use sha2::{Digest as _, Sha256};

use super::State;
use super::boot::new_token;
use crate::store::Write;

impl State {
    /// Whose boot a token is, if it comes from that node's address. The first use of a token that firmware was given
    /// ends the node's last life, and that of one that its agent was given the one in the kernel command line.
    pub(super) fn bearer(&mut self, token: &BootToken, client: Ipv4Addr) -> Option<Mac> {
        let mac = self.holder(token, client)?;
        let hash = Some(hash(token));
        let node = self.nodes.get_mut(&mac)?;
        node.reserve = node.reserve.take().filter(|reserve| !reserve.is_given);
        if node.kept.offered_hash == hash {
            node.settle();
            self.remember(mac);
        } else if node.kept.successor_hash == hash {
            node.succeed();
            self.remember(mac);
        }
        Some(mac)
    }

    /// The same, and nothing follows from it.
    pub(in crate::head) fn holder(&self, token: &BootToken, client: Ipv4Addr) -> Option<Mac> {
        let hash = hash(token);
        let mac = self.index.bearer(&hash)?;
        let kept = &self.nodes.get(&mac)?.kept;
        let is_known = [kept.token_hash, kept.offered_hash, kept.successor_hash].contains(&Some(hash));
        // A node that runs does not ask DHCP again: its address is its own until another machine gets it.
        let is_there = self.dhcp.leases.of(mac).is_some_and(|lease| lease.address == client);
        (is_known && is_there).then_some(mac)
    }

    /// The token that a node's agent is to use in place of the boot's, if it does not yet. It is on the disk before it is told.
    pub(super) fn successor(&mut self, mac: Mac) -> Option<BootToken> {
        let node = self.nodes.get_mut(&mac).filter(|node| !node.kept.is_succeeded)?;
        if node.successor.is_none() {
            let token = new_token()?;
            node.kept.successor_hash = Some(hash(&token));
            node.successor = Some(token);
            self.remember(mac);
        }
        self.nodes.get(&mac)?.successor.clone()
    }

    /// A report counts as a renewal once half of the lease is over, and always as a proof that the node runs there.
    pub(super) fn renew(&mut self, mac: Mac) {
        self.dhcp.leases.hear(mac, self.now_ms);
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

#[cfg(test)]
mod tests;
