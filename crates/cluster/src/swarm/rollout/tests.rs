//! Rollouts over nodes that are only told of.

use super::*;

fn sights(count: usize) -> Vec<Sight> {
    let sight = |number| Sight {
        name: format!("node{number}").parse().expect("a name"),
        boot: 1,
        is_ready: true,
        failure: None,
        reboot: Reboot::No,
    };
    (1..=count).map(sight).collect()
}

fn rollout(nodes: &[Sight], pause_ms: u64) -> Rollout {
    Rollout::new(nodes.iter().map(|sight| sight.name.clone()).collect(), pause_ms)
}

/// The node boots anew and is well.
fn made_new(sight: &mut Sight) {
    sight.boot += 1;
    sight.is_ready = true;
    sight.reboot = Reboot::No;
}

#[test]
fn nodes_go_one_after_another_and_only_while_all_is_well() {
    let mut nodes = sights(3);
    let mut rollout = rollout(&nodes, 10_000);
    assert_eq!(rollout.step(&nodes, &[], 0), None, "the pause");
    for place in 0..3 {
        let mut now_ms = 20_000 + place as u64 * 100_000;
        assert_eq!(rollout.step(&nodes, &["web"], now_ms), None);
        assert_eq!(rollout.waits_for, "web to run as it should");
        assert_eq!(rollout.step(&nodes, &[], now_ms), None, "the pause begins anew");
        now_ms += 10_000;
        assert_eq!(rollout.step(&nodes, &[], now_ms), Some(nodes[place].name.clone()));
        nodes[place].reboot = Reboot::Wanted;
        assert_eq!(rollout.step(&nodes, &[], now_ms + 1), None, "one at a time");
        nodes[place].is_ready = false;
        made_new(&mut nodes[place]);
        assert_eq!(rollout.step(&nodes, &["web"], now_ms + 2), None);
        assert!(matches!(rollout.nodes[place].1, Progress::UnderWay { .. }), "a service does not run yet");
        rollout.step(&nodes, &[], now_ms + 3);
        assert_eq!(rollout.nodes[place].1, Progress::Done { took_ms: 3 });
    }
    rollout.step(&nodes, &[], 1_000_000);
    assert_eq!(rollout.state, RolloutState::Done);
}

#[test]
fn two_may_be_away_at_a_time_and_a_third_node_that_is_not_well_is_waited_for() {
    let mut nodes = sights(4);
    let mut rollout = Rollout { max_unavailable: 2, ..rollout(&nodes, 0) };
    assert_eq!(rollout.step(&nodes, &[], 0), Some(nodes[0].name.clone()));
    (nodes[0].reboot, nodes[0].is_ready) = (Reboot::Wanted, false);
    assert_eq!(rollout.step(&nodes, &["web"], 1), None, "its tasks run elsewhere first");
    nodes[3].is_ready = false;
    assert_eq!(rollout.step(&nodes, &[], 2), None);
    assert_eq!(rollout.waits_for, "node4 to be Ready");
    nodes[3].is_ready = true;
    assert_eq!(rollout.step(&nodes, &[], 3), Some(nodes[1].name.clone()));
    (nodes[1].reboot, nodes[1].is_ready) = (Reboot::Wanted, false);
    assert_eq!(rollout.step(&nodes, &[], 4), None);
    assert_eq!(rollout.waits_for, "node1 to be back");
    made_new(&mut nodes[1]);
    assert_eq!(rollout.step(&nodes, &[], 5), Some(nodes[2].name.clone()), "the second was faster");
    made_new(&mut nodes[2]);
    assert_eq!(rollout.step(&nodes, &[], 6), Some(nodes[3].name.clone()));
    made_new(&mut nodes[3]);
    rollout.step(&nodes, &[], 7);
    assert_eq!(rollout.state, RolloutState::Running, "the first is not back");
    made_new(&mut nodes[0]);
    rollout.step(&nodes, &[], 8);
    assert_eq!(rollout.state, RolloutState::Done);
}

#[test]
fn a_node_whose_reboot_is_not_heard_of_yet_keeps_it_from_its_end() {
    let nodes = sights(1);
    let mut rollout = rollout(&nodes, 0);
    assert!(rollout.step(&nodes, &[], 0).is_some());
    assert_eq!(rollout.step(&nodes, &[], 1), None, "nobody has told it to reboot");
    assert_eq!((rollout.state, rollout.waits_for.as_str()), (RolloutState::Running, "node1 to boot"));
}

#[test]
fn the_first_failure_stops_it_and_it_can_be_resumed() {
    let mut nodes = sights(2);
    let mut rollout = rollout(&nodes, 0);
    assert!(rollout.step(&nodes, &[], 0).is_some());
    nodes[0].boot = 2;
    nodes[0].failure = Some("its user data failed: exit code 3".to_owned());
    assert_eq!(rollout.step(&nodes, &[], 5), None);
    let reason = "node1 its user data failed: exit code 3".to_owned();
    assert_eq!(rollout.state, RolloutState::Stopped { reason });
    nodes[0].is_ready = false;
    assert_eq!(rollout.step(&nodes, &[], 6), None, "it does not go on by itself");
    assert!(rollout.resume());
    assert_eq!(rollout.step(&nodes, &[], 7), Some(nodes[0].name.clone()), "the failed one again");
}

#[test]
fn what_was_given_is_taken_back_from_those_that_got_it() {
    let nodes = sights(3);
    let mut rollout = rollout(&nodes, 7);
    assert_eq!(rollout.back(), None, "nobody was given anything");
    for sight in &nodes[..2] {
        rollout.had.insert(sight.name.clone(), Given::default());
    }
    let back = rollout.back().expect("two were changed");
    let names: Vec<&str> = back.nodes.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["node2", "node1"]);
    assert_eq!((back.gives, back.pause_ms), (rollout.had, 7));
}

#[test]
fn a_node_that_never_returns_ends_it() {
    let mut nodes = sights(2);
    let mut rollout = rollout(&nodes, 0);
    assert!(rollout.step(&nodes, &[], 0).is_some());
    nodes[0].reboot = Reboot::Ordered { since_ms: 1 };
    nodes[0].is_ready = false;
    assert_eq!(rollout.step(&nodes, &[], NODE_LIMIT_MS - 1), None);
    assert_eq!(rollout.state, RolloutState::Running);
    assert_eq!(rollout.step(&nodes, &[], NODE_LIMIT_MS), None);
    assert!(matches!(&rollout.state, RolloutState::Stopped { reason } if reason.contains("did not boot")));
}

#[test]
fn a_node_that_is_down_already_is_waited_for() {
    let mut nodes = sights(2);
    nodes[1].is_ready = false;
    let mut rollout = rollout(&nodes, 0);
    assert_eq!(rollout.step(&nodes, &[], 0), None);
    assert_eq!(rollout.waits_for, "node2 to be Ready");
    rollout.stop("the operator stopped it".to_owned());
    nodes[1].is_ready = true;
    assert_eq!(rollout.step(&nodes, &[], 1), None);
}
