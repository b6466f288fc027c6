//! A stack from its compose file to its removal, with a manager that is asked and answers.

use cluster::report::{Order, Outcome, Report};
use cluster::stack::Content;
use cluster::swarm::{LocalState, ManagerFacts, Member, Service, SwarmFacts};

use super::*;
use crate::head::state::tests::{ADDRESS, MAC, boot, state};

/// What the only manager of a swarm reports.
fn manager(swarm: &str) -> Report {
    let own = Member {
        id: "1".into(),
        hostname: "node1".into(),
        ready: true,
        manager: true,
        reachable: true,
        leader: true,
        ..Member::default()
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
    let outcomes = vec![Outcome::of(order.number, error.map(str::to_owned))];
    Report { outcomes, ..manager("c") }
}

/// A stack with these secrets.
fn wish(secrets: &[(&str, &str)]) -> StackWish {
    let file = |(key, content): &(&str, &str)| StackFile {
        kind: FileKind::Secret,
        key: (*key).to_owned(),
        name: None,
        content: Content(content.as_bytes().to_vec()),
    };
    StackWish {
        compose: "services: {}".to_owned(),
        version: Some("3.8".to_owned()),
        files: secrets.iter().map(file).collect(),
    }
}

fn states(state: &state::State) -> Vec<StackState> {
    state.stack_views().iter().map(|stack| stack.state).collect()
}

#[test]
fn a_stack_is_deployed_shown_and_removed() {
    let mut state = state();
    let token = boot(&mut state, MAC, ADDRESS);
    state.put_stack("web".to_owned(), wish(&[])).expect("kept");
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
fn a_stack_that_went_to_a_manager_no_more_goes_to_another() {
    let mut state = state();
    let token = boot(&mut state, MAC, ADDRESS);
    state.put_stack("web".to_owned(), wish(&[])).expect("kept");
    let report = |state: &mut state::State, report| {
        state.now_ms += 3_000;
        state.report(&token, ADDRESS, report).expect("orders").orders
    };
    let deploy = report(&mut state, manager("c"));
    let mut demoted = outcome(&deploy[0], Some("this node is not a swarm manager"));
    demoted.outcomes[0].unled = true;
    assert!(report(&mut state, demoted).is_empty(), "it rests first");
    assert_eq!(states(&state), [StackState::Waiting]);
    let again = report(&mut state, manager("c"));
    assert_eq!(again[0].action, deploy[0].action);

    assert!(report(&mut state, outcome(&again[0], None)).is_empty());
    assert!(state.remove_stack("web"));
    let remove = report(&mut state, manager("c"));
    let mut leaderless = outcome(&remove[0], Some("the swarm does not have a leader"));
    leaderless.outcomes[0].unled = true;
    report(&mut state, leaderless);
    assert_eq!(states(&state), [StackState::Removing]);
    let again = report(&mut state, manager("c"));
    assert_eq!(again[0].action, remove[0].action);
}

#[test]
fn a_stack_whose_swarm_is_no_more_is_removed_without_an_order() {
    let mut state = state();
    let token = boot(&mut state, MAC, ADDRESS);
    state.put_stack("web".to_owned(), wish(&[])).expect("kept");
    let deploy = state.report(&token, ADDRESS, manager("c")).expect("orders").orders;
    state.report(&token, ADDRESS, outcome(&deploy[0], None)).expect("orders");
    state.stacks.get_mut("web").expect("it is there").cluster_id = "an older one".to_owned();
    // Not given to a manager before it is removed.
    state.stacks.get_mut("web").expect("it is there").state = StackState::Removing;
    assert!(state.report(&token, ADDRESS, manager("c")).expect("orders").orders.is_empty());
    assert!(states(&state).is_empty());
}

#[test]
fn a_changed_secret_has_a_new_name_and_nobody_but_a_manager_is_told_it() {
    let mut state = state();
    let token = boot(&mut state, MAC, ADDRESS);
    let deploy = |state: &mut state::State, contents: &[(&str, &str)], swarm: &str| {
        state.put_stack("web".to_owned(), wish(contents)).expect("kept");
        state.now_ms += 3_000;
        let order = state.report(&token, ADDRESS, manager(swarm)).expect("orders").orders.remove(0);
        state.now_ms += 3_000;
        let ended = Report { outcomes: outcome(&order, None).outcomes, ..manager(swarm) };
        state.report(&token, ADDRESS, ended).expect("orders");
        let Action::DeployStack { files, version, .. } = order.action.clone() else { panic!("{order:?}") };
        assert_eq!(version.as_deref(), Some("3.8"));
        assert!(!format!("{order:?} {:?}", state.stacks).contains("hush"));
        files.into_iter().map(|file| file.name.expect("a name")).collect::<Vec<_>>()
    };
    let first = deploy(&mut state, &[("password", "hush-1"), ("key", "hush-1")], "c");
    assert!(first[0].starts_with("web_password-") && first[1].starts_with("web_key-"), "{first:?}");
    assert_ne!(first[0][13..], first[1][8..], "the same content under another key");
    let second = deploy(&mut state, &[("password", "hush-2"), ("key", "hush-1")], "c");
    assert_ne!(first[0], second[0]);
    assert_eq!(first[1], second[1], "it did not change");

    let view = state.stack_views().remove(0);
    assert_eq!(view.secrets, ["password", "key"]);
    assert!(view.configs.is_empty());
    // A name does not tell whether a guessed password is right.
    let mut other = state::tests::state();
    other.put_stack("web".to_owned(), wish(&[("password", "hush-2")])).expect("kept");
    assert_ne!(other.stacks["web"].files[0].name.as_deref(), Some(second[0].as_str()));
    let long = "k".repeat(64);
    other.put_stack("web".to_owned(), wish(&[(&long, "hush")])).expect("kept");
    assert_eq!(other.stacks["web"].files[0].name.as_ref().map(String::len), Some(NAME_LIMIT));
}

#[test]
fn a_swarm_that_is_formed_anew_gets_the_secrets_again_from_a_head_that_was_restarted() {
    let mut state = state();
    let token = boot(&mut state, MAC, ADDRESS);
    state.put_stack("web".to_owned(), wish(&[("password", "hush")])).expect("kept");
    let order = state.report(&token, ADDRESS, manager("c")).expect("orders").orders.remove(0);
    state.report(&token, ADDRESS, outcome(&order, None)).expect("orders");
    let kept = serde_json::to_string(&state.stacks["web"]).expect("JSON");
    state.stacks.insert("web".to_owned(), serde_json::from_str(&kept).expect("the same"));
    state.swarm = cluster::swarm::Swarm::default();
    state.now_ms += 3_000;
    let again = state.report(&token, ADDRESS, manager("another")).expect("orders").orders.remove(0);
    assert_eq!(again.action, order.action);
}

#[test]
fn a_stack_that_no_swarm_ever_had_is_gone_at_once() {
    let mut state = state();
    state.put_stack("web".to_owned(), wish(&[])).expect("kept");
    assert!(state.remove_stack("web"));
    assert!(states(&state).is_empty());
}
