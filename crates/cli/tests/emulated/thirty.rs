//! Three managers and two workers are made new thirty times, the first round while a client fetches a page.

use std::time::{Duration, Instant};

use cluster::plan::WipePolicy;
use cluster::swarm::{Member, Rollout, RolloutState};
use lab::Lab;
use lab::spec::Machine;

use crate::load::{Quorum, roll_out_under_load};
use crate::room::{SWARM_LIMIT, Wanted, boots, example, fledermaus, lab_up, members, names, swarm};
use crate::seen::{Seen, wait, wait_at_most};

const NODES: [&str; 5] = ["node1", "node2", "node3", "node4", "node5"];
/// Each makes all nodes new.
const ROLLOUTS: usize = 6;
/// Five emulated boards share two cores: minutes a node.
const ROLLOUT_LIMIT: Duration = Duration::from_secs(NODES.len() as u64 * 400);

#[test]
#[ignore = "an hour on a quiet machine: run by hand, with `--run-ignored only`; not run as a whole yet"]
fn after_thirty_reprovisions_the_swarm_is_exactly_the_live_nodes() {
    let lab = lab_up(&Wanted {
        name: "thirty",
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
    let (before, cluster_id) = (boots(&lab), swarm(&lab).cluster_id);

    let began = Instant::now();
    let fetches = roll_out_under_load(&lab, NODES.len(), ROLLOUT_LIMIT);
    println!(
        "five nodes made new under load: {:.0} s, {fetches} fetches, none failed",
        began.elapsed().as_secs_f64()
    );
    fledermaus(&lab, &["stack", "remove", "hello"]);
    for number in 2..=ROLLOUTS {
        let began = Instant::now();
        roll_out(&lab);
        println!("rollout {number} of {ROLLOUTS}: {:.0} s", began.elapsed().as_secs_f64());
    }

    wait(&lab, "all in rotation", Seen::is_whole);
    let made_new: Vec<u64> = before.iter().zip(boots(&lab)).map(|(before, after)| after - before).collect();
    assert_eq!(made_new, [ROLLOUTS as u64; NODES.len()], "each once a rollout");
    assert_eq!(members(&lab), names(&NODES), "exactly the live nodes");
    let last = swarm(&lab);
    assert!(last.members.iter().all(|member| member.ready && !member.drained), "{last:?}");
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

/// Makes all nodes new in turn; at no look is the quorum lost.
fn roll_out(lab: &Lab) {
    fledermaus(lab, &["rollout", "start", "--detach"]);
    let mut quorum = Quorum::default();
    wait_at_most(lab, "the rollout's end", ROLLOUT_LIMIT, |seen| {
        quorum.assert(&seen.swarm);
        let rollout: Rollout = lab.client().get("/v1/rollout").unwrap();
        assert!(!matches!(rollout.state, RolloutState::Stopped { .. }), "{rollout:?}");
        rollout.state == RolloutState::Done
    });
}
