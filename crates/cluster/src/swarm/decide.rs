//! The decision itself: one look at everything that is known, one list of orders.
//!
//! Each node carries out one order at a time; whoever calls says which are busy. A lost order or a lost
//! answer therefore costs time, never correctness: the next look starts from what Docker says.

mod authority;
mod council;
mod desk;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use self::council::Council;
use self::desk::{Desk, is_live};
use super::{LocalState, ManagerFacts, Member, SwarmFacts};
use crate::NodeName;
use crate::report::Action;

/// How long an order to form a swarm may show no effect before another node is asked, in milliseconds.
const FORMING_LIMIT_MS: u64 = 120_000;
/// The same once the node is seen empty and without an order: it lost its power, or Docker refused. A report that crosses with
/// the news of its success is followed by another within a second or two.
const NOTHING_CAME_MS: u64 = 10_000;
/// How long a node may be in a swarm whose managers do not list it before it is told to leave, in
/// milliseconds. A new worker is listed before its own Docker says that it is active; this is for reports
/// that cross.
const FOREIGN_GRACE_MS: u64 = 10_000;
/// The same for one that Docker calls pending. A node that kept its data is until its Docker has found a manager again, and
/// may not know its own id yet.
const PENDING_GRACE_MS: u64 = 60_000;
/// How long managers that are all there, one of them empty, may be without a leader before the swarm counts
/// as lost, in milliseconds. Raft elects within seconds if it can.
const LEADERLESS_LIMIT_MS: u64 = 60_000;
/// The port on which managers listen for joins (Docker's default).
const SWARM_PORT: u16 = 2377;

/// What the operator wants a node to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoleWish {
    /// Preferred as a manager.
    Manager,
    /// Never a manager.
    Worker,
    /// A manager if one is needed.
    #[default]
    Any,
}

/// How far a wanted reboot is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reboot {
    /// None is wanted.
    #[default]
    No,
    /// The operator wants one; the node is taken out of the swarm first.
    Wanted,
    /// The node was told; it is on its way until it is Ready again.
    Ordered {
        /// When it was told, milliseconds since 1970.
        since_ms: u64,
    },
}

/// What the head knows of one node.
#[derive(Clone, Debug)]
pub struct NodeState {
    /// Its name, with which it joins.
    pub name: NodeName,
    /// Its address.
    pub address: Ipv4Addr,
    /// What it should be.
    pub wish: RoleWish,
    /// What its Docker said in this boot; `None` until it did.
    pub facts: Option<SwarmFacts>,
    /// When it was last heard, milliseconds since 1970.
    pub heard_ms: u64,
    /// Whether an order is under way there.
    pub busy: bool,
    /// Whether one of these orders changes the swarm ([`Action::changes_swarm`]).
    pub changing: bool,
    /// Whether it is to be rebooted.
    pub reboot: Reboot,
    /// The labels that Docker is to have for it.
    pub labels: BTreeMap<String, String>,
}

/// Everything a decision looks at.
#[derive(Clone, Debug)]
pub struct View {
    /// How many managers the operator wants; odd.
    pub managers: usize,
    /// How many nodes may be rebooting at the same time; at least one may.
    pub at_once: usize,
    /// The enrolled nodes, in the order of their names.
    pub nodes: Vec<NodeState>,
}

/// What the head remembers of the swarm, on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The swarm's id.
    pub cluster_id: String,
    /// Names of its managers when it was last seen whole, and of those that may be managers besides.
    pub managers: Vec<NodeName>,
    /// Those of the managers who may not be any yet, or no longer: an order was under way that changes it.
    #[serde(default)]
    pub unsure: Vec<NodeName>,
    /// Nodes that the operator forgot: their entries are still to be removed, or the tokens that they knew to be rotated.
    #[serde(default)]
    pub forgotten: Vec<NodeName>,
}

/// What is to be done now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    /// At most one order for each node that is not busy.
    pub orders: Vec<(NodeName, Action)>,
    /// What waits and why, a sentence each.
    pub held: Vec<String>,
}

/// A node was told to form the swarm.
#[derive(Clone, Debug)]
struct Forming {
    name: NodeName,
    since_ms: u64,
    /// Since when it is empty, and nothing is under way there.
    empty_since_ms: Option<u64>,
}

/// The head's memory between decisions.
#[derive(Clone, Debug, Default)]
pub struct Swarm {
    known: Option<Known>,
    forming: Option<Forming>,
    foreign_since: BTreeMap<NodeName, u64>,
    leaderless_since: Option<u64>,
    /// Since when the swarm is lost and no node is empty.
    lost_since: Option<u64>,
    /// The ids of the entries that were drained for a reboot, and since when each is seen drained.
    drained: BTreeMap<String, u64>,
    /// The ids of the entries whose nodes nobody hears, and since when.
    silent: BTreeMap<String, u64>,
    /// When an order was last under way anywhere, or given.
    busy_ms: u64,
    /// The forgotten nodes whose tokens are being rotated away.
    rotating: Vec<NodeName>,
    /// Since when none of the managers that we know has spoken.
    unspoken_since: Option<u64>,
    /// Whether another may speak, for none of them has for long.
    is_open: bool,
}

impl Forming {
    /// Whether something may come of it yet.
    fn goes_on(&mut self, desk: &Desk) -> bool {
        let is_idle = desk.node(self.name.as_str()).is_some_and(|node| desk.is_empty(node) && !node.busy);
        self.empty_since_ms = is_idle.then(|| self.empty_since_ms.unwrap_or(desk.now_ms));
        let came_to_nothing =
            self.empty_since_ms.is_some_and(|since_ms| desk.now_ms >= since_ms + NOTHING_CAME_MS);
        !came_to_nothing && desk.now_ms < self.since_ms + FORMING_LIMIT_MS
    }
}

impl Swarm {
    /// A head that remembers `known` from its store.
    pub fn new(known: Option<Known>) -> Self {
        Self { known, ..Self::default() }
    }

    /// What has to be remembered; to be stored whenever it changes.
    pub fn known(&self) -> Option<&Known> {
        self.known.as_ref()
    }

    /// The operator forgot a node: it never comes back. Its entry goes, and then the join tokens that it knew.
    pub fn forget(&mut self, name: NodeName) {
        if let Some(known) = &mut self.known {
            known.forgotten.push(name);
        }
    }

    /// A node has another name from now on.
    pub fn renamed(&mut self, old: &NodeName, new: &NodeName) {
        let Some(known) = &mut self.known else { return };
        let names = known.managers.iter_mut().chain(&mut known.unsure);
        names.filter(|name| *name == old).for_each(|name| name.clone_from(new));
    }

    /// The order to rotate the tokens was carried out.
    pub fn rotated(&mut self) {
        let rotated = std::mem::take(&mut self.rotating);
        if let Some(known) = &mut self.known {
            known.forgotten.retain(|name| !rotated.contains(name));
        }
    }

    /// Looks at everything and says what to do. `now_ms` is milliseconds since 1970.
    pub fn decide(&mut self, view: &View, now_ms: u64) -> Decisions {
        let mut desk = Desk::new(view, now_ms);
        if view.nodes.iter().any(|node| node.busy) {
            self.busy_ms = now_ms;
        }
        self.listen(view, now_ms);
        match self.authority(view, now_ms) {
            Some((node, facts)) => self.tend(&mut desk, &node, &facts),
            None => self.form(&mut desk),
        }
        if !desk.decisions.orders.is_empty() {
            self.busy_ms = now_ms;
        }
        desk.decisions
    }

    /// No manager answers: forms the swarm, or waits for one that can still come back.
    fn form(&mut self, desk: &mut Desk) {
        for node in &desk.view.nodes {
            if node.reboot == Reboot::Wanted && desk.is_empty(node) {
                desk.order(&node.name, Action::Reboot);
            } else if node.reboot == Reboot::Wanted {
                desk.hold(format!(
                    "{} waits: no manager answers that could take it out of the swarm",
                    node.name
                ));
            }
        }
        if let Some(forming) = &mut self.forming
            && forming.goes_on(desk)
        {
            return desk.hold(format!("the swarm is being formed on {}", forming.name));
        }
        if !self.is_lost(desk) {
            return desk.hold("no manager answers; waits for the managers to come back".to_owned());
        }
        let candidates = desk.view.nodes.iter().filter(|node| {
            desk.is_empty(node)
                && !node.busy
                && node.wish != RoleWish::Worker
                && node.reboot != Reboot::Wanted
        });
        let Some(first) = candidates.min_by_key(|node| node.wish != RoleWish::Manager) else {
            return self.leave_lost(desk);
        };
        self.lost_since = None;
        self.known = None;
        let name = first.name.clone();
        self.forming = Some(Forming { name, since_ms: desk.now_ms, empty_since_ms: None });
        desk.order(&first.name, Action::Init);
    }

    /// Nobody is empty who could form the next swarm: one of those who are still in the lost one leaves it. The others are
    /// foreigners once there is a swarm.
    fn leave_lost(&mut self, desk: &mut Desk) {
        let remains = |node: &&NodeState| {
            let in_swarm = node.facts.as_ref().is_some_and(|facts| facts.state != LocalState::Inactive);
            let fit = !node.busy && node.wish != RoleWish::Worker;
            in_swarm && fit && is_live(node, desk.now_ms)
        };
        let remaining = desk.view.nodes.iter().filter(remains);
        let Some(first) = remaining.min_by_key(|node| node.wish != RoleWish::Manager) else { return };
        if desk.now_ms < *self.lost_since.get_or_insert(desk.now_ms) + LEADERLESS_LIMIT_MS {
            return desk.hold("the swarm is lost; waits for an empty node to form the next".to_owned());
        }
        desk.order(&first.name, Action::Leave);
    }

    /// Whether the swarm we know, if any, can never have a quorum again: so many of its managers came back
    /// empty that the rest is no majority, or all of them are there, one of them empty, and still none leads.
    fn is_lost(&mut self, desk: &Desk) -> bool {
        let Some(known) = &self.known else { return true };
        let is_gone = |name: &&NodeName| match desk.node(name.as_str()) {
            Some(node) => desk.is_empty(node),
            None => known.forgotten.contains(name),
        };
        let (gone, left): (Vec<&NodeName>, Vec<&NodeName>) = known.managers.iter().partition(is_gone);
        // One that is empty and may never have been a manager does not count: the others may be a quorum without it.
        let sure = gone.iter().filter(|name| !known.unsure.contains(name)).count();
        if left.len() <= sure {
            return true;
        }
        let is_there =
            |name: &&NodeName| desk.node(name.as_str()).is_some_and(|node| is_live(node, desk.now_ms));
        if gone.is_empty() || !left.iter().all(is_there) {
            self.leaderless_since = None;
            return false;
        }
        desk.now_ms >= *self.leaderless_since.get_or_insert(desk.now_ms) + LEADERLESS_LIMIT_MS
    }

    /// A manager answers: brings the swarm towards what is wanted.
    fn tend(&mut self, desk: &mut Desk, authority: &NodeState, facts: &ManagerFacts) {
        self.forming = None;
        (self.leaderless_since, self.lost_since) = (None, None);
        self.remember(desk, facts);
        let forgotten = self.known.as_ref().map(|known| known.forgotten.clone()).unwrap_or_default();
        let (members, drained, silent) = (&facts.members, &mut self.drained, &mut self.silent);
        let mut council = Council { desk, authority, facts, members, drained, silent, busy_ms: self.busy_ms };
        council.bury(&forgotten);
        if council.rotate_tokens(&forgotten) {
            self.rotating.clone_from(&forgotten);
        }
        council.reboot();
        council.fit_managers();
        council.fit_labels();
        self.remember_promotion(desk, &facts.members);
        let manager = format!("{}:{SWARM_PORT}", authority.address);
        for node in &desk.view.nodes {
            if desk.is_empty(node) && node.reboot != Reboot::Wanted && !has_entry(&facts.members, node) {
                desk.order(
                    &node.name,
                    Action::Join { token: facts.worker_token.clone(), manager: manager.clone() },
                );
            }
        }
        self.expel_foreign(desk, &facts.members);
    }

    /// Notes who the managers are. While an order is under way, or given now, one that is being promoted
    /// is noted as one already: if it is lost just then, so is the quorum of two. It is not sure of it, though: if
    /// it was lost before that, the manager that promoted it is a quorum alone, and may come back.
    fn remember(&mut self, desk: &Desk, facts: &ManagerFacts) {
        let is_manager = |member: &&Member| member.manager;
        let mut managers: Vec<NodeName> = facts
            .members
            .iter()
            .filter(is_manager)
            .filter_map(|member| desk.name(&member.hostname))
            .collect();
        let cluster_id = facts.cluster_id.clone();
        let before = self.known.take_if(|known| known.cluster_id == cluster_id);
        let forgotten = before.as_ref().map(|before| before.forgotten.clone()).unwrap_or_default();
        let mut unsure = Vec::new();
        if let Some(before) = before
            && desk.view.nodes.iter().any(|node| node.busy)
        {
            let is_in_both = |name: &&NodeName| managers.contains(name) && before.managers.contains(name);
            unsure =
                before.managers.iter().chain(&managers).filter(|name| !is_in_both(name)).cloned().collect();
            unsure.extend(before.unsure);
            managers.extend(before.managers);
        }
        for names in [&mut managers, &mut unsure] {
            names.sort();
            names.dedup();
        }
        self.known = Some(Known { cluster_id, managers, unsure, forgotten });
    }

    /// Notes a manager to be, before it is told.
    fn remember_promotion(&mut self, desk: &Desk, members: &[Member]) {
        let promoted = desk.decisions.orders.iter().find_map(|(_, action)| match action {
            Action::Promote { id } => members.iter().find(|member| member.id == *id),
            _ => None,
        });
        if let (Some(known), Some(member)) = (&mut self.known, promoted)
            && let Some(name) = desk.name(&member.hostname)
        {
            known.managers.push(name.clone());
            known.unsure.push(name);
        }
    }

    /// A node that says it is in a swarm whose managers do not list it is in one that is gone.
    fn expel_foreign(&mut self, desk: &mut Desk, members: &[Member]) {
        for node in &desk.view.nodes {
            let active = node.facts.as_ref().is_some_and(|facts| {
                facts.state != LocalState::Inactive
                    && !members.iter().any(|member| member.id == facts.node_id)
            });
            if !active || !is_live(node, desk.now_ms) {
                self.foreign_since.remove(&node.name);
                continue;
            }
            let since = *self.foreign_since.entry(node.name.clone()).or_insert(desk.now_ms);
            let pending = node.facts.as_ref().is_some_and(|facts| facts.state == LocalState::Pending);
            let grace_ms = if pending { PENDING_GRACE_MS } else { FOREIGN_GRACE_MS };
            if desk.now_ms >= since + grace_ms && desk.order(&node.name, Action::Leave) {
                self.foreign_since.remove(&node.name);
            }
        }
    }
}

fn has_entry(members: &[Member], node: &NodeState) -> bool {
    members.iter().any(|member| member.hostname == node.name.as_str())
}
