//! Where the orders of one decision are collected, and what it asks of the nodes again and again.

use super::{Decisions, NodeState, View};
use crate::NodeName;
use crate::report::Action;
use crate::swarm::LocalState;

/// A node counts as there while it was heard within this time, in milliseconds.
pub(super) const LIVE_MS: u64 = 15_000;

/// Where the orders of one decision are collected.
pub(super) struct Desk<'a> {
    pub(super) view: &'a View,
    pub(super) now_ms: u64,
    pub(super) decisions: Decisions,
}

impl<'a> Desk<'a> {
    pub(super) fn new(view: &'a View, now_ms: u64) -> Self {
        Self { view, now_ms, decisions: Decisions::default() }
    }

    /// Gives an order, unless the node has one already. Returns whether it was given.
    pub(super) fn order(&mut self, name: &NodeName, action: Action) -> bool {
        let free = self.node(name.as_str()).is_some_and(|node| !node.busy)
            && !self.decisions.orders.iter().any(|(other, _)| other == name);
        if free {
            self.decisions.orders.push((name.clone(), action));
        }
        free
    }

    pub(super) fn hold(&mut self, reason: String) {
        self.decisions.held.push(reason);
    }

    pub(super) fn node(&self, name: &str) -> Option<&'a NodeState> {
        self.view.nodes.iter().find(|node| node.name.as_str() == name)
    }

    pub(super) fn name(&self, name: &str) -> Option<NodeName> {
        self.node(name).map(|node| node.name.clone())
    }

    /// Whether a node is there and in no swarm.
    pub(super) fn is_empty(&self, node: &NodeState) -> bool {
        is_live(node, self.now_ms)
            && node.facts.as_ref().is_some_and(|facts| facts.state == LocalState::Inactive)
    }
}

/// Whether it was heard lately, and its Docker has said something.
pub(super) fn is_live(node: &NodeState, now_ms: u64) -> bool {
    node.facts.is_some() && now_ms < node.heard_ms + LIVE_MS
}
