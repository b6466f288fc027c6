//! Lists that are looked through: nodes by filter and page, their newest boots, leases.

use cluster::phase::Step;
use cluster::view::{LeaseView, NodePage};
use cluster::{Mac, NodeName};
use serde::Deserialize;

use super::State;
use super::asked::role_in;
use crate::head::node::Node;

/// The most nodes of one page, and of one list of boots.
const PAGE_LIMIT: usize = 1_000;

/// Which nodes are wished for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NodeWish {
    /// What stands somewhere in name, address or MAC; or a role, a label as `key=value`, or `group=name`.
    pub(crate) q: String,
    /// `ready`, `booting`, `failed` or `unseen`; empty: all.
    pub(crate) state: String,
    pub(crate) offset: usize,
    pub(crate) limit: Option<usize>,
}

impl State {
    /// The nodes that are wished for.
    pub(in crate::head) fn list(&self, wish: &NodeWish) -> NodePage {
        let word = wish.q.trim().to_ascii_lowercase();
        let mut found: Vec<&Node> = self.nodes.values().collect();
        if !wish.state.is_empty() {
            found.retain(|node| state_of(node) == wish.state);
        }
        if !word.is_empty() {
            found.retain(|node| self.speaks_of(node, &word));
        }
        found.sort_unstable_by(|one, other| one.kept.name.cmp(&other.kept.name));
        let limit = wish.limit.unwrap_or(PAGE_LIMIT).min(PAGE_LIMIT);
        let page = found.iter().skip(wish.offset).take(limit);
        let roles = self.roles();
        let view = |node: &&Node| node.view(self.address(node), role_in(&roles, node));
        NodePage { nodes: page.map(view).collect(), total: found.len() }
    }

    fn speaks_of(&self, node: &Node, word: &str) -> bool {
        let role = self.ready.get(&node.kept.mac).is_some_and(|role| *role == word);
        let group = word.strip_prefix("group=");
        role || node.has_label(word)
            || group.is_some_and(|group| node.group() == Some(group))
            || node.kept.name.as_str().contains(word)
            || node.kept.mac.to_string().contains(word)
            || self.address(node).is_some_and(|address| address.to_string().contains(word))
    }

    /// The nodes that booted last, with the numbers of their boots.
    pub(in crate::head) fn booted(&self, limit: usize) -> Vec<(Mac, NodeName, u64)> {
        let mut booted: Vec<&Node> = self.nodes.values().filter(|node| node.kept.boot > 0).collect();
        booted.sort_unstable_by_key(|node| std::cmp::Reverse(node.kept.boot_began_ms));
        let boot = |node: &&Node| (node.kept.mac, node.kept.name.clone(), node.kept.boot);
        booted.iter().take(limit.min(PAGE_LIMIT)).map(boot).collect()
    }

    /// The leases, by address.
    pub(in crate::head) fn leases(&self) -> Vec<LeaseView> {
        let view = |lease: &netboot::dhcp::Lease| LeaseView {
            address: lease.address,
            mac: lease.mac,
            node: self.nodes.get(&lease.mac).map(|node| node.kept.name.clone()),
            until_ms: lease.until_ms,
        };
        let mut leases: Vec<LeaseView> = self.dhcp.leases.iter().map(view).collect();
        leases.sort_unstable_by_key(|lease| lease.address);
        leases
    }
}

/// The states that nodes are counted in.
pub(in crate::head) const STATES: [&str; 4] = ["ready", "booting", "failed", "unseen"];

/// The one that a node is in.
pub(in crate::head) fn state_of(node: &Node) -> &'static str {
    match node.latest {
        _ if node.kept.ready_at_ms.is_some() => "ready",
        Some((_, Step::Failed, _)) => "failed",
        _ if node.kept.boot == 0 => "unseen",
        _ => "booting",
    }
}
