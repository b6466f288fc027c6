//! What the head tells an operator: the JSON of its API, which the command line, the page and the lab read.

mod access;
mod inventory;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::phase::{Phase, Step};
use crate::report::Health;
use crate::{Digest, Mac, NodeName};

pub use self::access::{
    AccountView, AccountWish, AuditLine, InvalidScope, LoginWish, Me, NewLogin, NewToken, Scope, TokenKind,
    TokenView, TokenWish,
};
pub use self::inventory::{
    ApplyView, ImageView, NodeChange, NodeSet, TemplateView, UserDataVersion, WaitingView,
};

/// One node, as `GET /v1/nodes` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NodeView {
    /// The node's name.
    pub name: NodeName,
    /// The node's key.
    pub mac: Mac,
    /// Its address, once it has one.
    pub address: Option<Ipv4Addr>,
    /// `manager` or `worker` as the swarm has it now; empty when it is in none.
    pub role: String,
    /// The phase of the newest line of its timeline; absent before the first.
    pub phase: Option<Phase>,
    /// What happened to that phase.
    pub step: Option<Step>,
    /// Which boot since the head first saw the node, from 1; 0 before the first.
    pub boot: u64,
    /// When this boot began (its first DHCP request), milliseconds since 1970.
    pub boot_began_ms: Option<u64>,
    /// When the node became Ready in this boot, milliseconds since 1970.
    pub ready_at_ms: Option<u64>,
    /// When the node was last heard, milliseconds since 1970.
    pub last_seen_ms: Option<u64>,
    /// A sentence for people: why it failed, what it waits for.
    pub detail: String,
    /// How its board is, once it has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// What operators noted of it, or of its group.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its group, if it is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The image that it was last told to boot: SHA-256 of its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Digest>,
}

/// Another DHCP server on the cluster's wire, as `GET /v1/rivals` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RivalView {
    /// The address by which it names itself.
    pub server: Ipv4Addr,
    /// Its hardware address, once it was asked for.
    pub mac: Option<Mac>,
    /// Whether it gives no addresses, and adds boot information to what another says (proxyDHCP).
    #[serde(default)]
    pub adds_only: bool,
    /// When it was last noticed, milliseconds since 1970.
    pub seen_ms: u64,
}

/// One line of a timeline, as `GET /v1/nodes/{name}` gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TimelineLine {
    /// When, milliseconds since 1970.
    pub at_ms: u64,
    /// Which boot of the node, from 1.
    pub boot: u64,
    /// Which phase.
    pub phase: Phase,
    /// What happened to it.
    pub step: Step,
    /// A sentence for people.
    pub detail: String,
}

/// A node with its timeline, oldest line first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NodeDetail {
    /// The node.
    pub node: NodeView,
    /// Its timeline.
    pub timeline: Vec<TimelineLine>,
    /// What is wished of it, by cluster.toml and by operators: keys as in `[[node]]`, labels as `label.NAME`.
    #[serde(default)]
    pub wishes: BTreeMap<String, String>,
}

/// What can be done with a node's power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerDeed {
    /// Give it power.
    On,
    /// Take it away.
    Off,
    /// Take it away, and give it back after a moment.
    Cycle,
}

impl PowerDeed {
    /// Its word in the API and for the operator's program.
    pub fn word(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Cycle => "cycle",
        }
    }
}

/// The word was none of those.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("nothing that can be done with power: write on, off or cycle")]
pub struct InvalidPowerDeed;

impl std::str::FromStr for PowerDeed {
    type Err = InvalidPowerDeed;
    fn from_str(word: &str) -> Result<Self, InvalidPowerDeed> {
        [Self::On, Self::Off, Self::Cycle]
            .into_iter()
            .find(|deed| deed.word() == word)
            .ok_or(InvalidPowerDeed)
    }
}

/// A node's logs, as `GET /v1/nodes/{name}/logs` gives them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LogsView {
    /// When they came, milliseconds since 1970.
    pub at_ms: u64,
    /// Whether the node did not answer now, and these are what it sent when it was asked before.
    pub old: bool,
    /// The ends of the kernel's log and of the services', each under a line with its name.
    pub text: String,
}

/// Some of the nodes, as `GET /v1/node-list` gives them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NodePage {
    /// Those of the page, in the order of their names.
    pub nodes: Vec<NodeView>,
    /// How many there are on all pages.
    pub total: usize,
}

/// The newest boot of a node, as `GET /v1/boots` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BootView {
    /// The node.
    pub name: NodeName,
    /// Its boot's lines, oldest first.
    pub lines: Vec<TimelineLine>,
}

/// An address that is given, as `GET /v1/leases` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LeaseView {
    /// The address.
    pub address: Ipv4Addr,
    /// Whose it is.
    pub mac: Mac,
    /// The node of that name, if it is one.
    pub node: Option<NodeName>,
    /// When it ends, milliseconds since 1970.
    pub until_ms: u64,
}

/// The swarm, as `GET /v1/swarm` gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SwarmView {
    /// The swarm's id; empty before it is formed.
    pub cluster_id: String,
    /// Its entries as the managers see them.
    pub members: Vec<crate::swarm::Member>,
    /// The nodes that are Ready and answer for the services: those that `swarm.<domain>` resolves to.
    #[serde(default)]
    pub in_rotation: Vec<NodeName>,
    /// What is held and why, one sentence each.
    pub held: Vec<String>,
}

/// A stack, as `GET /v1/stacks` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StackView {
    /// Its name.
    pub name: String,
    /// How far it is.
    pub state: StackState,
    /// Why it failed.
    pub error: Option<String>,
    /// Its services, as the managers last told.
    #[serde(default)]
    pub services: Vec<crate::swarm::Service>,
    /// The keys of the configs that the head holds for it.
    #[serde(default)]
    pub configs: Vec<String>,
    /// The keys of the secrets that the head holds for it. What they hold is told to nobody but a manager.
    #[serde(default)]
    pub secrets: Vec<String>,
}

/// How far a stack is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum StackState {
    /// It waits for a manager.
    Waiting,
    /// A manager deployed it.
    Deployed,
    /// Docker refused it.
    Failed,
    /// It waits for a manager that removes it.
    Removing,
}

/// A rollout that is wished for, as `POST /v1/rollout` takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RolloutWish {
    /// The nodes; all that ever booted if there is none.
    #[serde(default)]
    pub nodes: Vec<NodeName>,
    /// A label, `key=value`: the nodes that have it. Together with `nodes`, both.
    #[serde(default)]
    pub label: Option<String>,
    /// A group: its nodes. Together with `nodes` or a label, both.
    #[serde(default)]
    pub group: Option<String>,
    /// The image that each is wished when its turn comes, by its name in cluster.toml.
    #[serde(default)]
    pub image: Option<String>,
    /// The user data that each is wished when its turn comes: a file of the user data directory.
    #[serde(default)]
    pub user_data: Option<String>,
    /// How long all has to be well before the next node is taken, in seconds.
    #[serde(default)]
    pub pause_secs: u32,
    /// How many nodes may be away at the same time; one if it is not said. Managers go only while those that stay are a
    /// majority.
    #[serde(default)]
    pub max_unavailable: Option<std::num::NonZeroU16>,
}

/// Something that was decided about the swarm, or that ended a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SwarmEvent {
    /// Its number; later ones have larger numbers.
    pub id: u64,
    /// When, milliseconds since 1970.
    pub at_ms: u64,
    /// What: a sentence without a full stop.
    pub text: String,
}

/// Every error of the API: a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Failure {
    /// What was wrong, where, and what to do.
    pub error: String,
}
