//! The swarm's part of the state: facts to `cluster::swarm`, its decisions to orders, stacks to a manager.

mod events;

use cluster::phase::Step;
use cluster::report::{Action, Outcome};
use cluster::swarm::{LocalState, ManagerFacts, Member, NodeState, Reboot, RolloutState, View};
use cluster::view::SwarmView;
use cluster::{Mac, NodeName, Phase};

use super::harmless::one_line;
use super::news::Topic;
use super::node::Node;
use super::state::State;
use crate::store::Write;

/// A manager's facts older than this are not the swarm's state any more, in milliseconds.
const FRESH_MS: u64 = 15_000;
/// How long a node rests after an order failed, in milliseconds: the reason rarely goes away at once.
const REST_MS: u64 = 2_000;
/// How long a Ready node may take to answer for the services, in milliseconds.
const SERVING_LIMIT_MS: u64 = 60_000;

impl State {
    /// Looks at the whole swarm and gives the orders that follow.
    pub(super) fn tend_swarm(&mut self) {
        let decisions = self.swarm.decide(&self.swarm_facts(), self.now_ms);
        for (name, action) in decisions.orders {
            self.order(&name, action);
        }
        for reason in &decisions.held {
            if !self.held.contains(reason) {
                tracing::info!("held: {reason}");
                self.tell_event(&format!("held: {reason}"));
            }
        }
        if self.held != decisions.held {
            self.unheard.topic(Topic::Swarm);
        }
        self.held = decisions.held;
        self.keep_swarm();
        self.note_ready();
        self.deploy_stacks();
        self.step_rollout();
    }

    /// Keeps what is known of the swarm, if that changed.
    fn keep_swarm(&mut self) {
        if self.kept_swarm.as_ref() != self.swarm.known()
            && let Some(known) = self.swarm.known()
            && let Ok(object) = serde_json::to_string(known)
        {
            self.kept_swarm = Some(known.clone());
            self.writes.push(Write::Swarm(object));
        }
    }

    /// A node never comes back: its entry is to go, and the join tokens that it knew.
    pub(super) fn bid_farewell(&mut self, name: NodeName) {
        if self.swarm.known().is_none() {
            return;
        }
        self.tell_event(&format!("{name} is forgotten: its entry and the join tokens that it knew go"));
        self.swarm.forget(name);
        self.tend_swarm();
    }

    fn swarm_facts(&self) -> View {
        let node = |node: &Node| {
            Some(NodeState {
                name: node.kept.name.clone(),
                address: self.address(node)?,
                wish: node.wish,
                facts: node.facts.clone(),
                heard_ms: node.heard_ms,
                busy: !node.orders.is_empty() || self.now_ms < node.rest_until_ms,
                changing: node.orders.iter().any(|order| order.action.changes_swarm()),
                reboot: node.kept.reboot,
                labels: node.labels.clone(),
            })
        };
        let mut nodes: Vec<NodeState> = self.nodes.values().filter_map(node).collect();
        nodes.sort_by(|one, other| one.name.cmp(&other.name));
        let running = self.rollout.as_ref().filter(|rollout| rollout.state == RolloutState::Running);
        let at_once = running.map_or(1, |rollout| rollout.max_unavailable);
        View { managers: self.settings.managers, at_once, nodes }
    }

    fn order(&mut self, name: &NodeName, action: Action) {
        let now_ms = self.now_ms;
        let event = self.sentence(name, &action);
        self.tell_event(&event);
        let Some(node) = self.nodes.values_mut().find(|node| node.kept.name == *name) else { return };
        tracing::info!(node = %name, "order: {action:?}");
        if action == Action::Reboot {
            node.kept.reboot = Reboot::Ordered { since_ms: now_ms };
        }
        node.order(action);
        let mac = node.kept.mac;
        self.remember(mac);
    }

    /// An order ended. A reboot's order stays until the node boots: it is going down.
    pub(super) fn outcome(&mut self, mac: Mac, outcome: Outcome) {
        let Some(node) = self.nodes.get_mut(&mac) else { return };
        let Some(place) = node.orders.iter().position(|order| order.number == outcome.order) else { return };
        if node.orders[place].action == Action::Reboot && outcome.error.is_none() {
            return;
        }
        let order = node.orders.remove(place);
        if order.action == Action::RotateTokens && outcome.error.is_none() {
            self.swarm.rotated();
        }
        if outcome.error.is_some() {
            node.rest_until_ms = self.now_ms + REST_MS;
            if order.action == Action::Reboot {
                node.kept.reboot = Reboot::Wanted;
                self.writes.push(Write::Node(Box::new(node.kept.clone())));
            }
        }
        match &outcome.error {
            None => tracing::info!(node = %node.kept.name, "order {:?} done", order.action),
            Some(error) => {
                tracing::warn!(node = %node.kept.name, "order {:?} failed: {}", order.action, one_line(error));
                let name = node.kept.name.clone();
                let event = format!("{}: it failed: {error}", self.sentence(&name, &order.action));
                self.tell_event(&event);
            }
        }
        self.stack_outcome(mac, outcome);
    }

    /// What a manager of the swarm we know said last.
    pub(super) fn council(&self) -> Option<(&Node, &ManagerFacts)> {
        let known = self.swarm.known()?;
        let managers =
            self.nodes.values().filter_map(|node| Some((node, node.facts.as_ref()?.manager.as_ref()?)));
        let ours = managers.filter(|(node, facts)| {
            facts.cluster_id == known.cluster_id && self.swarm.may_speak(&node.kept.name, node.wish)
        });
        ours.filter(|(node, _)| self.now_ms < node.heard_ms + FRESH_MS).max_by_key(|(node, _)| node.heard_ms)
    }

    /// The node's entry in the swarm: of this life, not of an earlier one.
    fn member(&self, node: &Node) -> Option<&Member> {
        let facts = node.facts.as_ref().filter(|facts| facts.state == LocalState::Active)?;
        self.council()?.1.members.iter().find(|member| member.id == facts.node_id)
    }

    /// Whether the managers see the node as Ready. A new leader has to hear of every node first; what was Ready until then
    /// is: else no name would lead anywhere for that second, and resolvers would remember it.
    pub(super) fn is_ready(&self, node: &Node) -> bool {
        let is_there =
            |member: &Member| member.ready || (member.unheard && self.ready.contains_key(&node.kept.mac));
        self.member(node).is_some_and(|member| is_there(member) && !member.drained)
    }

    /// The node's role in the swarm now.
    pub(super) fn role(&self, node: &Node) -> &'static str {
        match self.member(node) {
            Some(member) if member.manager => "manager",
            Some(_) => "worker",
            None => "",
        }
    }

    fn note_ready(&mut self) {
        // With no manager to ask, the last answer stands: names that stay are better than none.
        if self.council().is_some() {
            let ready = self.nodes.values().filter(|node| self.is_ready(node));
            let ready = ready.map(|node| (node.kept.mac, self.role(node))).collect();
            if self.ready != ready {
                let all = self.ready.keys().chain(ready.keys());
                all.for_each(|mac| self.unheard.node(*mac));
                self.unheard.topic(Topic::Swarm);
                self.ready = ready;
                self.zone_changes();
            }
            self.note_serving();
        }
        let new = |node: &&Node| node.kept.ready_at_ms.is_none() && node.kept.reboot != Reboot::Wanted;
        let ready: Vec<Mac> = self
            .nodes
            .values()
            .filter(new)
            .filter(|node| self.is_ready(node))
            .map(|node| node.kept.mac)
            .collect();
        for mac in ready {
            let Some(node) = self.nodes.get_mut(&mac) else { continue };
            node.kept.ready_at_ms = Some(self.now_ms);
            node.kept.reboot = Reboot::No;
            self.note(mac, self.now_ms, Phase::Ready, Step::Done, String::new());
            self.remember(mac);
            self.zone_changes();
        }
    }

    /// A node is in rotation once it answers for the services, or has had its time: one that never answers must not keep
    /// all nodes out.
    fn note_serving(&mut self) {
        let ports = self.council().map(|(_, facts)| facts.ports()).unwrap_or_default();
        let serves = |node: &Node| {
            let had_its_time =
                node.kept.ready_at_ms.is_some_and(|at_ms| self.now_ms >= at_ms + SERVING_LIMIT_MS);
            self.is_ready(node) && (node.is_serving || had_its_time || node.answering.is_superset(&ports))
        };
        let changed: Vec<Mac> = self
            .nodes
            .values()
            .filter(|node| serves(node) != node.is_serving)
            .map(|node| node.kept.mac)
            .collect();
        for mac in changed {
            if let Some(node) = self.nodes.get_mut(&mac) {
                node.is_serving = !node.is_serving;
            }
            self.zone_changes();
        }
    }

    pub(super) fn reboot(&mut self, name: &str) -> bool {
        let is_known = self.want_reboot(name);
        self.tend_swarm();
        is_known
    }

    /// Notes that a node is to be rebooted. Whether there is such a node.
    pub(super) fn want_reboot(&mut self, name: &str) -> bool {
        let Some(mac) = self.named(name).map(|node| node.kept.mac) else { return false };
        if let Some(node) = self.nodes.get_mut(&mac)
            // One that was told and went down may be told again: its new boot may hang.
            && !node.orders.iter().any(|order| order.action == Action::Reboot)
        {
            node.kept.reboot = Reboot::Wanted;
            // It is to be provisioned anew, whatever its policy: its data is of no life that goes on.
            node.kept.life = None;
        }
        self.remember(mac);
        true
    }

    pub(super) fn swarm_view(&self) -> SwarmView {
        let members = self.council().map(|(_, facts)| facts.members.clone()).unwrap_or_default();
        let cluster_id = self.swarm.known().map(|known| known.cluster_id.clone()).unwrap_or_default();
        let serving = self.nodes.values().filter(|node| node.is_serving);
        let mut in_rotation: Vec<NodeName> = serving.map(|node| node.kept.name.clone()).collect();
        in_rotation.sort();
        SwarmView { cluster_id, members, in_rotation, held: self.held.clone() }
    }
}

#[cfg(test)]
mod tests;
