//! Who speaks for the swarm. A node says what it likes of itself: one that was broken into may call itself a manager, of a
//! swarm of its own making or of ours, to be told stacks with their secrets and to have all others join it. So only those
//! are believed whom we know as managers.

use super::desk::is_live;
use super::{NodeState, RoleWish, Swarm, View};
use crate::NodeName;
use crate::swarm::ManagerFacts;

/// How long all managers that we know may be silent before another is believed, in milliseconds. What we know may be old: a
/// head that was made of a backup knows the managers of that day.
pub(super) const UNSPOKEN_LIMIT_MS: u64 = 5 * 60_000;

impl Swarm {
    /// Whether to believe what a node says as a manager.
    pub fn may_speak(&self, name: &NodeName, wish: RoleWish) -> bool {
        let may_be_manager = wish != RoleWish::Worker;
        match (&self.known, &self.forming) {
            (Some(known), _) => known.managers.contains(name) || (self.is_open && may_be_manager),
            (None, Some(forming)) => forming.name == *name,
            (None, None) => may_be_manager,
        }
    }

    /// Notes whether the managers that we know speak.
    pub(super) fn listen(&mut self, view: &View, now_ms: u64) {
        let speaks = |known: &super::Known| {
            let ours = view.nodes.iter().filter(|node| known.managers.contains(&node.name));
            ours.filter(|node| is_live(node, now_ms))
                .any(|node| claim(node, Some(&known.cluster_id)).is_some())
        };
        if self.known.as_ref().is_none_or(speaks) {
            (self.unspoken_since, self.is_open) = (None, false);
            return;
        }
        let since = *self.unspoken_since.get_or_insert(now_ms);
        self.is_open = now_ms >= since + UNSPOKEN_LIMIT_MS;
    }

    /// The manager to speak through: of the swarm we know, the leader if it reports, none that is to reboot
    /// if another is there.
    pub(super) fn authority(&self, view: &View, now_ms: u64) -> Option<(NodeState, ManagerFacts)> {
        let ours = self.known.as_ref().map(|known| known.cluster_id.as_str());
        let managers = view.nodes.iter().enumerate().filter_map(|(place, node)| {
            let believed = is_live(node, now_ms) && self.may_speak(&node.name, node.wish);
            believed.then(|| claim(node, ours)).flatten().map(|facts| (place, node, facts))
        });
        let (_, node, facts) = managers.min_by_key(|(place, node, facts)| {
            let own = facts.members.iter().find(|member| member.hostname == node.name.as_str());
            let leads = own.is_some_and(|member| member.leader);
            let begun = own.is_some_and(|member| member.drained);
            // Where all are to reboot, one that was begun goes first, then the first: the last speaks.
            match node.reboot {
                super::Reboot::No => (false, node.busy, !leads, *place),
                _ => (true, node.busy, begun, usize::MAX - place),
            }
        })?;
        Some((node.clone(), facts.clone()))
    }
}

/// What a node says as a manager of that swarm, or of any.
fn claim<'a>(node: &'a NodeState, cluster_id: Option<&str>) -> Option<&'a ManagerFacts> {
    let facts = node.facts.as_ref()?.manager.as_ref()?;
    cluster_id.is_none_or(|id| id == facts.cluster_id).then_some(facts)
}
