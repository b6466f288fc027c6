//! A client that fetches the page while nodes are made new, as the cluster's names tell it: no fetch may fail.

use std::time::{Duration, Instant};

use cluster::swarm::{Member, Rollout, RolloutState};
use cluster::view::SwarmView;
use lab::Lab;

use crate::room::{fledermaus, swarm};

/// Makes all nodes new in turn while a client fetches the page through each node that is in rotation. Returns how many fetches
/// there were.
pub(crate) fn roll_out_under_load(lab: &Lab, nodes: usize, limit: Duration) -> usize {
    let began: Rollout = {
        let started = fledermaus(lab, &["rollout", "start", "--detach", "--json", "--pause", "1"]);
        serde_json::from_slice(&started.stdout).unwrap()
    };
    assert_eq!(began.nodes.len(), nodes, "{began:?}");
    let began_at = Instant::now();
    let (mut fetches, mut failures) = (0, Vec::new());
    loop {
        let seen = swarm(lab);
        assert_quorum(&seen);
        for name in seen.in_rotation {
            let number: u8 = name.as_str().trim_start_matches("node").parse().unwrap();
            let page = lab.fetch(&format!("http://10.78.0.{}/", 10 + number));
            fetches += 1;
            let failure = match page {
                Ok(page) if page.status == 200 => continue,
                Ok(page) => format!("status {}", page.status),
                Err(error) => format!("{error:#}"),
            };
            failures.push(format!("{} s: {name}: {failure}", began_at.elapsed().as_secs()));
        }
        let rollout: Rollout = lab.client().get("/v1/rollout").unwrap();
        match rollout.state {
            RolloutState::Done => break,
            RolloutState::Running => {
                assert!(began_at.elapsed() < limit, "{rollout:?}\n{}", lab.head_log(50));
            }
            RolloutState::Stopped { reason } => panic!("{reason}"),
        }
    }
    assert!(fetches > 100, "{fetches} fetches");
    assert!(failures.is_empty(), "{} of {fetches} fetches failed: {failures:#?}", failures.len());
    fetches
}

/// Whether the managers that hear each other are a majority of all that there are.
pub(crate) fn assert_quorum(seen: &SwarmView) {
    let managers: Vec<&Member> = seen.members.iter().filter(|member| member.manager).collect();
    let reachable = managers.iter().filter(|member| member.reachable).count();
    assert!(reachable > managers.len() / 2, "the quorum is lost, or no manager answers: {seen:?}");
}
