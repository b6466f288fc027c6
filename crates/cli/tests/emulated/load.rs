//! A client that fetches the page while nodes are made new, as the cluster's names tell it: no fetch may fail.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use cluster::swarm::{Member, Rollout, RolloutState};
use cluster::view::SwarmView;
use lab::Lab;

use crate::room::{fledermaus, swarm};

/// How long a worker that was promoted may take until the managers hear it.
const JOINING_LIMIT: Duration = Duration::from_secs(30);

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
    let mut quorum = Quorum::default();
    loop {
        let seen = swarm(lab);
        quorum.assert(&seen);
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

/// Who was seen as a manager that the others hear.
#[derive(Default)]
pub(crate) struct Quorum {
    /// Entries of managers that are, or were, heard since they became one.
    heard: HashSet<String>,
    /// Since when a manager that was promoted is not heard yet.
    joining: HashMap<String, Instant>,
}

impl Quorum {
    /// Whether the managers that hear each other are a majority of all that there are. Docker lists a worker as a manager as
    /// soon as its promotion is agreed upon, and says "unreachable" of it for the seconds until it has the log: such a one has
    /// not been lost.
    pub(crate) fn assert(&mut self, seen: &SwarmView) {
        let managers: Vec<&Member> = seen.members.iter().filter(|member| member.manager).collect();
        self.heard.retain(|id| managers.iter().any(|member| member.id == *id));
        self.heard.extend(managers.iter().filter(|member| member.reachable).map(|member| member.id.clone()));
        let is_joining = |member: &&&Member| !self.heard.contains(&member.id);
        let joining: HashSet<&String> = managers.iter().filter(is_joining).map(|member| &member.id).collect();
        self.joining.retain(|id, _| joining.contains(id));
        for id in &joining {
            let since = self.joining.entry((*id).clone()).or_insert_with(Instant::now);
            assert!(since.elapsed() < JOINING_LIMIT, "{id} does not become a manager: {seen:?}");
        }
        let reachable = managers.iter().filter(|member| member.reachable).count();
        assert!(
            reachable > (managers.len() - joining.len()) / 2,
            "the quorum is lost, or no manager answers: {seen:?}"
        );
    }
}
