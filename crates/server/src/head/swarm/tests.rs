//! Who is Ready, while managers come and go.

use cluster::report::{Outcome, Report};
use cluster::swarm::{LocalState, ManagerFacts, Member, SwarmFacts};

use cluster::view::RolloutWish;

use super::super::rollout::Steer;
use super::super::state::State;
use crate::access::Principal;
use crate::artefacts::Image;
use crate::config::{self, Settings};
use crate::head::state::tests::{ADDRESS, MAC, boot, images, state};
use crate::store::Write;

fn root() -> Principal {
    Principal::of_socket(Some(0))
}

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
        ..Member::default()
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
    let outcomes = vec![Outcome::of(orders[0].number, error)];
    state.report(&token, ADDRESS, Report { outcomes, ..empty }).expect("orders");
    assert_eq!(events(&mut state)[0], "node1 forms a new swarm: it failed: no\u{fffd}[2J room");
}

#[test]
fn a_rollout_takes_the_nodes_with_a_label() {
    let mut state = state();
    boot(&mut state, MAC, ADDRESS);
    let wish = |label: &str| RolloutWish { label: Some(label.to_owned()), ..RolloutWish::default() };
    assert!(state.begin_rollout(&wish("rack")).is_err_and(|error| error.contains("key=value")));
    assert!(state.begin_rollout(&wish("rack=2")).is_err_and(|error| error.contains("has the label rack=2")));
    let label = [("label.rack".to_owned(), Some("2".to_owned()))].into();
    state.set_node(&root(), "node1", &label).expect("set");
    assert_eq!(state.begin_rollout(&wish("rack=2")).expect("begun").nodes.len(), 1);
}

/// A file with a group whose nodes have another image.
fn canary() -> Settings {
    let text = "[network]\ninterface = \"lo\"\naddress = \"127.0.0.1/24\"\n[image.more]\nnext = \"next\"\n\
                [[group]]\nname = \"canary\"\nimage = \"next\"\nlabels = { tier = \"web\" }\n\
                [[node]]\nname = \"node1\"\nmac = \"b8:27:eb:00:01:01\"\naddress = \"127.0.0.11\"\n\
                [[node]]\nname = \"node2\"\nmac = \"b8:27:eb:00:01:02\"\naddress = \"127.0.0.12\"\n\
                group = \"canary\"\n";
    config::parse(std::path::Path::new("cluster.toml"), text).expect("valid")
}

/// What a node is given when it boots next.
fn image_of(state: &State, name: &str) -> u8 {
    let mac = state.named(name).expect("a node").kept.mac;
    state.image_for(mac).expect("an image").id.0[0]
}

#[test]
fn a_group_has_an_image_and_a_node_may_have_another() {
    let mut state = state();
    let next = || images().and("next", Image::numbered(8));
    let told = state.apply(&root(), canary(), next(), true);
    let keys: Vec<_> = told.changes.iter().map(|one| format!("{} {}", one.node, one.key)).collect();
    assert_eq!(
        keys,
        [" image next", "node2 group", "group canary image", "group canary label.tier"],
        "{told:?}"
    );
    assert_eq!(image_of(&state, "node2"), 7, "it was only asked");
    state.apply(&root(), canary(), next(), false);
    assert_eq!((image_of(&state, "node1"), image_of(&state, "node2")), (7, 8));
    assert!(state.named("node2").expect("a node").has_label("tier=web"));
    let set = |text: &str| [("image".to_owned(), Some(text.to_owned()))].into();
    state.set_node(&root(), "node2", &set("default")).expect("set");
    assert_eq!(image_of(&state, "node2"), 7, "its own wish goes before its group's");
    assert!(
        state
            .set_node(&root(), "node2", &set("old"))
            .is_err_and(|error| error.sentence().contains("[image.more]"))
    );
    state.set_node(&root(), "node1", &set("next")).expect("set");
    let told = state.apply(&root(), crate::head::state::tests::settings(), images(), false);
    assert!(told.changes.iter().any(|one| one.node == "node1" && one.key == "image" && one.to.is_none()));
    assert_eq!(image_of(&state, "node1"), 7, "the image is gone, and the wish with it");
}

#[test]
fn a_rollout_gives_another_image_in_turn_and_takes_it_back() {
    let mut state = state();
    state.apply(&root(), canary(), images().and("next", Image::numbered(8)), false);
    let token = boot(&mut state, MAC, ADDRESS);
    state.report(&token, ADDRESS, seen(true, false)).expect("orders");
    let wish = |group: Option<&str>, image: &str| RolloutWish {
        nodes: vec!["node1".parse().expect("a name")],
        group: group.map(str::to_owned),
        image: Some(image.to_owned()),
        ..RolloutWish::default()
    };
    assert!(
        state
            .begin_rollout(&wish(Some("canary"), "next"))
            .is_err_and(|error| error.contains("in the group canary"))
    );
    assert!(state.begin_rollout(&wish(None, "old")).is_err_and(|error| error.contains("no image old")));
    assert!(state.steer_rollout(Steer::Back).is_err(), "there was none");
    let begun = state.begin_rollout(&wish(None, "next")).expect("begun");
    assert_eq!(begun.gives.len(), 1);
    assert_eq!(image_of(&state, "node1"), 8, "it is its turn: all is well");
    let error = state.steer_rollout(Steer::Back).expect_err("it runs");
    assert!(error.contains("under way"), "{error} {:?}", state.rollout);
    state.steer_rollout(Steer::Stop).expect("stopped");
    let back = state.steer_rollout(Steer::Back).expect("taken back");
    assert_eq!(back.nodes.len(), 1);
    assert!(back.gives.values().all(|given| given.image.is_none()));
    // The first reboot is still ordered, and is waited for.
    assert_eq!(image_of(&state, "node1"), 8);
    state.nodes.get_mut(&MAC).expect("a node").kept.reboot = cluster::swarm::Reboot::No;
    state.step_rollout();
    assert_eq!(image_of(&state, "node1"), 7);
}
