//! A stack from its compose file to its removal, with a manager that is asked and answers.

use cluster::report::{Order, Outcome, Report};
use cluster::swarm::{LocalState, ManagerFacts, Member, Service, SwarmFacts};

use super::*;
use crate::head::state::tests::{ADDRESS, MAC, boot, state};

/// What the only manager of a swarm reports.
fn manager(swarm: &str) -> Report {
    let own = Member {
        id: "1".into(),
        hostname: "node1".into(),
        ready: true,
        unheard: false,
        manager: true,
        reachable: true,
        leader: true,
        drained: false,
    };
    let web = Service { name: "web_page".into(), running: 2, desired: 3, starting: false, ports: vec![80] };
    let manager = ManagerFacts {
        cluster_id: swarm.into(),
        worker_token: "w".into(),
        manager_token: "m".into(),
        members: vec![own],
        services: vec![web],
    };
    let facts = SwarmFacts { state: LocalState::Active, node_id: "1".into(), manager: Some(manager) };
    Report { uptime_ms: 5_000, swarm: Some(facts), ..Report::default() }
}

fn outcome(order: &Order, error: Option<&str>) -> Report {
    let outcomes = vec![Outcome { order: order.number, error: error.map(str::to_owned) }];
    Report { outcomes, ..manager("c") }
}

fn states(state: &state::State) -> Vec<StackState> {
    state.stack_views().iter().map(|stack| stack.state).collect()
}

#[test]
fn a_stack_is_deployed_shown_and_removed() {
    let mut state = state();
    let token = boot(&mut state, MAC, ADDRESS);
    state.put_stack("web".to_owned(), "services: {}".to_owned());
    assert_eq!(states(&state), [StackState::Waiting]);
    let report = |state: &mut state::State, report| {
        state.now_ms += 3_000;
        state.report(&token, ADDRESS, report).expect("orders").orders
    };
    let deploy = report(&mut state, manager("c"));
    assert!(matches!(&deploy[0].action, Action::DeployStack { name, .. } if name == "web"), "{deploy:?}");
    assert!(report(&mut state, outcome(&deploy[0], None)).is_empty());
    let view = state.stack_views().remove(0);
    assert_eq!((view.state, view.services.len()), (StackState::Deployed, 1));

    assert!(!state.remove_stack("nothing"));
    assert!(state.remove_stack("web"));
    let remove = report(&mut state, manager("c"));
    assert_eq!(remove[0].action, Action::RemoveStack { name: "web".to_owned() });
    assert!(report(&mut state, outcome(&remove[0], Some("no"))).is_empty(), "it is not tried for ever");
    assert_eq!(states(&state), [StackState::Failed]);
    assert!(state.remove_stack("web"));
    let again = report(&mut state, manager("c"));
    state.take_writes();
    report(&mut state, outcome(&again[0], None));
    assert!(states(&state).is_empty());
    assert!(state.take_writes().iter().any(|write| matches!(write, Write::NoStack(name) if name == "web")));
}

#[test]
fn a_stack_whose_swarm_is_no_more_is_removed_without_an_order() {
    let mut state = state();
    let token = boot(&mut state, MAC, ADDRESS);
    state.put_stack("web".to_owned(), "services: {}".to_owned());
    let deploy = state.report(&token, ADDRESS, manager("c")).expect("orders").orders;
    state.report(&token, ADDRESS, outcome(&deploy[0], None)).expect("orders");
    state.stacks.get_mut("web").expect("it is there").cluster_id = "an older one".to_owned();
    // Not given to a manager before it is removed.
    state.stacks.get_mut("web").expect("it is there").state = StackState::Removing;
    assert!(state.report(&token, ADDRESS, manager("c")).expect("orders").orders.is_empty());
    assert!(states(&state).is_empty());
}

#[test]
fn a_stack_that_no_swarm_ever_had_is_gone_at_once() {
    let mut state = state();
    state.put_stack("web".to_owned(), "services: {}".to_owned());
    assert!(state.remove_stack("web"));
    assert!(states(&state).is_empty());
}
