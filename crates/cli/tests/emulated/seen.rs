//! What the head sees of a rack of three managers, and waiting for it.

use std::time::Duration;

use cluster::swarm::Member;
use cluster::view::{NodeView, StackState, StackView, SwarmView};
use lab::Lab;

use crate::room::{SWARM_LIMIT, swarm};

/// What the head sees.
pub(crate) struct Seen {
    pub(crate) nodes: Vec<NodeView>,
    pub(crate) swarm: SwarmView,
    pub(crate) stacks: Vec<StackView>,
}

impl Seen {
    /// Whether every node is Ready and in rotation, the managers are as many as wanted, and every task runs.
    pub(crate) fn is_whole(&self) -> bool {
        let runs = |stack: &StackView| {
            stack.state == StackState::Deployed
                && !stack.services.is_empty()
                && stack.services.iter().all(|service| service.running == service.desired)
        };
        self.nodes.iter().all(|node| node.ready_at_ms.is_some())
            && self.swarm.in_rotation.len() == self.nodes.len()
            && self.managers() == 3
            && self.stacks.iter().all(runs)
    }

    pub(crate) fn managers(&self) -> usize {
        let manages = |member: &&Member| member.ready && member.manager && member.reachable;
        self.swarm.members.iter().filter(manages).count()
    }

    /// How many nodes are not Ready.
    pub(crate) fn away(&self) -> usize {
        self.nodes.iter().filter(|node| node.ready_at_ms.is_none()).count()
    }
}

/// Waits until `reached` says so of what the head sees.
pub(crate) fn wait(lab: &Lab, what: &str, reached: impl FnMut(&Seen) -> bool) {
    wait_at_most(lab, what, SWARM_LIMIT, reached);
}

/// The same for what takes longer.
pub(crate) fn wait_at_most(lab: &Lab, what: &str, limit: Duration, mut reached: impl FnMut(&Seen) -> bool) {
    let look = &mut |nodes: &[NodeView]| {
        let stacks = lab.client().get("/v1/stacks").unwrap();
        reached(&Seen { nodes: nodes.to_vec(), swarm: swarm(lab), stacks })
    };
    if let Err(error) = lab.wait_for(what, limit, look) {
        panic!("{error:#}\n{:?}\n{}", swarm(lab), lab.head_log(30));
    }
}
