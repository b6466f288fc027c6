//! A rollout: nodes are made new one after another, or a few at a time, the next only when all else is well; the first failure
//! ends it.
//!
//! ```text
//!   Running ──every node is new──► Done
//!      │ ▲
//!      │ └──resumed── Stopped { reason }: by the operator, or because a node did not come back well
//!      └──────────────►
//! ```
//!
//! It only wants reboots, of as many nodes at a time as it was given; what a reboot takes (substitute, drain, demote,
//! remove) and whether the quorum allows it now is decided where every reboot is. Pure: whoever calls tells what is seen,
//! and keeps it on disk.
//!
//! A rollout may give its nodes another image or other user data, each when its turn comes. What they had before is noted,
//! so that it can be taken back: that is a rollout too, of the nodes that were changed, the last one first.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Reboot;
use crate::NodeName;

/// How long a node may take from the wish to its being Ready with all services running, in milliseconds.
const NODE_LIMIT_MS: u64 = 20 * 60 * 1_000;

/// Nodes that are made new one after another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Rollout {
    /// The nodes in their order.
    pub nodes: Vec<(NodeName, Progress)>,
    /// How it is.
    pub state: RolloutState,
    /// How long all has to be well before the next node, in milliseconds.
    pub pause_ms: u64,
    /// How many nodes may be under way at the same time.
    #[serde(default = "one")]
    pub max_unavailable: usize,
    /// Since when all is well, milliseconds since 1970.
    #[serde(default)]
    pub well_since_ms: Option<u64>,
    /// What it waits for now, a sentence; empty if for nothing.
    #[serde(default)]
    pub waits_for: String,
    /// What a node is given when its turn comes; nothing if it is not here.
    #[serde(default)]
    pub gives: BTreeMap<NodeName, Given>,
    /// What nodes that were given something had before.
    #[serde(default)]
    pub had: BTreeMap<NodeName, Given>,
}

/// What is wished of a node for itself: what its group and the cluster have is not here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Given {
    /// The name of an image.
    pub image: Option<String>,
    /// A file of the user data directory.
    pub user_data: Option<String>,
}

/// How far a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// Its turn is yet to come.
    Waiting,
    /// It is made new.
    UnderWay {
        /// Since when, milliseconds since 1970.
        since_ms: u64,
        /// The number of its last boot before.
        boot: u64,
    },
    /// It is new, and all was well after.
    Done {
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// It did not come back well.
    Failed,
}

impl fmt::Display for Progress {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => text.write_str("waits for its turn"),
            Self::UnderWay { .. } => text.write_str("is made new"),
            Self::Done { took_ms } => write!(text, "is new after {} s", took_ms / 1_000),
            Self::Failed => text.write_str("did not come back well"),
        }
    }
}

/// How a rollout is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RolloutState {
    /// It goes on by itself.
    Running,
    /// It does not, until it is resumed.
    Stopped {
        /// Why: a sentence.
        reason: String,
    },
    /// Every node is new.
    Done,
}

/// What is seen of a node.
#[derive(Clone, Debug)]
pub struct Sight {
    /// Its name.
    pub name: NodeName,
    /// The number of its newest boot.
    pub boot: u64,
    /// Whether the managers see it as Ready in that boot, and it answers for the services.
    pub is_ready: bool,
    /// What failed in that boot; `None` if nothing did.
    pub failure: Option<String>,
    /// Whether it is to be rebooted.
    pub reboot: Reboot,
}

fn one() -> usize {
    1
}

impl Rollout {
    /// A rollout of these nodes in this order, one at a time.
    pub fn new(nodes: Vec<NodeName>, pause_ms: u64) -> Self {
        Self {
            nodes: nodes.into_iter().map(|name| (name, Progress::Waiting)).collect(),
            state: RolloutState::Running,
            pause_ms,
            max_unavailable: 1,
            well_since_ms: None,
            waits_for: String::new(),
            gives: BTreeMap::new(),
            had: BTreeMap::new(),
        }
    }

    /// The rollout that gives all nodes of this one what they had before, the last that was changed first; `None` if
    /// none was changed.
    pub fn back(&self) -> Option<Self> {
        let changed =
            self.nodes.iter().rev().map(|(name, _)| name).filter(|name| self.had.contains_key(name));
        let nodes: Vec<NodeName> = changed.cloned().collect();
        (!nodes.is_empty()).then(|| Self {
            max_unavailable: self.max_unavailable,
            gives: self.had.clone(),
            ..Self::new(nodes, self.pause_ms)
        })
    }

    /// Ends it for now. The node that is under way goes on by itself.
    pub fn stop(&mut self, reason: String) {
        if self.state == RolloutState::Running {
            self.state = RolloutState::Stopped { reason };
            self.waits_for.clear();
        }
    }

    /// Goes on where it stopped; a node that failed is tried again. Returns whether there is anything to do.
    pub fn resume(&mut self) -> bool {
        if !matches!(self.state, RolloutState::Stopped { .. }) {
            return false;
        }
        for (_, progress) in &mut self.nodes {
            if *progress == Progress::Failed {
                *progress = Progress::Waiting;
            }
        }
        self.state = RolloutState::Running;
        self.well_since_ms = None;
        true
    }

    /// Looks at all nodes, and at the services that have fewer tasks than they should; says which node is to be rebooted
    /// now. `now_ms` is milliseconds since 1970.
    pub fn step(&mut self, nodes: &[Sight], unsettled: &[&str], now_ms: u64) -> Option<NodeName> {
        if self.state != RolloutState::Running {
            return None;
        }
        self.waits_for.clear();
        self.look_after(nodes, unsettled, now_ms);
        if self.state != RolloutState::Running {
            return None;
        }
        let is_waiting = |(_, progress): &(NodeName, Progress)| *progress == Progress::Waiting;
        let next = self.nodes.iter().position(is_waiting);
        let next_name = next.map(|place| &self.nodes[place].0);
        if let Some(trouble) = trouble(nodes, next_name, &self.may_be_away(next), unsettled) {
            self.well_since_ms = None;
            self.waits_for = trouble;
            return None;
        }
        let well_since_ms = *self.well_since_ms.get_or_insert(now_ms);
        let Some(place) = next else {
            match self.under_way().first() {
                Some(name) => self.waits_for = format!("{name} to boot"),
                None => self.state = RolloutState::Done,
            }
            return None;
        };
        if now_ms < well_since_ms + self.pause_ms {
            self.waits_for = "the pause between two nodes".to_owned();
            return None;
        }
        let (name, progress) = &mut self.nodes[place];
        let name = name.clone();
        if let Some(sight) = nodes.iter().find(|sight| sight.name == name) {
            *progress = Progress::UnderWay { since_ms: now_ms, boot: sight.boot };
            self.well_since_ms = None;
            return Some(name);
        }
        *progress = Progress::Failed;
        self.stop(format!("{name} is not a node any more"));
        None
    }

    /// The nodes whose being away does not keep the next one: those under way, while there may be more.
    fn may_be_away(&self, next: Option<usize>) -> Vec<NodeName> {
        let names = self.under_way();
        if next.is_some() && names.len() < self.max_unavailable { names } else { Vec::new() }
    }

    fn under_way(&self) -> Vec<NodeName> {
        let is_under_way =
            |(_, progress): &&(NodeName, Progress)| matches!(progress, Progress::UnderWay { .. });
        self.nodes.iter().filter(is_under_way).map(|(name, _)| name.clone()).collect()
    }

    /// Whether the nodes that are under way are new, or failed.
    fn look_after(&mut self, nodes: &[Sight], unsettled: &[&str], now_ms: u64) {
        for name in self.under_way() {
            self.look_after_one(&name, nodes, unsettled, now_ms);
        }
    }

    fn look_after_one(&mut self, name: &NodeName, nodes: &[Sight], unsettled: &[&str], now_ms: u64) {
        let Some((name, progress)) = self.nodes.iter_mut().find(|(other, _)| other == name) else { return };
        let Progress::UnderWay { since_ms, boot } = *progress else { return };
        let sight = nodes.iter().find(|sight| sight.name == *name);
        let is_new = sight.is_some_and(|sight| sight.boot > boot);
        let missing = match sight {
            None => Some("is not a node any more".to_owned()),
            Some(sight) => sight
                .failure
                .clone()
                .filter(|_| is_new)
                .or_else(|| (now_ms >= since_ms + NODE_LIMIT_MS).then(|| late(sight, is_new, unsettled))),
        };
        if let Some(missing) = missing {
            *progress = Progress::Failed;
            let reason = format!("{name} {missing}");
            return self.stop(reason);
        }
        let is_well = sight.is_some_and(|sight| sight.is_ready && sight.reboot == Reboot::No);
        if is_new && is_well && unsettled.is_empty() {
            *progress = Progress::Done { took_ms: now_ms - since_ms };
        }
    }
}

/// What a node that took too long still lacks.
fn late(sight: &Sight, is_new: bool, unsettled: &[&str]) -> String {
    let minutes = NODE_LIMIT_MS / 60_000;
    if !is_new {
        return format!("did not boot within {minutes} minutes");
    }
    match unsettled.first().filter(|_| sight.is_ready) {
        Some(service) => format!("is Ready, but {service} does not run as it should after {minutes} minutes"),
        None => format!("is not Ready after {minutes} minutes"),
    }
}

/// Why the next node may not be taken out now. That it is not well itself is no reason: it may be what is to be mended.
fn trouble(
    nodes: &[Sight],
    next: Option<&NodeName>,
    may_be_away: &[NodeName],
    unsettled: &[&str],
) -> Option<String> {
    let counts = |sight: &&Sight| !may_be_away.contains(&sight.name);
    if let Some(away) = nodes.iter().filter(counts).find(|sight| sight.reboot != Reboot::No) {
        return Some(format!("{} to be back", away.name));
    }
    let is_away = |sight: &&Sight| sight.boot > 0 && !sight.is_ready && next != Some(&sight.name);
    if let Some(away) = nodes.iter().filter(counts).find(is_away) {
        return Some(format!("{} to be Ready", away.name));
    }
    unsettled.first().map(|service| format!("{service} to run as it should"))
}

#[cfg(test)]
mod tests;
