//! The decisions against a model of Docker Swarm: random reboots, wipes, lost answers and delays.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::swarm::Service;

const STEP_MS: u64 = 500;

/// One emulated node's Docker. Its swarm is a number; a wipe forgets it.
#[derive(Clone, Debug)]
struct Machine {
    name: NodeName,
    up: bool,
    swarm: Option<(u32, String)>,
    order: Option<Action>,
    reboot: Reboot,
}

/// The swarms' own truth.
#[derive(Clone, Debug, Default)]
struct World {
    machines: Vec<Machine>,
    entries: Vec<(u32, Member)>,
    next_id: u32,
    now_ms: u64,
    /// Whether a task of the service is starting.
    starting: bool,
}

impl World {
    fn new(count: usize) -> Self {
        let machine = |index| Machine {
            name: format!("node{index}").parse().expect("a name"),
            up: true,
            swarm: None,
            order: None,
            reboot: Reboot::No,
        };
        Self { machines: (1..=count).map(machine).collect(), now_ms: 1_000_000, ..Self::default() }
    }

    fn id(&mut self) -> String {
        self.next_id += 1;
        format!("id{}", self.next_id)
    }

    fn alive(&self, id: &str) -> bool {
        self.machines
            .iter()
            .any(|machine| machine.up && machine.swarm.as_ref().is_some_and(|(_, own)| own == id))
    }

    fn members(&self, swarm: u32) -> Vec<Member> {
        let ours = self.entries.iter().filter(|(of, _)| *of == swarm);
        let mut members: Vec<Member> = ours.map(|(_, member)| member.clone()).collect();
        let mut led = false;
        for member in &mut members {
            member.ready = self.alive(&member.id);
            member.reachable = member.ready && member.manager;
            member.leader = member.reachable && !led;
            led |= member.leader;
        }
        members
    }

    fn has_quorum(&self, swarm: u32) -> bool {
        let managers: Vec<Member> = self.members(swarm).into_iter().filter(|member| member.manager).collect();
        managers.iter().filter(|member| member.reachable).count() > managers.len() / 2
    }

    fn facts(&self, machine: &Machine) -> SwarmFacts {
        let Some((swarm, id)) = &machine.swarm else { return SwarmFacts::default() };
        let members = self.members(*swarm);
        let manages =
            members.iter().any(|member| member.id == *id && member.manager) && self.has_quorum(*swarm);
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

    fn view(&self, managers: usize) -> View {
        let node = |machine: &Machine| NodeState {
            name: machine.name.clone(),
            address: Ipv4Addr::LOCALHOST,
            wish: RoleWish::Any,
            facts: machine.up.then(|| self.facts(machine)),
            heard_ms: self.now_ms,
            busy: machine.order.is_some(),
            reboot: machine.reboot,
        };
        View { managers, nodes: self.machines.iter().map(node).collect() }
    }

    fn entry(&mut self, swarm: u32, id: &str) -> Option<&mut Member> {
        self.entries.iter_mut().find(|(of, member)| *of == swarm && member.id == id).map(|(_, member)| member)
    }

    fn enlist(&mut self, index: usize, swarm: u32, manager: bool) {
        let id = self.id();
        let member = Member {
            id: id.clone(),
            hostname: self.machines[index].name.to_string(),
            ready: true,
            manager,
            reachable: manager,
            leader: false,
            drained: false,
        };
        self.entries.push((swarm, member));
        self.machines[index].swarm = Some((swarm, id));
    }

    /// Carries out what one machine was told; as Docker would, or not at all where Docker would refuse.
    fn act(&mut self, index: usize) {
        let Some(action) = self.machines[index].order.take() else { return };
        if !self.machines[index].up {
            return;
        }
        let own = self.machines[index].swarm.clone();
        let through = own.as_ref().map(|(swarm, _)| *swarm).filter(|swarm| self.has_quorum(*swarm));
        match action {
            Action::Init if own.is_none() => {
                self.next_id += 1;
                self.enlist(index, self.next_id, true);
            }
            Action::Join { token, .. } if own.is_none() => {
                let swarm = token.parse().expect("the model's token");
                if self.has_quorum(swarm) {
                    self.enlist(index, swarm, false);
                }
            }
            Action::Leave => self.machines[index].swarm = None,
            Action::Reboot => self.wipe(index),
            Action::Promote { id } => self.change(through, &id, |member| member.manager = true),
            Action::Demote { id } => self.demote(through, &id),
            Action::Drain { id } => self.change(through, &id, |member| member.drained = true),
            Action::Remove { id } => self.remove(through, &id),
            _ => {}
        }
    }

    fn change(&mut self, swarm: Option<u32>, id: &str, change: impl FnOnce(&mut Member)) {
        if let Some(member) = swarm.and_then(|swarm| self.entry(swarm, id)) {
            change(member);
        }
    }

    /// Docker refuses to demote the last manager, and one whose going would cost the quorum
    /// (swarmkit's `CanRemoveMember`).
    fn demote(&mut self, swarm: Option<u32>, id: &str) {
        let Some(swarm) = swarm else { return };
        if self.members(swarm).iter().filter(|member| member.manager).count() > 1 {
            self.change(Some(swarm), id, |member| member.manager = false);
            if !self.has_quorum(swarm) {
                self.change(Some(swarm), id, |member| member.manager = true);
            }
        }
    }

    /// Docker refuses to remove a manager; a removed node's Docker leaves.
    fn remove(&mut self, swarm: Option<u32>, id: &str) {
        let Some(swarm) = swarm else { return };
        if self.entry(swarm, id).is_some_and(|member| member.manager) {
            return;
        }
        self.entries.retain(|(of, member)| !(*of == swarm && member.id == id));
        for machine in &mut self.machines {
            if machine.swarm.as_ref().is_some_and(|(_, own)| own == id) {
                machine.swarm = None;
            }
        }
    }

    /// Power lost; what was wanted of the old life is done with.
    fn wipe(&mut self, index: usize) {
        let machine = &mut self.machines[index];
        machine.up = false;
        machine.swarm = None;
        machine.order = None;
        if machine.reboot == Reboot::Wanted {
            machine.reboot = Reboot::No;
        }
    }

    /// Power lost by a node with the policy `on-change`: it comes back as what it was.
    fn cut(&mut self, index: usize) {
        self.machines[index].up = false;
        self.machines[index].order = None;
    }

    fn quorums(&self) -> usize {
        let mut swarms: Vec<u32> = self.entries.iter().map(|(swarm, _)| *swarm).collect();
        swarms.sort_unstable();
        swarms.dedup();
        swarms.into_iter().filter(|swarm| self.has_quorum(*swarm)).count()
    }

    /// The head's part: decide, hand out, note ordered reboots. `lossy` loses the orders of one node.
    fn turn(&mut self, swarm: &mut Swarm, managers: usize, lossy: Option<usize>) -> Decisions {
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

    fn act_all(&mut self) {
        (0..self.machines.len()).for_each(|index| self.act(index));
    }

    /// A machine that was off comes up empty; one whose ordered reboot ended in a Ready node is done.
    fn come_up(&mut self) {
        for index in 0..self.machines.len() {
            self.machines[index].up = true;
            let ready = self.machines[index].swarm.is_some();
            if ready && matches!(self.machines[index].reboot, Reboot::Ordered { .. }) {
                self.machines[index].reboot = Reboot::No;
            }
        }
    }

    fn settle(&mut self, swarm: &mut Swarm, managers: usize) {
        for _ in 0..200 {
            self.turn(swarm, managers, None);
            self.act_all();
            self.come_up();
        }
    }

    /// Every node Ready in one swarm, no entry of an old life, as many managers as there can be.
    fn assert_whole(&self, managers: usize) {
        let (swarm, _) =
            self.machines[0].swarm.clone().unwrap_or_else(|| panic!("node1 is in no swarm: {self:#?}"));
        let members = self.members(swarm);
        assert_eq!(members.len(), self.machines.len(), "{members:?}");
        assert!(members.iter().all(|member| member.ready && !member.drained), "{members:?}");
        let count = members.iter().filter(|member| member.manager).count();
        let odd = self.machines.len() - usize::from(self.machines.len().is_multiple_of(2));
        assert_eq!(count, managers.min(odd), "{members:?}");
        assert!(self.machines.iter().all(|machine| machine.reboot == Reboot::No), "{self:#?}");
    }
}

#[test]
fn three_blank_nodes_become_one_swarm_with_one_manager() {
    let (mut world, mut swarm) = (World::new(3), Swarm::default());
    let first = world.turn(&mut swarm, 1, None);
    assert_eq!(first.orders, [("node1".parse().expect("a name"), Action::Init)]);
    world.settle(&mut swarm, 1);
    world.assert_whole(1);
}

#[test]
fn the_only_manager_hands_over_before_it_reboots() {
    let (mut world, mut swarm) = (World::new(3), Swarm::default());
    world.settle(&mut swarm, 1);
    let before = swarm.known().cloned().expect("a swarm");
    world.machines[0].reboot = Reboot::Wanted;
    world.settle(&mut swarm, 1);
    world.assert_whole(1);
    assert_eq!(swarm.known().expect("a swarm").cluster_id, before.cluster_id, "the swarm lived on");
}

#[test]
fn of_two_managers_ordered_to_reboot_the_second_is_held_until_the_first_is_back() {
    let (mut world, mut swarm) = (World::new(3), Swarm::default());
    world.settle(&mut swarm, 3);
    world.machines[0].reboot = Reboot::Wanted;
    world.machines[1].reboot = Reboot::Wanted;
    let mut held = false;
    for _ in 0..200 {
        let decisions = world.turn(&mut swarm, 3, None);
        held |= decisions.held.iter().any(|reason| reason.contains("is not back yet"));
        world.act_all();
        assert_eq!(world.quorums(), 1, "{:?}", world.entries);
        let down = world.machines.iter().filter(|machine| !machine.up).count();
        assert!(down <= 1, "both were down");
        world.come_up();
    }
    assert!(held);
    world.assert_whole(3);
}

#[test]
fn a_drained_node_stays_until_its_tasks_run_elsewhere_but_not_for_ever() {
    let (mut world, mut swarm) = (World::new(3), Swarm::default());
    world.settle(&mut swarm, 1);
    for (lasts_ms, at_most_ms) in [(0, 8_000), (20_000, 22_000), (u64::MAX, 122_000)] {
        let began_ms = world.now_ms;
        world.machines[1].reboot = Reboot::Wanted;
        while world.machines[1].reboot == Reboot::Wanted {
            world.starting = world.now_ms - began_ms < lasts_ms;
            world.turn(&mut swarm, 1, None);
            world.act_all();
        }
        let took_ms = world.now_ms - began_ms;
        assert!(took_ms >= lasts_ms.clamp(6_000, 120_000) && took_ms <= at_most_ms, "{took_ms} ms");
        world.starting = false;
        world.settle(&mut swarm, 1);
        world.assert_whole(1);
    }
}

#[test]
fn a_node_alone_forms_its_swarm_anew_after_a_wipe() {
    let (mut world, mut swarm) = (World::new(1), Swarm::default());
    world.settle(&mut swarm, 3);
    world.machines[0].reboot = Reboot::Wanted;
    world.settle(&mut swarm, 3);
    world.assert_whole(3);
}

#[test]
fn while_a_manager_can_come_back_no_second_swarm_is_formed() {
    let (mut world, mut swarm) = (World::new(3), Swarm::default());
    world.settle(&mut swarm, 1);
    let manager =
        world.machines.iter().position(|machine| world.facts(machine).manager.is_some()).expect("one");
    world.machines[manager].up = false;
    for _ in 0..50 {
        let decisions = world.turn(&mut swarm, 1, None);
        assert!(decisions.orders.is_empty(), "{decisions:?}");
        assert!(!decisions.held.is_empty());
    }
}

#[test]
fn a_head_that_forgot_finds_the_swarm_again() {
    let (mut world, mut swarm) = (World::new(3), Swarm::default());
    world.settle(&mut swarm, 3);
    let mut fresh = Swarm::default();
    world.settle(&mut fresh, 3);
    world.assert_whole(3);
    assert_eq!(world.quorums(), 1);
}

#[test]
fn nodes_that_keep_their_data_come_back_as_they_were_without_a_single_order() {
    let (mut world, mut swarm) = (World::new(3), Swarm::default());
    world.settle(&mut swarm, 3);
    let before = world.entries.clone();
    for lost in [vec![0], vec![2], vec![0, 1, 2]] {
        lost.iter().for_each(|index| world.cut(*index));
        for _ in 0..50 {
            assert_eq!(world.turn(&mut swarm, 3, None).orders, []);
        }
        world.come_up();
        for _ in 0..50 {
            assert_eq!(world.turn(&mut swarm, 3, None).orders, []);
        }
    }
    assert_eq!(world.entries, before);
    world.assert_whole(3);
}

#[test]
fn a_kept_node_whose_docker_is_still_looking_for_its_manager_is_given_time() {
    let (mut world, mut swarm) = (World::new(3), Swarm::default());
    world.settle(&mut swarm, 1);
    let worker =
        world.machines.iter().position(|machine| world.facts(machine).manager.is_none()).expect("one");
    let name = world.machines[worker].name.clone();
    let (mut told_at_ms, began_ms) = (None, world.now_ms);
    while told_at_ms.is_none() && world.now_ms < began_ms + 2 * PENDING_GRACE_MS {
        world.now_ms += STEP_MS;
        let mut view = world.view(1);
        view.nodes[worker].facts = Some(SwarmFacts { state: LocalState::Pending, ..SwarmFacts::default() });
        let decisions = swarm.decide(&view, world.now_ms);
        if let Some((to, action)) = decisions.orders.first() {
            assert_eq!((to, action), (&name, &Action::Leave));
            told_at_ms = Some(world.now_ms);
        }
    }
    let waited_ms = told_at_ms.expect("not for ever") - began_ms;
    assert!((PENDING_GRACE_MS..PENDING_GRACE_MS + 2 * STEP_MS).contains(&waited_ms), "{waited_ms}");
}

proptest! {
    /// Power cuts of any nodes, with and without their data, wanted reboots, lost orders and slow machines, in any order: never two
    /// swarms with a quorum, and at the end everything is whole again.
    #[test]
    fn whatever_happens_it_becomes_whole_again(
        count in 1_usize..6,
        wanted in prop_oneof![Just(1_usize), Just(3), Just(5)],
        storms in prop::collection::vec((0_usize..6, 0_u8..5), 0..60),
    ) {
        let (mut world, mut swarm) = (World::new(count), Swarm::default());
        for (index, kind) in storms {
            let index = index % count;
            match kind {
                0 => world.wipe(index),
                1 => world.machines[index].reboot = Reboot::Wanted,
                2 => world.act(index),
                4 => world.cut(index),
                _ => world.come_up(),
            }
            world.turn(&mut swarm, wanted, (kind == 3).then_some(index));
            world.act((index + 1) % count);
            prop_assert!(world.quorums() <= 1, "two swarms: {:?}", world.entries);
        }
        world.settle(&mut swarm, wanted);
        world.settle(&mut swarm, wanted);
        let last = world.turn(&mut swarm, wanted, None);
        prop_assert!(last == Decisions::default(), "not at rest: {last:?} {swarm:?} {world:?}");
        world.assert_whole(wanted);
    }
}
