//! What a node and the head say to each other over HTTP once the node's own programs run.
//!
//! The node posts a [`Report`] as JSON to [`crate::plan::NodePlan::report_path`]; the answer is [`Orders`].
//! There is no other channel: the head never connects to a node.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::phase::Event;
use crate::plan::BootToken;
use crate::stack::StackFile;
use crate::swarm::SwarmFacts;

/// What a node says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The node's uptime when it sends this, in milliseconds: the head's anchor for the events' times.
    pub uptime_ms: u64,
    /// What happened since the last report that was answered. At most [`Report::EVENTS_LIMIT`].
    #[serde(default)]
    pub events: Vec<Event>,
    /// How the board is; absent until it was looked at, and where it is as it was in the last report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// What Docker says of the swarm; absent until Docker answers.
    #[serde(default)]
    pub swarm: Option<SwarmFacts>,
    /// Which of [`Orders::ports`] have answered at the node's own address.
    #[serde(default)]
    pub answering: BTreeSet<u16>,
    /// How the orders of the last answers ended.
    #[serde(default)]
    pub outcomes: Vec<Outcome>,
    /// The ends of the node's logs, if the last answer asked for them ([`Orders::logs`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<String>,
}

impl Report {
    /// The most events in one report; a node with more sends the rest in the next.
    pub const EVENTS_LIMIT: usize = 200;
    /// The largest report that the head reads, in bytes.
    pub const BYTES_LIMIT: usize = 512 * 1024;
    /// The most of a node's logs, in bytes: with what JSON adds, they fit into a report beside the rest.
    pub const LOGS_LIMIT: usize = 128 * 1024;
}

/// What a board is and how it is. What it cannot say is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Health {
    /// The model, as the device tree names it.
    #[serde(default)]
    pub model: String,
    /// Its serial number.
    #[serde(default)]
    pub serial: String,
    /// The memory that the kernel has, in bytes.
    #[serde(default)]
    pub memory_bytes: u64,
    /// The processor's temperature in thousandths of a degree Celsius.
    #[serde(default)]
    pub temperature_mc: Option<i32>,
    /// Whether the firmware saw the supply fall below 4.63 V since it was last asked.
    #[serde(default)]
    pub under_voltage: Option<bool>,
    /// What was written to the card since the kernel started, in bytes.
    #[serde(default)]
    pub written_bytes: Option<u64>,
    /// The size of the file system that root and data are written to, in bytes: on the card, or in memory.
    #[serde(default)]
    pub storage_bytes: Option<u64>,
    /// How much of it is free, in bytes.
    #[serde(default)]
    pub storage_free_bytes: Option<u64>,
    /// The card's name, from its CID register.
    #[serde(default)]
    pub card_name: String,
    /// What the card says of its wear (eMMC's and some cards' `life_time`: tenths of its life, in hex).
    #[serde(default)]
    pub card_life: String,
}

impl Health {
    /// The longest of its texts that the head keeps, in letters.
    pub const TEXT_LIMIT: usize = 100;
}

/// How an order ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The order's number.
    pub order: u64,
    /// `None` if it was carried out; the reason in one sentence if it could not be.
    #[serde(default)]
    pub error: Option<String>,
    /// Whether it failed for want of a manager with a leader, as on a node that became a worker meanwhile: nothing is wrong
    /// with the order, and another manager may carry it out.
    #[serde(default)]
    pub unled: bool,
}

impl Outcome {
    /// An order that was carried out, or that failed for its own sake.
    pub fn of(order: u64, error: Option<String>) -> Self {
        Self { order, error, unled: false }
    }
}

/// The largest [`Orders`] that a node reads, in bytes: a compose file and its files, in base64.
pub const ORDERS_BYTES_LIMIT: usize = 4 * 1024 * 1024;

/// What the head answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// The head's clock: milliseconds since 1970 (UTC). A Pi has no battery clock.
    pub now_ms: u64,
    /// When the node should report again at the latest, in milliseconds.
    pub report_in_ms: u64,
    /// What to do, in this order. An order that the node has seen already (by its number) is not
    /// carried out again.
    #[serde(default)]
    pub orders: Vec<Order>,
    /// The TCP ports on which the node should answer for the swarm's services.
    #[serde(default)]
    pub ports: BTreeSet<u16>,
    /// Whether an operator wants to read the node's logs: the node reports them at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub logs: bool,
    /// The token that the node reports with from now on, once its user data has ended. Every container reads the kernel command
    /// line, and its packets come from the node's address: the token that stands there is burnt when this one is first used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<BootToken>,
}

impl Orders {
    /// The earliest time that a head's clock can show, in milliseconds since 1970: 2026-01-01. A head that shows less (a Pi without a
    /// battery, before it heard of the time) is not believed.
    pub const EARLIEST_MS: u64 = 1_767_225_600_000;
}

/// One thing to do, with a number that is never used again for this boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The order's number; the outcome carries it back.
    pub number: u64,
    /// What to do.
    pub action: Action,
}

/// What an agent can be told to do. Docker's own words; each is one call to its API.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Form a new swarm with this node as its first manager.
    Init,
    /// Join a swarm.
    Join {
        /// Join token, for a worker or a manager.
        token: String,
        /// A manager's `address:port`.
        manager: String,
    },
    /// Leave the swarm, by force: used where the swarm this node was in does not exist any more.
    Leave,
    /// As a manager: make another node a manager.
    Promote {
        /// Docker's id of the node.
        id: String,
    },
    /// As a manager: make another manager a worker.
    Demote {
        /// Docker's id of the node.
        id: String,
    },
    /// As a manager: move a node's tasks elsewhere.
    Drain {
        /// Docker's id of the node.
        id: String,
    },
    /// As a manager: give a node these labels and no others.
    Label {
        /// Docker's id of the node.
        id: String,
        /// The labels.
        labels: BTreeMap<String, String>,
    },
    /// As a manager: delete a node's entry.
    Remove {
        /// Docker's id of the node.
        id: String,
    },
    /// As a manager: make new join tokens (`docker swarm join-token --rotate`); nobody joins with the old ones any more.
    RotateTokens,
    /// As a manager: deploy a stack (`docker stack deploy`), replacing one of that name.
    DeployStack {
        /// The stack's name.
        name: String,
        /// The compose file's text.
        compose: String,
        /// The compose file's own `version`.
        #[serde(default)]
        version: Option<String>,
        /// The files that it names, each with its name in the swarm.
        #[serde(default)]
        files: Vec<StackFile>,
    },
    /// As a manager: remove a stack's services, networks, configs and secrets (`docker stack rm`).
    RemoveStack {
        /// The stack's name.
        name: String,
    },
    /// Reboot now, cleanly.
    Reboot,
}

impl Action {
    /// Whether it changes the swarm, through a manager: then what its managers said before is not the state to decide on any more.
    pub fn changes_swarm(&self) -> bool {
        matches!(
            self,
            Self::Promote { .. }
                | Self::Demote { .. }
                | Self::Drain { .. }
                | Self::Label { .. }
                | Self::Remove { .. }
                | Self::RotateTokens
        )
    }
}

impl std::fmt::Debug for Action {
    /// Names the action; join tokens, compose files and their secrets never reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Init => f.write_str("init"),
            Self::Join { manager, .. } => write!(f, "join {manager}"),
            Self::Leave => f.write_str("leave"),
            Self::Promote { id } => write!(f, "promote {id}"),
            Self::Demote { id } => write!(f, "demote {id}"),
            Self::Drain { id } => write!(f, "drain {id}"),
            Self::Label { id, .. } => write!(f, "label {id}"),
            Self::Remove { id } => write!(f, "remove {id}"),
            Self::RotateTokens => f.write_str("rotate join tokens"),
            Self::DeployStack { name, .. } => write!(f, "deploy stack {name}"),
            Self::RemoveStack { name } => write!(f, "remove stack {name}"),
            Self::Reboot => f.write_str("reboot"),
        }
    }
}
