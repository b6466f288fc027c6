//! The head is killed again and again while clients boot and an operator changes things: what it has said still holds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use cluster::plan::WipePolicy;
use cluster::view::{NodeChange, NodeDetail, NodeSet};
use lab::Lab;
use lab::control::{HEAD, Power};
use lab::spec::Machine;
use lab::storm::{Outcome, Plan, Profile};

use crate::room::{Wanted, lab_up};

const KILLS: usize = 50;
const CLIENTS: u16 = 60;
/// How long it lives between two kills: at least this, and up to three times as long.
const LIFE: Duration = Duration::from_millis(150);
/// From its start to its first answer: half the times, and always.
const ANSWER_LIMIT: Duration = Duration::from_millis(500);
const WORST_LIMIT: Duration = Duration::from_secs(5);

#[test]
fn a_head_that_is_killed_fifty_times_keeps_what_it_said() {
    let lab = lab_up(&Wanted {
        name: "killed50",
        machine: Machine::Virt,
        nodes: 0,
        managers: 1,
        wipe: WipePolicy::Always,
        user_data: "echo up",
    });
    let spread_ms = 30_000;
    let plan = Plan { clients: CLIENTS, profile: Profile::Uboot, spread_ms, head_late_ms: 0 };
    let (storm, mut starts) = std::thread::scope(|threads| {
        let storm = threads.spawn(|| lab.storm(plan));
        let starts = kill(&lab);
        (storm.join().unwrap().unwrap(), starts)
    });
    starts.sort();
    println!(
        "{KILLS} kills: answered again {:?} after the start, at worst {:?}; then {} of {CLIENTS} clients booted",
        starts[KILLS / 2],
        starts[KILLS - 1],
        storm.booted
    );
    the_leases_hold(&lab, &storm);
    assert_eq!(storm.booted, usize::from(CLIENTS), "{:?}", storm.restarts);
    // A token that was lost would be refused.
    assert!(!storm.restarts.iter().any(|(why, _)| why.contains("status 4")), "{:?}", storm.restarts);
    assert!(starts[KILLS / 2] <= ANSWER_LIMIT && starts[KILLS - 1] <= WORST_LIMIT, "{starts:?}");
    lab.down().unwrap();
}

/// Kills it at moments that differ, and starts it. How long each start took until an operator was answered.
fn kill(lab: &Lab) -> Vec<Duration> {
    let limit = Instant::now() + WORST_LIMIT;
    while lab.nodes().unwrap().is_empty() {
        assert!(Instant::now() < limit, "no client has asked");
    }
    let node = lab.nodes().unwrap()[0].name.to_string();
    let (mut label, mut starts) = (0, Vec::new());
    for round in 0..KILLS {
        // 37 is no divisor of 100: every hundredth of the range has its turn.
        let life = LIFE + LIFE * 2 * u32::try_from(round * 37 % 100).unwrap() / 100;
        let until = Instant::now() + life;
        while Instant::now() < until {
            label += 1;
            set_label(lab, &node, label);
        }
        lab.power(HEAD, Power::Cut).unwrap();
        let began = Instant::now();
        lab.power(HEAD, Power::On).unwrap();
        let detail: NodeDetail = lab.client().get(&format!("/v1/nodes/{node}")).unwrap();
        starts.push(began.elapsed());
        assert_eq!(detail.wishes.get("label.turn"), Some(&label.to_string()), "round {round}");
    }
    starts
}

/// When this returns, the head has said that it is done.
fn set_label(lab: &Lab, node: &str, value: u32) {
    let set = BTreeMap::from([("label.turn".to_owned(), Some(value.to_string()))]);
    let changes: Vec<NodeChange> =
        lab.client().ask_by("PATCH", &format!("/v1/nodes/{node}"), &NodeSet { set }).unwrap();
    assert_eq!(changes.len(), 1, "{changes:?}");
}

/// Nobody was given two addresses, no address was given to two, and the head knows them all.
fn the_leases_hold(lab: &Lab, storm: &Outcome) {
    let (macs, addresses): (BTreeSet<_>, BTreeSet<_>) = storm.acknowledged.iter().copied().unzip();
    assert_eq!((macs.len(), addresses.len()), (storm.acknowledged.len(), storm.acknowledged.len()));
    assert_eq!(macs.len(), usize::from(CLIENTS));
    let nodes = lab.nodes().unwrap();
    let known: BTreeSet<_> = nodes.iter().filter_map(|node| Some((node.mac, node.address?))).collect();
    assert!(known.is_superset(&storm.acknowledged), "{known:?} {:?}", storm.acknowledged);
}
