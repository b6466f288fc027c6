//! What a rack goes through in its years, one after another in one lab of three managers that wipe at every boot: a stack's secret
//! is changed, two nodes do not hear each other, the head dies in the middle of a rollout, a manager's card is swapped, a board dies
//! and another takes its place, all power goes, and a node never returns. After each: one swarm, of exactly the live nodes, and
//! the services run.

use std::time::{Duration, Instant};

use cluster::plan::WipePolicy;
use cluster::swarm::{Progress, Rollout, RolloutState};
use cluster::view::{NodeView, SwarmEvent};
use lab::control::{CardDeed, CardKind, HEAD};
use lab::spec::Machine;
use lab::{Lab, Power};

use crate::room::{
    SWARM_LIMIT, Wanted, boots, events, fledermaus, lab_up, members, names, swarm, told_to_go,
};
use crate::seen::{Seen, wait, wait_at_most};

const NODES: [&str; 3] = ["node1", "node2", "node3"];
/// Longer than Docker's managers take to notice that one of them is silent.
const PARTED: Duration = Duration::from_secs(20);

/// Ten minutes after a node was heard last its entry goes; two more for Docker to notice, and to move what ran there.
const NEVER_RETURNS_LIMIT: Duration = Duration::from_secs(12 * 60);

/// A page made of a config and a secret.
const COMPOSE: &str = "services:
  web:
    image: fledermaus/hello:1
    command:
      - /bin/busybox
      - sh
      - -c
      - busybox mkdir -p /www && busybox cat /page /run/secrets/word > /www/index.html && exec busybox httpd -f -p 8080 -h /www
    ports: [\"80:8080\"]
    configs: [{source: page, target: /page}]
    secrets: [word]
    healthcheck: {test: [CMD, /bin/busybox, wget, -q, -O, /dev/null, \"http://127.0.0.1:8080/\"], start_period: 60s, start_interval: 2s, interval: 30s}
    stop_grace_period: 1s
    deploy: {replicas: 3, placement: {max_replicas_per_node: 1}}
configs: {page: {file: ./page}}
secrets: {word: {file: word}}
";

#[test]
#[ignore = "half an hour: run by hand, with `--run-ignored only`; docs/measurements.md has a run"]
fn a_swarm_outlives_what_a_rack_goes_through() {
    let lab = lab_up(&Wanted {
        name: "outages",
        machine: Machine::Virt,
        nodes: 3,
        managers: 3,
        wipe: WipePolicy::Always,
        user_data: "#!/bin/sh\necho up\n",
    });
    lab.wait_ready(3, SWARM_LIMIT).unwrap();
    wait(&lab, "three managers", |seen| seen.managers() == 3);
    deploy(&lab, "first");
    told("a changed secret", &lab, |lab| deploy(lab, "second"));
    told("two nodes do not hear each other", &lab, two_nodes_are_parted);
    told("the head dies in the middle of a rollout", &lab, the_head_dies);
    told("a manager's card is swapped", &lab, a_card_is_swapped);
    told("a board dies, and another takes its place", &lab, a_board_is_replaced);
    told("the rack and its head lose their power (always)", &lab, the_power_goes);
    told("a node does not return for a quarter of an hour", &lab, a_node_does_not_return);
    lab.down().unwrap();
}

/// Has something happen, and says how long it took until all was as it should be.
fn told(what: &str, lab: &Lab, happens: fn(&Lab)) {
    let began = Instant::now();
    happens(lab);
    assert_eq!(members(lab), names(&NODES), "exactly the live nodes after: {what}");
    println!("{what}: {:.1} s", began.elapsed().as_secs_f64());
}

/// Deploys the page with that secret, and waits until it is the page of all nodes.
fn deploy(lab: &Lab, word: &str) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("page.yml", COMPOSE), ("page", "the word is "), ("word", word)] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let shown = {
        fledermaus(lab, &["stack", "deploy", "page", folder.path().join("page.yml").to_str().unwrap()]);
        fledermaus(lab, &["stack", "show", "page"])
    };
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("secrets that the head holds: word") && !shown.contains(word), "{shown}");
    let page = format!("the word is {word}");
    wait(lab, &page, |seen| seen.is_whole() && shows(lab, &page));
    assert!(!lab.head_log(10_000).contains(&page), "a secret is in the head's log");
}

/// Whether every node shows the page; each fetch may reach another replica.
fn shows(lab: &Lab, page: &str) -> bool {
    let mut fetches = (0..9).map(|number| lab.fetch(&format!("http://10.78.0.{}/", 11 + number % 3)));
    fetches.all(|fetched| fetched.is_ok_and(|fetched| fetched.body == page))
}

/// Two managers do not hear each other, but the third and the head hear both: it stays one swarm, and nobody is wiped.
fn two_nodes_are_parted(lab: &Lab) {
    let (before, swarm_before) = (boots(lab), swarm(lab).cluster_id);
    lab.part(Some(["node1", "node2"])).unwrap();
    let until = Instant::now() + PARTED;
    wait(lab, "the parting has lasted", |_| Instant::now() >= until);
    lab.part(None).unwrap();
    wait(lab, "all services after the parting", Seen::is_whole);
    assert_eq!((boots(lab), swarm(lab).cluster_id), (before, swarm_before));
}

/// The head is killed while a node is away, and comes back: the rollout goes on, and each node is made new once.
fn the_head_dies(lab: &Lab) {
    let before = boots(lab);
    fledermaus(lab, &["rollout", "start", "node2", "node3", "--detach", "--pause", "1"]);
    wait(lab, "a node is away", |seen| seen.away() == 1);
    lab.power(HEAD, Power::Cut).unwrap();
    lab.power(HEAD, Power::On).unwrap();
    let mut most_away = 0;
    wait(lab, "the rollout's end", |seen| {
        most_away = most_away.max(seen.away());
        let rollout: Rollout = lab.client().get("/v1/rollout").unwrap();
        assert!(!matches!(rollout.state, RolloutState::Stopped { .. }), "{rollout:?}");
        rollout.state == RolloutState::Done
            && rollout.nodes.iter().all(|(_, progress)| matches!(progress, Progress::Done { .. }))
    });
    assert_eq!(most_away, 1, "one at a time");
    wait(lab, "all services after the rollout", Seen::is_whole);
    // A boot that the head's death interrupted is begun again, and counts as another.
    assert_eq!(boots(lab)[0], before[0]);
    assert_eq!(told_to_go(lab, &["node2", "node3"]), [1, 1], "{:?}", events(lab));
}

/// A manager comes back with another card, and with nothing of what it was.
fn a_card_is_swapped(lab: &Lab) {
    let (before, swarm_before) = (boots(lab), swarm(lab).cluster_id);
    lab.power("node2", Power::Cut).unwrap();
    lab.card("node2", CardDeed::Insert(CardKind::Blank)).unwrap();
    lab.power("node2", Power::On).unwrap();
    wait(lab, "all services after a card was swapped", |seen| {
        seen.nodes.iter().all(|node| node.name.as_str() != "node2" || node.boot > before[1])
            && seen.is_whole()
    });
    assert_eq!(boots(lab), [before[0], before[1] + 1, before[2]]);
    assert_eq!(swarm(lab).cluster_id, swarm_before);
}

/// A manager's board dies. It is forgotten: its entry goes, and the tokens that it knew. Another board has its name.
fn a_board_is_replaced(lab: &Lab) {
    lab.power("node3", Power::Cut).unwrap();
    wait(lab, "the managers notice", |seen| {
        seen.swarm.members.iter().filter(|member| member.ready).count() == 2
    });
    let before = swarm(lab).cluster_id;
    lab.replace("node3").unwrap();
    let file = lab.place().configuration();
    let mac = |nodes: &[NodeView]| nodes.iter().find(|node| node.name.as_str() == "node3").unwrap().mac;
    let old = mac(&lab.nodes().unwrap());
    let board = lab.status().unwrap().boards.remove(2).mac;
    assert_ne!(old, board);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(&old.to_string(), &board.to_string())).unwrap();
    fledermaus(lab, &["apply"]);
    fledermaus(lab, &["node", "forget", "node3"]);
    wait(lab, "the dead entry is gone", |_| members(lab) == names(&NODES[..2]));
    lab.power("node3", Power::On).unwrap();
    wait(lab, "another board is node3", |seen| mac(&seen.nodes) == board && seen.is_whole());
    assert_eq!(swarm(lab).cluster_id, before);
    let rotated = |event: &&SwarmEvent| event.text.contains("join tokens are made anew");
    assert_eq!(events(lab).iter().filter(rotated).count(), 1, "{:?}", events(lab));
}

/// Everything loses its power at once: the swarm is formed anew, and the head's stack is in it, its secret too.
fn the_power_goes(lab: &Lab) {
    let (before, swarm_before) = (boots(lab), swarm(lab).cluster_id);
    let all = || std::iter::once(HEAD).chain(NODES);
    all().for_each(|name| lab.power(name, Power::Cut).unwrap());
    all().for_each(|name| lab.power(name, Power::On).unwrap());
    wait(lab, "all services after the power cut", |seen| {
        seen.swarm.cluster_id != swarm_before && seen.is_whole() && shows(lab, "the word is second")
    });
    assert!(before.iter().zip(boots(lab)).all(|(before, after)| after == before + 1), "{before:?}");
}

/// A manager is silent for so long that its entry goes by itself, without a word of the operator. It joins anew when it comes
/// back after all.
fn a_node_does_not_return(lab: &Lab) {
    let swarm_before = swarm(lab).cluster_id;
    let began = Instant::now();
    lab.power("node3", Power::Cut).unwrap();
    wait(lab, "the head says that it is down", |seen| {
        seen.swarm.held.iter().any(|reason| reason.starts_with("node3 is down: its entry is removed"))
    });
    wait_at_most(lab, "its entry is gone", NEVER_RETURNS_LIMIT, |_| members(lab) == names(&NODES[..2]));
    println!("its entry is gone {:.0} s after its power", began.elapsed().as_secs_f64());
    lab.power("node3", Power::On).unwrap();
    wait(lab, "all services after it came back", Seen::is_whole);
    assert_eq!(swarm(lab).cluster_id, swarm_before);
}
