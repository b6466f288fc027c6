//! A stack: a compose file that the head holds and a manager deploys.

use serde::{Deserialize, Serialize};

/// The largest compose file, in bytes.
pub(crate) const COMPOSE_LIMIT: usize = 256 * 1024;

/// How far a stack is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// It waits for a manager.
    Waiting,
    /// A manager deployed it.
    Deployed,
    /// Docker refused it.
    Failed,
}

/// One stack.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stack {
    pub(crate) name: String,
    pub(crate) compose: String,
    pub(crate) state: State,
    pub(crate) error: Option<String>,
    /// The swarm it was deployed to: a swarm that is formed anew gets it again.
    pub(crate) cluster_id: String,
    /// Which node's which order deploys it now.
    #[serde(skip)]
    pub(crate) order: Option<(cluster::Mac, u64)>,
}
