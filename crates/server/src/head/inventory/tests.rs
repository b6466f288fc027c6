//! What operators change of nodes, over restarts and files that change.

use super::*;
use crate::config;
use crate::head::state::tests::{ADDRESS, MAC, boot, images, state};
use crate::store::Memory;

fn root() -> Principal {
    Principal::of_socket(Some(0))
}

fn set(pairs: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<String>> {
    pairs.iter().map(|(key, text)| ((*key).to_owned(), text.map(str::to_owned))).collect()
}

fn settings(nodes: &str, enrolment: &str) -> Settings {
    let text = format!(
        "[network]\ninterface = \"lo\"\naddress = \"127.0.0.1/24\"\nenrolment = \"{enrolment}\"\n{nodes}"
    );
    config::parse(std::path::Path::new("cluster.toml"), &text).expect("valid")
}

/// The head starts anew with another file and what is remembered of its nodes.
fn restarted(state: &State, settings: Settings) -> State {
    let nodes = state.nodes.values().map(|node| node.kept.clone()).collect();
    let network = settings.network.on("lo".to_owned(), (Ipv4Addr::LOCALHOST, 24));
    State::new(settings, &network, images(), Memory { nodes, ..Memory::default() }).expect("a state")
}

const NODE1: &str = "[[node]]\nname = \"node1\"\nmac = \"b8:27:eb:00:01:01\"\naddress = \"127.0.0.11\"\n";

#[test]
fn what_an_operator_sets_outlives_a_restart_until_the_file_says_otherwise() {
    let mut state = state();
    let wishes =
        set(&[("role", Some("worker")), ("label.rack", Some("north")), ("address", Some("127.0.0.20"))]);
    let changed = state.set_node(&root(), "node1", &wishes).expect("set");
    assert_eq!(changed.len(), 3);
    assert_eq!(changed[0].from.as_deref(), Some("127.0.0.11"));
    let same = restarted(&state, settings(NODE1, "pi"));
    let node = same.named("node1").expect("it is there");
    assert_eq!(
        (node.fixed, node.labels.get("rack").map(String::as_str)),
        (Some([127, 0, 0, 20].into()), Some("north"))
    );
    let file = NODE1.replace("127.0.0.11", "127.0.0.30");
    let changed = restarted(&same, settings(&file, "pi"));
    let node = changed.named("node1").expect("it is there");
    assert_eq!(node.fixed, Some([127, 0, 0, 30].into()), "the file changed this");
    assert_eq!(node.kept.wishes.get("role").map(String::as_str), Some("worker"), "and not this");
}

#[test]
fn what_cannot_be_is_refused_whole() {
    let mut state = state();
    let before = state.named("node1").expect("a node").kept.wishes.clone();
    for (wish, sentence) in [
        (("address", Some("127.0.0.12")), "belongs to node2"),
        (("address", Some("127.0.0.1")), "is the head's"),
        (("address", Some("127.0.0.200")), "is in the pool"),
        (("address", Some("127.0.0.0")), "is the network's own"),
        (("address", Some("127.0.0.255")), "is the network's own, its broadcasts'"),
        (("address", Some("10.0.0.1")), "in none of the cluster's networks"),
        (("name", Some("node2")), "is taken"),
        (("name", Some("head")), "is taken"),
        (("user_data", Some("nothing.sh")), "there is no nothing.sh"),
        (("colour", None), "is no key here"),
        (("role", Some("king; rm -rf /")), "write manager, worker or any"),
    ] {
        let refused =
            state.set_node(&root(), "node1", &set(&[("label.a", Some("b")), wish])).expect_err(sentence);
        assert!(format!("{refused:?}").contains(sentence), "{refused:?}");
    }
    let many: BTreeMap<_, _> =
        (0..40).map(|number| (format!("label.l{number}"), Some(String::new()))).collect();
    assert!(matches!(state.set_node(&root(), "node1", &many), Err(Refusal::Wrong(_))));
    assert!(matches!(state.set_node(&root(), "nobody", &set(&[])), Err(Refusal::NotThere(_))));
    assert_eq!(state.named("node1").expect("a node").kept.wishes, before);
}

#[test]
fn a_node_that_runs_takes_its_new_name_and_address_when_it_boots_next() {
    let mut state = state();
    boot(&mut state, MAC, ADDRESS);
    state.transferred(MAC, cluster::Phase::Kernel, cluster::phase::Step::Done);
    state
        .set_node(&root(), "node1", &set(&[("name", Some("web")), ("address", Some("127.0.0.40"))]))
        .expect("set");
    let node = state.named("node1").expect("still");
    assert_eq!(state.address(node), Some(ADDRESS), "the swarm knows it there");
    let taken = state.set_node(&root(), "node2", &set(&[("name", Some("web"))]));
    assert!(matches!(taken, Err(Refusal::Conflict(_))), "it is promised");
    state.now_ms += 60_000;
    state.begin_boot(MAC);
    assert!(state.named("node1").is_none() && state.named("web").is_some());
    let unseen = state.set_node(&root(), "node2", &set(&[("name", Some("db"))]));
    assert!(unseen.is_ok() && state.named("db").is_some(), "nobody knows it by the old one");
}

#[test]
fn a_pi_waits_for_approval_and_gets_no_address_before() {
    let new = Mac([0xb8, 0x27, 0xeb, 9, 9, 9]);
    let mut state = restarted(&state(), settings("", "ask"));
    assert!(state.nodes.is_empty(), "neither configured nor approved");
    let discover = crate::head::state::tests::request(netboot::dhcp::Kind::Discover, new);
    assert!(state.dhcp(&discover).reply.is_err());
    let stranger = crate::head::state::tests::request(netboot::dhcp::Kind::Discover, Mac([2, 0, 0, 0, 0, 9]));
    assert!(state.dhcp(&stranger).reply.is_err());
    assert_eq!(state.waiting.keys().copied().collect::<Vec<_>>(), [new], "a stranger is none who waits");
    state.approve(&root(), new).expect("approved");
    assert!(state.waiting.is_empty());
    assert!(state.dhcp(&discover).reply.is_ok());
    assert!(matches!(state.approve(&root(), new), Err(Refusal::Conflict(_))));
    let again = restarted(&state, settings("", "ask"));
    assert!(again.nodes.contains_key(&new), "approved for good");
    for last in 0..=255 {
        for before in [1, 2] {
            let mac = Mac([0xb8, 0x27, 0xeb, 1, before, last]);
            state.dhcp(&crate::head::state::tests::request(netboot::dhcp::Kind::Discover, mac));
        }
    }
    assert_eq!(state.waiting.len(), WAITING_LIMIT);
}

#[test]
fn apply_tells_what_it_would_do_does_it_and_export_gives_the_same_file_back() {
    let mut state = state();
    state.set_node(&root(), "node1", &set(&[("role", Some("worker")), ("label.a", Some("b"))])).expect("set");
    let exported = state.export();
    let same = settings(&exported, "pi");
    assert_eq!(state.apply(&root(), same, images(), true).changes, [], "{exported}");
    let file = settings(&NODE1.replace("127.0.0.11", "127.0.0.50"), "never");
    let told = state.apply(&root(), file.clone(), images(), true);
    let changes: Vec<String> =
        told.changes.iter().map(|change| format!("{} {}", change.node, change.key)).collect();
    assert_eq!(changes, ["node1 address", "node1 label.a", "node1 role", "node2 address", "node2 name"]);
    assert_eq!(told.restart, ["[network]"]);
    assert_eq!(state.named("node1").expect("a node").fixed, Some(ADDRESS), "a dry run");
    assert_eq!(state.apply(&root(), file.clone(), images(), false), told);
    assert_eq!(state.named("node1").expect("a node").fixed, Some([127, 0, 0, 50].into()));
    assert_eq!(state.apply(&root(), file, images(), true).changes, []);
}

/// `managers` and the tables [boot] and [user_data] were taken over without a word, and [power] was not.
#[test]
fn apply_tells_and_takes_over_what_holds_for_the_whole_cluster() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("menu.ipxe"), "#!ipxe\n").expect("written");
    let mut state = state();
    let nodes = state.export();
    let tables = format!(
        "{nodes}[boot]\nwipe = \"on-change\"\nfiles = '{}'\nipxe = \"menu.ipxe\"\n[swarm]\nmanagers = 3\n\
         [power]\nhook = \"/bin/true\"\n",
        folder.path().display()
    );
    let file = settings(&tables, "pi");
    let told = state.apply(&root(), file.clone(), images(), true);
    let keys: Vec<&str> = told.changes.iter().map(|change| change.key.as_str()).collect();
    assert_eq!(keys, ["[boot] wipe", "[swarm] managers", "[power]"]);
    assert_eq!(told.restart, ["[boot] files", "[boot] ipxe"]);
    assert!(state.settings.managers == 1 && state.settings.power.is_none(), "a dry run");
    assert_eq!(state.apply(&root(), file.clone(), images(), false), told);
    assert!(state.settings.managers == 3 && state.settings.power.is_some());
    let again = state.apply(&root(), file, images(), true);
    assert_eq!((again.changes, again.restart), (vec![], told.restart), "it still has to be restarted");
}

#[test]
fn a_node_is_forgotten_once_the_file_does_not_name_it() {
    let mut state = state();
    assert!(matches!(state.forget(&root(), "node1"), Err(Refusal::Conflict(_))));
    state.apply(&root(), settings("", "pi"), images(), false);
    state.take_writes();
    state.forget(&root(), "node1").expect("forgotten");
    assert!(state.named("node1").is_none());
    let writes = state.take_writes();
    assert!(matches!(&writes[..], [Write::NoNode(mac), Write::Audit(_)] if *mac == MAC), "{writes:?}");
}

/// The file gives the name of a board that died to another, and the old one is forgotten.
#[test]
fn a_board_that_replaces_another_gets_its_name_when_that_is_forgotten() {
    let mut state = state();
    // One of a smaller address, which would be found first.
    let mac: Mac = "b8:27:eb:00:00:01".parse().expect("an address");
    boot(&mut state, MAC, ADDRESS);
    let file = NODE1.replace(&MAC.to_string(), &mac.to_string());
    state.apply(&root(), settings(&file, "pi"), images(), false);
    assert_eq!(state.named("node1").map(|node| node.kept.mac), Some(MAC), "it has it until it is forgotten");
    state.forget(&root(), "node1").expect("forgotten");
    let heir = state.named("node1").expect("the new board");
    assert_eq!((heir.kept.mac, heir.fixed), (mac, Some(ADDRESS)));
    assert!(!state.nodes.contains_key(&MAC));
}
