//! Three managers are made new thirty times.

use std::time::{Duration, Instant};

use cluster::plan::WipePolicy;
use cluster::swarm::{Rollout, RolloutState};
use lab::Lab;
use lab::spec::Machine;

use crate::load::Quorum;
use crate::room::{SWARM_LIMIT, Wanted, fledermaus, lab_up, members, names, swarm, told_to_go};
use crate::seen::{wait, wait_at_most};

const NODES: [&str; 3] = ["node1", "node2", "node3"];
/// Each makes all nodes new.
const ROLLOUTS: u64 = 10;
/// Emulated boards share two cores: minutes a node.
const ROLLOUT_LIMIT: Duration = Duration::from_secs(NODES.len() as u64 * 300);

#[test]
#[ignore = "half an hour: run by hand, with `--run-ignored only`"]
fn after_thirty_reprovisions_the_swarm_is_exactly_the_live_nodes() {
    let lab = lab_up(&Wanted {
        name: "thirty",
        machine: Machine::Virt,
        nodes: 3,
        managers: 3,
        wipe: WipePolicy::Always,
        user_data: "#!/bin/sh\necho up\n",
    });
    lab.wait_ready(NODES.len(), SWARM_LIMIT).unwrap();
    wait(&lab, "three managers", |seen| seen.managers() == 3);
    let cluster_id = swarm(&lab).cluster_id;
    for number in 1..=ROLLOUTS {
        let began = Instant::now();
        roll_out(&lab);
        println!("rollout {number} of {ROLLOUTS}: {:.0} s", began.elapsed().as_secs_f64());
    }
    wait(&lab, "three managers again", |seen| seen.managers() == 3);
    assert_eq!(told_to_go(&lab, &NODES), [ROLLOUTS; NODES.len()], "each once a rollout");
    assert_eq!(members(&lab), names(&NODES), "exactly the live nodes");
    let last = swarm(&lab);
    assert!(last.members.iter().all(|member| member.ready && !member.drained), "{last:?}");
    assert_eq!(last.cluster_id, cluster_id, "the swarm lived on");
    lab.down().unwrap();
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
