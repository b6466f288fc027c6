//! A rack with three managers: two are ordered to reboot at once, then the power of everything goes, the head's too.

use std::time::Instant;

use cluster::plan::WipePolicy;
use cluster::view::NodeView;
use lab::control::HEAD;
use lab::spec::Machine;
use lab::{Lab, Power};

use crate::room::{SWARM_LIMIT, Wanted, boots, example, fledermaus, lab_up, members, names};
use crate::seen::{Seen, wait};

const NODES: [&str; 3] = ["node1", "node2", "node3"];

#[test]
fn the_quorum_outlives_orders_to_reboot_and_the_rack_a_power_cut() {
    let lab = lab_up(&Wanted {
        name: "rack",
        machine: Machine::Virt,
        nodes: 3,
        managers: 3,
        wipe: WipePolicy::OnChange,
        user_data: "#!/bin/sh\necho up\n",
    });
    lab.wait_ready(3, SWARM_LIMIT).unwrap();
    wait(&lab, "three managers", |seen| seen.managers() == 3);
    deploy_hello(&lab);
    wait(&lab, "all services", Seen::is_whole);

    let took = two_reboot_at_once(&lab);
    println!("two of three managers ordered to reboot at once: made new in turn, {took:.1} s");

    let before = boots(&lab);
    let took = the_power_goes(&lab);
    println!(
        "the rack and its head lost their power: all services run again {took:.1} s after it came back (on-change)"
    );
    assert!(before.iter().zip(boots(&lab)).all(|(before, after)| after == before + 1), "{before:?}");
    assert_eq!(members(&lab), names(&NODES), "no dead entry");
    lab.down().unwrap();
}

/// Nobody counts lost requests here: the tasks may end sooner than is good for those.
fn deploy_hello(lab: &Lab) {
    let text = std::fs::read_to_string(example("stacks/hello.yml")).unwrap();
    let hasty = text.replace("stop_grace_period: 90s", "stop_grace_period: 1s");
    assert_ne!(hasty, text);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), hasty).unwrap();
    fledermaus(lab, &["stack", "deploy", "hello", file.path().to_str().unwrap()]);
}

/// The second is held until the first is back: at no time are two of them away.
fn two_reboot_at_once(lab: &Lab) -> f64 {
    let before = boots(lab);
    let began = Instant::now();
    fledermaus(lab, &["node", "reboot", "node1"]);
    fledermaus(lab, &["node", "reboot", "node2"]);
    let (mut held, mut most_away) = (Vec::new(), 0);
    wait(lab, "two managers made new", |seen| {
        most_away = most_away.max(seen.away());
        held.extend(seen.swarm.held.iter().filter(|reason| reason.contains("is not back yet")).cloned());
        let is_new = |node: &NodeView| {
            let place = NODES.iter().position(|name| node.name.as_str() == *name).unwrap();
            node.boot == before[place] + u64::from(place < 2)
        };
        seen.nodes.iter().all(is_new) && seen.is_whole()
    });
    assert_eq!(most_away, 1, "one at a time");
    assert!(!held.is_empty(), "the second waits, and says for whom");
    assert_eq!(members(lab), names(&NODES), "no dead entry");
    began.elapsed().as_secs_f64()
}

/// Everything loses its power at once, and gets it back at once. Seconds until all is as before.
fn the_power_goes(lab: &Lab) -> f64 {
    let all = || std::iter::once(HEAD).chain(NODES);
    all().for_each(|name| lab.power(name, Power::Cut).unwrap());
    let began = Instant::now();
    all().for_each(|name| lab.power(name, Power::On).unwrap());
    let mut has_begun = false;
    wait(lab, "all services after the power cut", |seen| {
        // What the head remembers of before is no proof.
        has_begun |= seen.away() == NODES.len();
        has_begun && seen.is_whole()
    });
    began.elapsed().as_secs_f64()
}
