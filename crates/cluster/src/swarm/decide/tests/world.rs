//! A model of Docker Swarm: machines that carry out orders or lose them, and what their managers would say.

use std::net::Ipv4Addr;

use super::super::*;
use crate::swarm::Service;

pub(super) const STEP_MS: u64 = 500;

/// One emulated node's Docker. Its swarm is a number; a wipe forgets it.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) name: NodeName,
    pub(super) up: bool,
    pub(super) swarm: Option<(u32, String)>,
    pub(super) order: Option<Action>,
    pub(super) reboot: Reboot,
    pub(super) wish: RoleWish,
    /// It never comes up again.
    pub(super) is_dead: bool,
    /// The other machines do not hear it; the head does.
    pub(super) is_parted: bool,
    /// When the head heard of it last, and what, while its reports are late.
    pub(super) stale: Option<(u64, SwarmFacts)>,
    /// It carried out an order meanwhile: that is in the same report.
    pub(super) owes: bool,
    pub(super) labels: BTreeMap<String, String>,
}

/// The swarms' own truth.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    pub(super) machines: Vec<Machine>,
    pub(super) entries: Vec<(u32, Member)>,
    pub(super) next_id: u32,
    pub(super) now_ms: u64,
    /// How often the join tokens were rotated.
    pub(super) rotations: usize,
    /// Whether a task of the service is starting.
    pub(super) starting: bool,
    /// Whether tasks on drained nodes have not ended.
    pub(super) ending: bool,
    /// How many nodes may be rebooting at the same time.
    pub(super) at_once: usize,
}

impl World {
    pub(super) fn new(count: usize) -> Self {
        let machine = |index: usize| Machine {
            name: format!("node{index}").parse().expect("a name"),
            up: true,
            swarm: None,
            order: None,
            reboot: Reboot::No,
            wish: RoleWish::Any,
            is_dead: false,
            is_parted: false,
            stale: None,
            owes: false,
            labels: BTreeMap::from([("number".to_owned(), index.to_string())]),
        };
        Self { machines: (1..=count).map(machine).collect(), now_ms: 1_000_000, ..Self::default() }
    }

    pub(super) fn id(&mut self) -> String {
        self.next_id += 1;
        format!("id{}", self.next_id)
    }

    pub(super) fn alive(&self, id: &str) -> bool {
        self.machines.iter().any(|machine| {
            machine.up && !machine.is_parted && machine.swarm.as_ref().is_some_and(|(_, own)| own == id)
        })
    }

    pub(super) fn members(&self, swarm: u32) -> Vec<Member> {
        let ours = self.entries.iter().filter(|(of, _)| *of == swarm);
        let mut members: Vec<Member> = ours.map(|(_, member)| member.clone()).collect();
        let mut led = false;
        for member in &mut members {
            member.ready = self.alive(&member.id);
            member.reachable = member.ready && member.manager;
            member.leader = member.reachable && !led;
            led |= member.leader;
            member.ending = member.drained && self.ending;
        }
        members
    }

    pub(super) fn has_quorum(&self, swarm: u32) -> bool {
        let managers: Vec<Member> = self.members(swarm).into_iter().filter(|member| member.manager).collect();
        managers.iter().filter(|member| member.reachable).count() > managers.len() / 2
    }

    pub(super) fn facts(&self, machine: &Machine) -> SwarmFacts {
        let Some((swarm, id)) = &machine.swarm else { return SwarmFacts::default() };
        let members = self.members(*swarm);
        let manages = !machine.is_parted
            && members.iter().any(|member| member.id == *id && member.manager)
            && self.has_quorum(*swarm);
        let manager = manages.then(|| ManagerFacts {
            cluster_id: format!("swarm{swarm}"),
            worker_token: format!("{swarm}"),
            manager_token: String::new(),
            members,
            services: vec![Service {
                name: "web".into(),
                running: 1,
                desired: 1,
                starting: self.starting,
                ports: vec![],
            }],
        });
        SwarmFacts { state: LocalState::Active, node_id: id.clone(), manager }
    }

    pub(super) fn view(&self, managers: usize) -> View {
        let node = |machine: &Machine| NodeState {
            name: machine.name.clone(),
            address: Ipv4Addr::LOCALHOST,
            wish: machine.wish,
            facts: machine.up.then(|| match &machine.stale {
                Some((_, facts)) => facts.clone(),
                None => self.facts(machine),
            }),
            heard_ms: machine.stale.as_ref().map_or(self.now_ms, |(since_ms, _)| *since_ms),
            busy: machine.order.is_some() || machine.owes,
            changing: machine.owes || machine.order.as_ref().is_some_and(Action::changes_swarm),
            reboot: machine.reboot,
            labels: machine.labels.clone(),
        };
        View { managers, at_once: self.at_once, nodes: self.machines.iter().map(node).collect() }
    }

    pub(super) fn entry(&mut self, swarm: u32, id: &str) -> Option<&mut Member> {
        self.entries.iter_mut().find(|(of, member)| *of == swarm && member.id == id).map(|(_, member)| member)
    }

    pub(super) fn enlist(&mut self, index: usize, swarm: u32, manager: bool) {
        let id = self.id();
        let member = Member {
            id: id.clone(),
            hostname: self.machines[index].name.to_string(),
            ready: true,
            manager,
            reachable: manager,
            labels: Some(BTreeMap::new()),
            ..Member::default()
        };
        self.entries.push((swarm, member));
        self.machines[index].swarm = Some((swarm, id));
    }

    /// Carries out what one machine was told; as Docker would, or not at all where Docker would refuse.
    pub(super) fn act(&mut self, index: usize) {
        let Some(action) = self.machines[index].order.take() else { return };
        if !self.machines[index].up {
            return;
        }
        self.machines[index].owes = self.machines[index].stale.is_some();
        let own = self.machines[index].swarm.clone();
        let is_parted = self.machines[index].is_parted;
        let through =
            own.as_ref().map(|(swarm, _)| *swarm).filter(|swarm| !is_parted && self.has_quorum(*swarm));
        match action {
            Action::Init if own.is_none() => {
                self.next_id += 1;
                self.enlist(index, self.next_id, true);
            }
            Action::Join { token, .. } if own.is_none() => {
                let swarm = token.parse().expect("the model's token");
                if self.has_quorum(swarm) && !is_parted {
                    self.enlist(index, swarm, false);
                }
            }
            Action::Leave => self.machines[index].swarm = None,
            Action::Reboot => self.wipe(index),
            Action::Promote { id } => self.change(through, &id, |member| member.manager = true),
            Action::Demote { id } => self.demote(through, &id),
            Action::Drain { id } => self.change(through, &id, |member| member.drained = true),
            Action::Label { id, labels } => {
                self.change(through, &id, |member| member.labels = Some(labels));
            }
            Action::Remove { id } => self.remove(through, &id),
            Action::RotateTokens => self.rotations += usize::from(through.is_some()),
            _ => {}
        }
    }

    pub(super) fn change(&mut self, swarm: Option<u32>, id: &str, change: impl FnOnce(&mut Member)) {
        if let Some(member) = swarm.and_then(|swarm| self.entry(swarm, id)) {
            change(member);
        }
    }

    /// Docker refuses to demote the last manager, and one whose going would cost the quorum
    /// (swarmkit's `CanRemoveMember`).
    pub(super) fn demote(&mut self, swarm: Option<u32>, id: &str) {
        let Some(swarm) = swarm else { return };
        if self.members(swarm).iter().filter(|member| member.manager).count() > 1 {
            self.change(Some(swarm), id, |member| member.manager = false);
            if !self.has_quorum(swarm) {
                self.change(Some(swarm), id, |member| member.manager = true);
            }
        }
    }

    /// Docker refuses to remove a manager; a removed node's Docker leaves.
    pub(super) fn remove(&mut self, swarm: Option<u32>, id: &str) {
        let Some(swarm) = swarm else { return };
        if self.entry(swarm, id).is_some_and(|member| member.manager) {
            return;
        }
        self.entries.retain(|(of, member)| !(*of == swarm && member.id == id));
        // One that cannot be reached does not know.
        for machine in self.machines.iter_mut().filter(|machine| machine.up && !machine.is_parted) {
            if machine.swarm.as_ref().is_some_and(|(_, own)| own == id) {
                machine.swarm = None;
            }
        }
    }

    /// Power lost; what was wanted of the old life is done with.
    pub(super) fn wipe(&mut self, index: usize) {
        let machine = &mut self.machines[index];
        machine.up = false;
        machine.swarm = None;
        machine.order = None;
        (machine.stale, machine.owes) = (None, false);
        if machine.reboot == Reboot::Wanted {
            machine.reboot = Reboot::No;
        }
    }

    /// Power lost by a node with the policy `on-change`: it comes back as what it was.
    pub(super) fn cut(&mut self, index: usize) {
        self.machines[index].up = false;
        self.machines[index].order = None;
        (self.machines[index].stale, self.machines[index].owes) = (None, false);
    }

    pub(super) fn quorums(&self) -> usize {
        let mut swarms: Vec<u32> = self.entries.iter().map(|(swarm, _)| *swarm).collect();
        swarms.sort_unstable();
        swarms.dedup();
        swarms.into_iter().filter(|swarm| self.has_quorum(*swarm)).count()
    }

    /// The head's part: decide, hand out, note ordered reboots. `lossy` loses the orders of one node.
    pub(super) fn turn(&mut self, swarm: &mut Swarm, managers: usize, lossy: Option<usize>) -> Decisions {
        self.now_ms += STEP_MS;
        let decisions = swarm.decide(&self.view(managers), self.now_ms);
        for (name, action) in decisions.orders.clone() {
            let index = self.machines.iter().position(|machine| machine.name == name).expect("a node");
            if Some(index) == lossy {
                continue;
            }
            if action == Action::Reboot {
                self.machines[index].reboot = Reboot::Ordered { since_ms: self.now_ms };
            }
            self.machines[index].order = Some(action);
        }
        decisions
    }

    pub(super) fn act_all(&mut self) {
        (0..self.machines.len()).for_each(|index| self.act(index));
    }

    /// A machine that was off comes up, unless it is dead; one whose ordered reboot ended in a Ready node is done. Reports that
    /// were late arrive, and all hear each other again.
    pub(super) fn come_up(&mut self) {
        for machine in self.machines.iter_mut().filter(|machine| !machine.is_dead) {
            (machine.up, machine.is_parted, machine.stale, machine.owes) = (true, false, None, false);
            let ready = machine.swarm.is_some();
            if ready && matches!(machine.reboot, Reboot::Ordered { .. }) {
                machine.reboot = Reboot::No;
            }
        }
    }

    /// From now on the head hears of a machine what is true now.
    pub(super) fn delay(&mut self, index: usize) {
        let machine = &self.machines[index];
        self.machines[index].stale = machine.up.then(|| (self.now_ms, self.facts(machine)));
    }

    /// A machine loses its power for ever, or until it is brought to life again.
    pub(super) fn die(&mut self, index: usize) {
        self.cut(index);
        self.machines[index].is_dead = true;
    }

    pub(super) fn settle(&mut self, swarm: &mut Swarm, managers: usize) {
        for _ in 0..200 {
            self.turn(swarm, managers, None);
            self.act_all();
            self.come_up();
        }
    }

    /// Every node that lives Ready in one swarm and labelled, no entry of an old life, as many managers as there can be.
    pub(super) fn assert_whole(&self, managers: usize) {
        let alive: Vec<&Machine> = self.machines.iter().filter(|machine| !machine.is_dead).collect();
        let (swarm, _) = alive[0].swarm.clone().unwrap_or_else(|| panic!("in no swarm: {self:#?}"));
        let members = self.members(swarm);
        assert_eq!(members.len(), alive.len(), "{members:?}");
        assert!(members.iter().all(|member| member.ready && !member.drained), "{members:?}");
        let entry = |machine: &Machine| {
            members.iter().find(|member| machine.swarm == Some((swarm, member.id.clone()))).cloned()
        };
        for machine in &alive {
            let member = entry(machine).unwrap_or_else(|| panic!("{machine:?} is no member: {members:?}"));
            assert_eq!(member.labels.as_ref(), Some(&machine.labels));
            assert!(!(member.manager && machine.wish == RoleWish::Worker), "{members:?}");
        }
        let count = members.iter().filter(|member| member.manager).count();
        let fit = alive.iter().filter(|machine| machine.wish != RoleWish::Worker).count();
        assert_eq!(count, managers.min(fit - usize::from(fit.is_multiple_of(2))), "{members:?}");
        assert!(alive.iter().all(|machine| machine.reboot == Reboot::No), "{self:#?}");
    }

    /// No order to reboot goes to a manager of a swarm that has others and its quorum: it was taken out before.
    pub(super) fn assert_spares_managers(&self, decisions: &Decisions) {
        let told = decisions.orders.iter().filter(|(_, action)| *action == Action::Reboot);
        for (name, _) in told {
            let Some(machine) = self.machines.iter().find(|machine| machine.name == *name) else { continue };
            let Some((swarm, id)) = &machine.swarm else { continue };
            let members = if self.has_quorum(*swarm) { self.members(*swarm) } else { Vec::new() };
            let manages = members.iter().any(|member| member.id == *id && member.manager);
            assert!(!manages || members.len() == 1, "{name} is a manager of {members:?}");
        }
    }
}
