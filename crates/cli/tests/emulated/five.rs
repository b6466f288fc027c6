//! Three managers and two workers are made new by one rollout, while a client fetches a page through each of them.

use std::time::{Duration, Instant};

use cluster::plan::WipePolicy;
use cluster::swarm::Member;
use lab::spec::Machine;

use crate::load::roll_out_under_load;
use crate::room::{SWARM_LIMIT, Wanted, example, fledermaus, lab_up, members, names, swarm, told_to_go};
use crate::seen::{Seen, wait};

const NODES: [&str; 5] = ["node1", "node2", "node3", "node4", "node5"];
/// Five emulated boards share two cores: minutes a node.
const ROLLOUT_LIMIT: Duration = Duration::from_secs(NODES.len() as u64 * 400);

#[test]
#[ignore = "a quarter of an hour: run by hand, with `--run-ignored only`"]
fn three_managers_and_two_workers_are_made_new_without_a_failed_fetch() {
    let lab = lab_up(&Wanted {
        name: "five",
        machine: Machine::Virt,
        nodes: 5,
        managers: 3,
        wipe: WipePolicy::Always,
        user_data: "#!/bin/sh\necho up\n",
    });
    lab.wait_ready(NODES.len(), 2 * SWARM_LIMIT).unwrap();
    wait(&lab, "three managers", |seen| seen.managers() == 3);
    for worker in ["node4", "node5"] {
        fledermaus(&lab, &["node", "set", worker, "role=worker"]);
    }
    wait(&lab, "two workers", |seen| seen.managers() == 3 && roles_are_right(&seen.swarm.members));
    fledermaus(&lab, &["stack", "deploy", "hello", &example("stacks/hello.yml")]);
    wait(&lab, "all services", Seen::is_whole);
    let cluster_id = swarm(&lab).cluster_id;

    let began = Instant::now();
    let fetches = roll_out_under_load(&lab, NODES.len(), ROLLOUT_LIMIT);
    let seconds = began.elapsed().as_secs_f64();
    println!("five nodes made new under load: {seconds:.0} s, {fetches} fetches, none failed");

    wait(&lab, "all in rotation", Seen::is_whole);
    assert_eq!(told_to_go(&lab, &NODES), [1; NODES.len()], "each once");
    assert_eq!(members(&lab), names(&NODES), "exactly the live nodes");
    let last = swarm(&lab);
    assert!(roles_are_right(&last.members), "{last:?}");
    assert_eq!(last.cluster_id, cluster_id, "the swarm lived on");
    lab.down().unwrap();
}

/// Three managers, none of them a node that is never to be one.
fn roles_are_right(members: &[Member]) -> bool {
    let managers = members.iter().filter(|member| member.manager).map(|member| member.hostname.as_str());
    let mut managers: Vec<&str> = managers.collect();
    managers.sort_unstable();
    managers == NODES[..3]
}
