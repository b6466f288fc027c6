//! Who is Ready, while managers come and go.

use cluster::report::{Outcome, Report};
use cluster::swarm::{LocalState, ManagerFacts, Member, SwarmFacts};

use cluster::view::RolloutWish;

use crate::head::state::tests::{ADDRESS, MAC, boot, state};
use crate::store::Write;

/// The only manager reports itself.
fn seen(ready: bool, unheard: bool) -> Report {
    let own = Member {
        id: "1".into(),
        hostname: "node1".into(),
        ready,
        unheard,
        manager: true,
        reachable: true,
        leader: true,
        drained: false,
        ending: false,
    };
    let manager = ManagerFacts {
        cluster_id: "c".into(),
        worker_token: "w".into(),
        manager_token: "m".into(),
        members: vec![own],
        services: vec![],
    };
    let facts = SwarmFacts { state: LocalState::Active, node_id: "1".into(), manager: Some(manager) };
    Report { uptime_ms: 5_000, swarm: Some(facts), ..Report::default() }
}

#[test]
fn a_new_leader_that_has_not_heard_of_a_node_yet_takes_nobody_out_of_rotation() {
    let mut state = state();
    let token = boot(&mut state, MAC, ADDRESS);
    let mut in_rotation = |ready, unheard| {
        state.now_ms += 3_000;
        state.report(&token, ADDRESS, seen(ready, unheard)).expect("orders");
        state.swarm_view().in_rotation.len()
    };
    assert_eq!(in_rotation(false, true), 0, "it was never Ready");
    assert_eq!(in_rotation(true, false), 1);
    assert_eq!(in_rotation(false, true), 1, "the leader is new");
    assert_eq!(in_rotation(false, true), 1);
    assert_eq!(in_rotation(false, false), 0, "the leader knows better now");
    assert_eq!(in_rotation(false, true), 0);
}

fn events(state: &mut crate::head::state::State) -> Vec<String> {
    let text = |write| if let Write::Event(event) = write { Some(event.text) } else { None };
    state.take_writes().into_iter().filter_map(text).collect()
}

#[test]
fn what_is_decided_and_what_fails_is_kept_in_words() {
    let mut state = state();
    let token = boot(&mut state, MAC, ADDRESS);
    let empty = Report { uptime_ms: 5_000, swarm: Some(SwarmFacts::default()), ..Report::default() };
    let orders = state.report(&token, ADDRESS, empty.clone()).expect("orders").orders;
    assert_eq!(events(&mut state)[0], "node1 forms a new swarm");
    let error = Some("no\u{1b}[2J room".to_owned());
    let outcomes = vec![Outcome { order: orders[0].number, error }];
    state.report(&token, ADDRESS, Report { outcomes, ..empty }).expect("orders");
    assert_eq!(events(&mut state)[0], "node1 forms a new swarm: it failed: no[2J room");
}

#[test]
fn a_rollout_takes_the_nodes_with_a_label() {
    let mut state = state();
    boot(&mut state, MAC, ADDRESS);
    let wish = |label: &str| RolloutWish { label: Some(label.to_owned()), ..RolloutWish::default() };
    assert!(state.begin_rollout(&wish("rack")).is_err_and(|error| error.contains("key=value")));
    assert!(state.begin_rollout(&wish("rack=2")).is_err_and(|error| error.contains("has the label rack=2")));
    let wishes = &mut state.nodes.get_mut(&MAC).expect("a node").kept.wishes;
    wishes.insert("label.rack".to_owned(), "2".to_owned());
    assert_eq!(state.begin_rollout(&wish("rack=2")).expect("begun").nodes.len(), 1);
}
