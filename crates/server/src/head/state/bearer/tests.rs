//! The token in the kernel command line, which every container of the node reads, and the one that its agent gets for it.

use cluster::report::Report;
use cluster::swarm::SwarmFacts;

use super::*;
use crate::head::node::Remembered;
use crate::head::state::tests::{ADDRESS, MAC, OTHER, boot, report, state, state_with};
use crate::store::Memory;

/// What an agent says once the user data has ended.
fn after_user_data() -> Report {
    Report { swarm: Some(SwarmFacts::default()), ..report(vec![]) }
}

/// The answer's token.
fn told(state: &mut State, token: &BootToken) -> Option<BootToken> {
    state.report(token, ADDRESS, after_user_data()).expect("orders").token
}

/// What the store has of the node after these writes.
fn kept(state: &mut State) -> Option<Remembered> {
    state.take_writes().into_iter().rev().find_map(|write| match write {
        Write::Node(node) if node.mac == MAC => Some(*node),
        _ => None,
    })
}

#[test]
fn what_containers_can_read_opens_nothing_once_the_agent_has_a_token_of_its_own() {
    let mut state = state();
    let public = boot(&mut state, MAC, ADDRESS);
    let early = state.report(&public, ADDRESS, report(vec![])).expect("orders");
    assert_eq!(early.token, None, "the user data goes on");
    assert!(state.user_data_of(&public, ADDRESS).is_some());
    let own = told(&mut state, &public).expect("a token");
    // It failed, and nobody said Done.
    assert!(state.user_data_of(&public, ADDRESS).is_none());
    assert_eq!(told(&mut state, &public).as_ref(), Some(&own), "the answer was lost");
    assert!(state.report(&own, OTHER, after_user_data()).is_none(), "another address");
    assert_eq!(told(&mut state, &own), None);
    assert!(state.report(&public, ADDRESS, after_user_data()).is_none(), "it is burnt");
    assert!(state.user_data_of(&public, ADDRESS).is_none());
    assert!(state.user_data_of(&own, ADDRESS).is_none());
    let next = boot(&mut state, MAC, ADDRESS);
    assert!(state.report(&own, ADDRESS, after_user_data()).is_none(), "a token of an old boot");
    assert!(told(&mut state, &next).is_some());
}

#[test]
fn it_is_on_the_disk_before_it_is_told_and_a_head_that_forgot_it_gives_another() {
    let mut state = state();
    let public = boot(&mut state, MAC, ADDRESS);
    state.take_writes();
    let own = told(&mut state, &public).expect("a token");
    let node = kept(&mut state).expect("written");
    assert_eq!(node.successor_hash, Some(hash(&own)));
    let leases: Vec<_> = state.dhcp.leases.of(MAC).into_iter().cloned().collect();
    for is_used in [true, false] {
        let memory = Memory { nodes: vec![node.clone()], leases: leases.clone(), ..Memory::default() };
        let mut state = state_with(memory);
        state.now_ms = 1_000;
        if is_used {
            assert_eq!(told(&mut state, &own), None);
            assert!(kept(&mut state).expect("written").is_succeeded);
            assert!(state.report(&public, ADDRESS, after_user_data()).is_none());
        } else {
            let other = told(&mut state, &public).expect("a token");
            assert_ne!(other, own);
            assert!(state.report(&own, ADDRESS, after_user_data()).is_none());
            assert_eq!(told(&mut state, &other), None);
        }
    }
}
