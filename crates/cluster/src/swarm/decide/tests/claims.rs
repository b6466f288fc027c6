//! Nodes that call themselves managers.

use super::super::authority::UNSPOKEN_LIMIT_MS;
use super::super::*;
use super::world::{STEP_MS, World};

/// What a node says that was broken into: it leads a swarm of that id, of which it is the only member.
fn claim(name: &NodeName, cluster_id: &str) -> SwarmFacts {
    let own = Member {
        id: "0".into(),
        hostname: name.to_string(),
        ready: true,
        manager: true,
        reachable: true,
        leader: true,
        ..Member::default()
    };
    let manager = ManagerFacts {
        cluster_id: cluster_id.into(),
        worker_token: "mine".into(),
        manager_token: "mine".into(),
        members: vec![own],
        services: vec![],
    };
    SwarmFacts { state: LocalState::Active, node_id: "0".into(), manager: Some(manager) }
}

/// Has the machine say that in each turn; the orders that follow.
fn orders_after(
    world: &mut World,
    swarm: &mut Swarm,
    index: usize,
    facts: &SwarmFacts,
    turns: u64,
) -> Vec<Action> {
    let mut given = Vec::new();
    for _ in 0..turns {
        world.machines[index].stale = Some((world.now_ms + STEP_MS, facts.clone()));
        given.extend(world.turn(swarm, 1, None).orders.into_iter().map(|(_, action)| action));
    }
    given
}

#[test]
fn a_worker_that_calls_itself_the_manager_is_not_believed() {
    let (mut world, mut swarm) = (World::new(3), Swarm::default());
    world.settle(&mut swarm, 1);
    let known = swarm.known().cloned().expect("a swarm");
    let liar = world.machines[2].name.clone();
    let facts = claim(&liar, &known.cluster_id);
    // The true manager answers, and then for a while it does not.
    for is_up in [true, false] {
        world.machines[0].up = is_up;
        let given = orders_after(&mut world, &mut swarm, 2, &facts, 60);
        // It says that it is in a swarm which does not list it: at most it is told to leave.
        assert!(given.iter().all(|action| *action == Action::Leave), "{given:?}");
        assert_eq!(swarm.known(), Some(&known));
        assert!(!swarm.may_speak(&liar, RoleWish::Any));
    }
}

/// A head that was made of an old backup knows the managers of that day.
#[test]
fn who_became_a_manager_behind_our_back_is_believed_once_those_we_know_are_silent_for_long() {
    let (mut world, mut swarm) = (World::new(3), Swarm::default());
    world.settle(&mut swarm, 3);
    let mut old = swarm.known().cloned().expect("a swarm");
    old.managers.truncate(1);
    world.die(0);
    let mut swarm = Swarm::new(Some(old));
    let worker = RoleWish::Worker;
    let name = world.machines[1].name.clone();
    for _ in 0..UNSPOKEN_LIMIT_MS / STEP_MS {
        assert_eq!(world.turn(&mut swarm, 3, None).orders, []);
        assert!(!swarm.may_speak(&name, RoleWish::Any));
    }
    world.turn(&mut swarm, 3, None);
    assert!(swarm.known().expect("a swarm").managers.contains(&name));
    assert!(swarm.may_speak(&name, worker), "it is a manager that we know");
}

#[test]
fn while_a_node_forms_the_swarm_no_other_does() {
    let (mut world, mut swarm) = (World::new(3), Swarm::default());
    let first = world.turn(&mut swarm, 1, None);
    assert_eq!(first.orders[0].1, Action::Init);
    let liar = world.machines[2].name.clone();
    let given = orders_after(&mut world, &mut swarm, 2, &claim(&liar, "mine"), 4);
    assert_eq!((given, swarm.known()), (vec![], None));
}

#[test]
fn a_manager_with_a_new_name_is_the_manager_that_we_know() {
    let (mut world, mut swarm) = (World::new(1), Swarm::default());
    world.settle(&mut swarm, 1);
    let (old, new) = (world.machines[0].name.clone(), "lead".parse().expect("a name"));
    swarm.renamed(&old, &new);
    assert!(swarm.may_speak(&new, RoleWish::Any) && !swarm.may_speak(&old, RoleWish::Any));
}
