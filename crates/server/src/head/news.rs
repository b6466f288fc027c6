//! What changed, for pages that are open: nodes as they are now, and the names of other things that changed.

use std::collections::BTreeSet;

use cluster::Mac;
use cluster::view::NodeView;
use serde::Serialize;

use super::state::State;

/// How many versions wait for a reader that is slow; one that misses some reads everything anew.
pub(super) const NEWS_LIMIT: usize = 64;

/// Some changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct News {
    /// The nodes that changed.
    pub(crate) nodes: Vec<NodeView>,
    /// What else did.
    pub(crate) topics: BTreeSet<Topic>,
}

/// Something that is read as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Topic {
    /// Which nodes there are.
    Nodes,
    /// The swarm's members, and what is held.
    Swarm,
    /// The rollout.
    Rollout,
    /// The stacks.
    Stacks,
    /// Other DHCP servers.
    Rivals,
}

/// What is yet to be told.
#[derive(Debug, Default)]
pub(super) struct Unheard {
    nodes: BTreeSet<Mac>,
    topics: BTreeSet<Topic>,
}

impl Unheard {
    /// A node changed.
    pub(super) fn node(&mut self, mac: Mac) {
        self.nodes.insert(mac);
    }

    /// Something else did.
    pub(super) fn topic(&mut self, topic: Topic) {
        self.topics.insert(topic);
    }

    /// Whether there is something to tell.
    pub(super) fn is_some(&self) -> bool {
        !self.nodes.is_empty() || !self.topics.is_empty()
    }

    /// Nobody listens.
    pub(super) fn forget(&mut self) {
        self.nodes.clear();
        self.topics.clear();
    }
}

impl State {
    /// What is to be told, which is told from then on.
    pub(super) fn take_news(&mut self) -> News {
        let Unheard { nodes, topics } = std::mem::take(&mut self.unheard);
        News { nodes: nodes.iter().filter_map(|mac| self.view_of(*mac)).collect(), topics }
    }
}
