//! What the head decides about the swarm from what the agents report. No IO; agents act.
//!
//! ```text
//!            no swarm known                 a node is empty and a manager answers
//!   Unformed ───init──► Forming ──► Formed ───join──► worker ──promote──► manager (as many as wanted)
//!      ▲                              │
//!      │  so many of the managers     │  a reboot is wanted, one node at a time:
//!      │  came back empty that their  ├──► promote a substitute ─► drain ─► demote ─► remove ─► reboot
//!      └──quorum cannot return ───────┘    (held, with the reason, where it would cost the quorum)
//! ```
//!
//! The entry of a node that the operator forgot is demoted and removed too; then the join tokens, which it knew, are rotated.
//! An entry whose node came back empty is demoted and removed before that node joins anew, and so is one whose node nobody has
//! heard for some minutes: another can be a manager then. A node that is in a swarm that is not ours leaves it. A drained node
//! stays until its tasks run elsewhere and have ended on it, and nobody's resolver has its address any more; also one that the
//! managers miss for a moment. [`Rollout`] wants reboots, of one node after another.

mod decide;
mod rollout;

pub use decide::{Decisions, Known, NodeState, Reboot, RoleWish, Swarm, View};
pub use rollout::{Given, Progress, Rollout, RolloutState, Sight};

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What one node's Docker says about the swarm (`GET /info`, and on a manager `/swarm` and `/nodes`).
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwarmFacts {
    /// This node's state.
    pub state: LocalState,
    /// This node's id in the swarm; empty when it is in none.
    #[serde(default)]
    pub node_id: String,
    /// What only a manager that sees a leader can say.
    #[serde(default)]
    pub manager: Option<ManagerFacts>,
}

/// Docker's `LocalNodeState`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LocalState {
    /// Not in a swarm.
    #[default]
    Inactive,
    /// Joining.
    Pending,
    /// In a swarm.
    Active,
    /// In a swarm, but locked or failing.
    Error,
    /// Locked by autolock.
    Locked,
}

/// What a manager sees.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagerFacts {
    /// The swarm's id.
    pub cluster_id: String,
    /// Join token for workers. A secret.
    pub worker_token: String,
    /// Join token for managers. A secret.
    pub manager_token: String,
    /// The swarm's nodes.
    pub members: Vec<Member>,
    /// Its services, as far as they are told ([`ManagerFacts::SERVICES_LIMIT`]).
    #[serde(default)]
    pub services: Vec<Service>,
}

impl ManagerFacts {
    /// The most services that a manager tells of.
    pub const SERVICES_LIMIT: usize = 256;

    /// The ports on which every node should answer: those of services that run somewhere.
    pub fn ports(&self) -> BTreeSet<u16> {
        let running = self.services.iter().filter(|service| service.running > 0);
        running.flat_map(|service| &service.ports).copied().take(Self::PORTS_LIMIT).collect()
    }

    /// The most ports that a node looks after.
    pub const PORTS_LIMIT: usize = 64;

    /// The names of the services that have fewer tasks running than they should.
    pub fn unsettled(&self) -> impl Iterator<Item = &str> {
        self.services
            .iter()
            .filter(|service| service.running < service.desired)
            .map(|service| service.name.as_str())
    }
}

/// One of `docker service ls`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Service {
    /// Its name.
    pub name: String,
    /// How many of its tasks run.
    pub running: u64,
    /// How many should.
    pub desired: u64,
    /// Whether one of its tasks has a place, or looks for one, and does not run yet. One that fits nowhere is not starting.
    #[serde(default)]
    pub starting: bool,
    /// The TCP ports that every node of the swarm answers for it (Docker's routing mesh).
    #[serde(default)]
    pub ports: Vec<u16>,
}

/// One entry of `docker node ls`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Member {
    /// Docker's id.
    pub id: String,
    /// The host name it joined with: the node's name.
    pub hostname: String,
    /// `Ready` in Docker's words.
    pub ready: bool,
    /// `Unknown` in Docker's words: the manager leads since a moment ago, and has not heard of it yet.
    #[serde(default)]
    pub unheard: bool,
    /// Whether its role is manager (desired and, for a reachable one, actual).
    pub manager: bool,
    /// Whether, as a manager, it is reachable.
    pub reachable: bool,
    /// Whether it is the leader.
    pub leader: bool,
    /// Whether it is drained (`Availability` is `drain`).
    pub drained: bool,
    /// Whether tasks still run on it that are told to end: requests that they have accepted are not answered yet.
    #[serde(default)]
    pub ending: bool,
    /// The version of its Docker; empty if the manager does not say.
    #[serde(default)]
    pub engine: String,
    /// Docker's labels of it, for placement constraints; absent if the manager does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
}

impl std::fmt::Debug for SwarmFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SwarmFacts({:?}, manager: {})", self.state, self.manager.is_some())
    }
}
