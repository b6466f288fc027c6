//! What is asked of the manager that answers: bury the dead, take out what is to reboot, fit the managers.

use std::collections::BTreeMap;

use super::desk::LIVE_MS;
use super::{Desk, NodeState, Reboot, RoleWish, is_live};
use crate::NodeName;
use crate::report::Action;
use crate::swarm::{LocalState, ManagerFacts, Member, Service};

/// How long a reboot that was ordered holds up the next one, in milliseconds. A node that does not come
/// back must not block the others for ever.
const REBOOT_LIMIT_MS: u64 = 900_000;

/// How long a node may be silent, to the managers and to the head, before its entry counts as dead, in milliseconds. It takes
/// longer than a boot and a plug that was pulled by mistake; whoever comes back later joins anew.
pub(super) const SILENT_LIMIT_MS: u64 = 600_000;
/// How long a drained node still answers for services that run elsewhere, in milliseconds: a second more than resolvers
/// keep the cluster's names.
const DRAINED_MS: u64 = 6_000;
/// How long services may take to run elsewhere, and tasks to end, in milliseconds. One that does not come up anywhere must
/// not hold up a reboot for ever.
const SETTLE_LIMIT_MS: u64 = 120_000;

/// The swarm as its manager sees it, and that manager's ear.
pub(super) struct Council<'d, 'v, 'm> {
    pub(super) desk: &'d mut Desk<'v>,
    pub(super) authority: &'m NodeState,
    pub(super) facts: &'m ManagerFacts,
    pub(super) members: &'m [Member],
    pub(super) drained: &'m mut BTreeMap<String, u64>,
    pub(super) silent: &'m mut BTreeMap<String, u64>,
    /// When an order was last under way anywhere.
    pub(super) busy_ms: u64,
}

impl Council<'_, '_, '_> {
    /// Has the manager that answers change something. One change at a time: while another manager is at one, what this one says
    /// may be from before it. Seen in the lab: a slow demotion, ordered through three managers, undid the promotion after it.
    /// Whether it was told.
    fn tell(&mut self, action: Action) -> bool {
        let is_changing = |node: &NodeState| node.changing && is_live(node, self.desk.now_ms);
        !self.desk.view.nodes.iter().any(is_changing) && self.desk.order(&self.authority.name, action)
    }

    /// Removes the entries of lives that are over: the node is empty, is there under another id, was forgotten, or has been
    /// silent for too long. A dead manager's entry costs nothing when it goes: those who are left are as many as before.
    pub(super) fn bury(&mut self, forgotten: &[NodeName]) {
        self.note_silent();
        let dead = self.members.iter().find(|member| {
            let since_ms = self.silent.get(&member.id);
            if since_ms.is_some_and(|since_ms| self.desk.now_ms >= since_ms + SILENT_LIMIT_MS) {
                return true;
            }
            let Some(node) = self.desk.node(&member.hostname) else {
                return !member.ready && is_of(member, forgotten);
            };
            // A board that replaces a forgotten one, and has not come up yet.
            let Some(facts) = &node.facts else { return !member.ready && is_of(member, forgotten) };
            let over = match facts.state {
                LocalState::Inactive => !node.busy,
                LocalState::Active => {
                    !facts.node_id.is_empty() && facts.node_id != member.id && !member.ready
                }
                _ => false,
            };
            over && is_live(node, self.desk.now_ms)
        });
        let Some(dead) = dead else { return };
        let id = dead.id.clone();
        self.tell(if dead.manager { Action::Demote { id } } else { Action::Remove { id } });
    }

    /// Notes whose nodes neither the managers nor the head hear, and since when. Both: a partition alone takes nobody out.
    fn note_silent(&mut self) {
        let members = self.members;
        self.silent.retain(|id, _| members.iter().any(|member| member.id == *id));
        for member in members {
            let is_ours = self.desk.node(&member.hostname);
            let is_silent = is_ours.is_some_and(|node| !is_live(node, self.desk.now_ms));
            if member.ready || member.unheard || !is_silent {
                self.silent.remove(&member.id);
                continue;
            }
            self.silent.entry(member.id.clone()).or_insert(self.desk.now_ms);
            let minutes = SILENT_LIMIT_MS / 60_000;
            self.desk.hold(format!(
                "{} is down: its entry is removed once it has been silent for {minutes} minutes",
                member.hostname
            ));
        }
    }

    /// Has the join tokens rotated once no entry of a forgotten node is left. Whether it was told.
    pub(super) fn rotate_tokens(&mut self, forgotten: &[NodeName]) -> bool {
        // A node of that name that speaks is another board, which joins with the new ones.
        let speaks =
            |member: &Member| self.desk.node(&member.hostname).is_some_and(|node| node.facts.is_some());
        let is_left = |member: &&Member| is_of(member, forgotten) && !speaks(member);
        if forgotten.is_empty() || self.members.iter().any(|member| is_left(&member)) {
            return false;
        }
        self.tell(Action::RotateTokens)
    }

    /// Takes the next nodes that are to be rebooted a step further: as many as may be away at the same time.
    pub(super) fn reboot(&mut self) {
        let members = self.members;
        self.drained.retain(|id, _| members.iter().any(|member| member.id == *id));
        let away: Vec<&NodeState> = self.desk.view.nodes.iter().filter(|node| self.is_away(node)).collect();
        let free = self.desk.view.at_once.max(1).saturating_sub(away.len());
        let mut wanted: Vec<&NodeState> =
            self.desk.view.nodes.iter().filter(|node| node.reboot == Reboot::Wanted).collect();
        // One that was begun (drained, or taken out already) is brought to its end first; managers go last,
        // so that a worker that is to be rebooted too can take over.
        wanted.sort_by_key(|node| self.entry(node).map(|entry| (!entry.drained, entry.manager)));
        for (place, node) in wanted.into_iter().enumerate() {
            match away.first() {
                _ if place < free => self.take_out(node),
                Some(away) => {
                    self.desk.hold(format!("{} waits: {} is not back yet", node.name, away.name));
                }
                None => self.desk.hold(format!("{} waits for its turn to reboot", node.name)),
            }
        }
    }

    /// Whether a node was told to reboot and is not back, but not for so long that it counts as lost.
    fn is_away(&self, node: &NodeState) -> bool {
        matches!(node.reboot, Reboot::Ordered { since_ms } if self.desk.now_ms < since_ms + REBOOT_LIMIT_MS)
    }

    fn entry(&self, node: &NodeState) -> Option<Member> {
        self.members.iter().find(|member| member.hostname == node.name.as_str()).cloned()
    }

    /// One step of: substitute, drain, demote, remove, reboot.
    fn take_out(&mut self, node: &NodeState) {
        let Some(entry) = self.entry(node) else {
            self.desk.order(&node.name, Action::Reboot);
            return;
        };
        if entry.manager {
            self.step_down(node, &entry);
        } else if self.is_empty(node, &entry) {
            self.tell(Action::Remove { id: entry.id });
        }
    }

    /// Whether nothing runs on a node any more that anybody needs; until then it is drained, or waited for.
    fn is_empty(&mut self, node: &NodeState, entry: &Member) -> bool {
        // That the managers miss it does not mean that it is gone: a busy board is missed now and then, and what runs there
        // goes on answering.
        let is_there = is_live(node, self.desk.now_ms)
            && node.facts.as_ref().is_some_and(|facts| facts.node_id == entry.id);
        if !entry.ready && !is_there {
            return true;
        }
        if !entry.drained {
            self.tell(Action::Drain { id: entry.id.clone() });
            return false;
        }
        let needed = self.is_still_needed(node, entry);
        let is_empty = needed.is_none();
        needed.into_iter().for_each(|reason| self.desk.hold(reason));
        is_empty
    }

    /// Why a drained node must not go yet.
    fn is_still_needed(&mut self, node: &NodeState, entry: &Member) -> Option<String> {
        let now_ms = self.desk.now_ms;
        let since_ms = *self.drained.entry(entry.id.clone()).or_insert(now_ms);
        if let Some(Service { name: service, .. }) =
            self.facts.services.iter().find(|service| service.starting)
            && now_ms < since_ms + SETTLE_LIMIT_MS
        {
            return Some(format!("{} waits: {service} does not run elsewhere yet", node.name));
        }
        if entry.ending && now_ms < since_ms + SETTLE_LIMIT_MS {
            return Some(format!("{} waits until its tasks have ended", node.name));
        }
        let serves = self.facts.services.iter().any(|service| service.desired > 0);
        (serves && now_ms < since_ms + DRAINED_MS)
            .then(|| format!("{} waits until its clients know that it goes", node.name))
    }

    /// A manager may go when those that stay are a majority of themselves and as many as wanted, or as many
    /// as there can be.
    fn step_down(&mut self, node: &NodeState, entry: &Member) {
        let others: Vec<&Member> =
            self.members.iter().filter(|member| member.manager && member.id != entry.id).collect();
        let reachable = others.iter().filter(|member| member.reachable).count();
        if others.len() < self.desk.view.managers
            && let Some(id) = self.candidate()
        {
            self.tell(Action::Promote { id });
            return;
        }
        if others.is_empty() {
            return self.leave_alone(node);
        }
        let is_going = |other: &NodeState| other.name != node.name && self.is_going(other);
        let others_go = self.desk.view.nodes.iter().any(is_going);
        // Where several go at the same time, those that stay are a majority of as many as there should be.
        if reachable <= others.len() / 2 || (others_go && others.len() <= self.desk.view.managers / 2) {
            return self
                .desk
                .hold(format!("{} waits: without it the managers would lose their quorum", node.name));
        }
        // Emptied first: a manager that was demoted does not hear for up to 15 s what its tasks are told.
        if !self.is_empty(node, entry) {
            return;
        }
        if self.authority.name == node.name {
            return self.desk.hold(format!("{} waits for another manager to take over", node.name));
        }
        self.tell(Action::Demote { id: entry.id.clone() });
    }

    /// Whether a node is away for a reboot, or was begun to be taken out for one.
    fn is_going(&self, node: &NodeState) -> bool {
        let is_begun = || self.entry(node).is_none_or(|entry| entry.drained);
        self.is_away(node) || (node.reboot == Reboot::Wanted && is_begun())
    }

    /// The only manager, and nobody can take its place.
    fn leave_alone(&mut self, node: &NodeState) {
        // Somebody may have joined since it said who is there: that takes no order of its own.
        let may_have_joined = |other: &NodeState| {
            let is_empty = other.facts.as_ref().is_some_and(|facts| facts.state == LocalState::Inactive);
            other.name != node.name && is_live(other, self.desk.now_ms) && !is_empty
        };
        let is_news_on_its_way = self.desk.now_ms < self.busy_ms + LIVE_MS;
        let is_alone = self.members.iter().all(|member| member.hostname == node.name.as_str());
        if is_alone && !is_news_on_its_way && !self.desk.view.nodes.iter().any(may_have_joined) {
            self.desk.order(&node.name, Action::Reboot);
            return;
        }
        self.desk.hold(format!(
            "{} waits: it is the only manager, and no other node is Ready that may be one",
            node.name
        ));
    }

    /// A worker that can become a manager now.
    fn candidate(&self) -> Option<String> {
        let fit = self.members.iter().filter_map(|member| {
            let node = self.desk.node(&member.hostname)?;
            let id_matches = node.facts.as_ref().is_some_and(|facts| facts.node_id == member.id);
            let fit = !member.manager
                && member.ready
                && !member.drained
                && id_matches
                && node.reboot == Reboot::No
                && node.wish != RoleWish::Worker
                && is_live(node, self.desk.now_ms);
            fit.then_some((node.wish != RoleWish::Manager, node.name.clone(), member.id.clone()))
        });
        fit.min().map(|(_, _, id)| id)
    }

    /// As many managers as wanted, an odd number, one change at a time and only while all are reachable. One that is to be a
    /// worker goes once another has taken its place.
    pub(super) fn fit_managers(&mut self) {
        let managers: Vec<&Member> = self.members.iter().filter(|member| member.manager).collect();
        let steady = managers.iter().all(|member| member.reachable);
        // One that was told and never came back keeps nobody from taking its place.
        let is_rebooting = |node: &NodeState| node.reboot == Reboot::Wanted || self.is_away(node);
        let rebooting = self.desk.view.nodes.iter().any(is_rebooting);
        if !steady || rebooting {
            return;
        }
        let fitting = |is_counted: &dyn Fn(&Member) -> bool| {
            let count =
                self.members.iter().filter(|member| is_counted(member) && self.may_manage(member)).count();
            self.desk.view.managers.min(count - usize::from(count > 0 && count.is_multiple_of(2))).max(1)
        };
        // One that is not Ready for a moment is no reason to have fewer managers: that takes an entry less.
        let (at_least, at_most) = (fitting(&|member| member.ready), fitting(&|_| true));
        let misplaced = managers.iter().find(|member| self.is_to_work(member));
        let fit = managers.iter().filter(|member| !self.is_to_work(member)).count();
        if fit < at_least
            && let Some(id) = self.candidate()
        {
            self.tell(Action::Promote { id });
        } else if managers.len() > at_most
            && let Some(surplus) = misplaced.or_else(|| {
                managers.iter().filter(|member| !member.leader).max_by_key(|member| &member.hostname)
            })
        {
            let id = surplus.id.clone();
            self.tell(Action::Demote { id });
        }
    }

    /// Docker's labels of a node are the operator's: a node that was made new has them again.
    pub(super) fn fit_labels(&mut self) {
        let stale = self.members.iter().find_map(|member| {
            let node = self.desk.node(&member.hostname)?;
            let is_own = node.facts.as_ref().is_some_and(|facts| facts.node_id == member.id);
            // A manager of an older image does not say which there are.
            let labels = member.labels.as_ref()?;
            (is_own && *labels != node.labels).then(|| (member.id.clone(), node.labels.clone()))
        });
        if let Some((id, labels)) = stale {
            self.tell(Action::Label { id, labels });
        }
    }

    fn is_to_work(&self, member: &Member) -> bool {
        self.desk.node(&member.hostname).is_some_and(|node| node.wish == RoleWish::Worker)
    }

    fn may_manage(&self, member: &Member) -> bool {
        self.desk.node(&member.hostname).is_some_and(|node| node.wish != RoleWish::Worker)
    }
}

/// Whether an entry is of one of these nodes.
fn is_of(member: &Member, names: &[NodeName]) -> bool {
    names.iter().any(|name| name.as_str() == member.hostname)
}
