//! The steps from power-on to a Ready node: the spine that init prints, the agent reports, the head
//! stores, the page draws and the lab waits for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One step of a node's boot, in the order in which a boot passes through them.
///
/// The first four are seen by the head on the wire; init and the agent report the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The node asked for an address and got one (DHCP).
    Address,
    /// The node fetched its boot configuration (TFTP `pxelinux.cfg/…`); a boot token was made.
    Plan,
    /// The node fetches the kernel.
    Kernel,
    /// The node fetches the initramfs.
    Initramfs,
    /// Init is PID 1: kernel file systems mounted, modules for wire and card loaded.
    Hardware,
    /// The address from `ip=` is set and the head answers.
    Network,
    /// The clock is set from the head.
    Clock,
    /// The card is found by its label and carries a system slot and a data partition.
    Disk,
    /// The system image is on the system slot and verified.
    System,
    /// The data partition has a new file system.
    Data,
    /// The root is assembled and handed to the system's own init.
    Root,
    /// The services start; Docker answers.
    Docker,
    /// The user data is fetched and run.
    UserData,
    /// The node joins the swarm.
    Swarm,
    /// The swarm's managers see the node as Ready.
    Ready,
}

impl Phase {
    /// All phases in the order of a boot.
    pub const ALL: [Self; 15] = [
        Self::Address,
        Self::Plan,
        Self::Kernel,
        Self::Initramfs,
        Self::Hardware,
        Self::Network,
        Self::Clock,
        Self::Disk,
        Self::System,
        Self::Data,
        Self::Root,
        Self::Docker,
        Self::UserData,
        Self::Swarm,
        Self::Ready,
    ];

    /// The place of the phase in a boot: 1 for the first of [`Phase::ALL`].
    pub fn number(self) -> usize {
        self as usize + 1
    }

    /// The phase's name as people and files see it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Plan => "plan",
            Self::Kernel => "kernel",
            Self::Initramfs => "initramfs",
            Self::Hardware => "hardware",
            Self::Network => "network",
            Self::Clock => "clock",
            Self::Disk => "disk",
            Self::System => "system",
            Self::Data => "data",
            Self::Root => "root",
            Self::Docker => "docker",
            Self::UserData => "user-data",
            Self::Swarm => "swarm",
            Self::Ready => "ready",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What happened to a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The phase began.
    Started,
    /// The phase goes on: so many of so many units (bytes, for what is fetched).
    Progress {
        /// Units done.
        done: u64,
        /// Units in all.
        total: u64,
    },
    /// The phase ended well.
    Done,
    /// The phase failed; the event's detail says why. The node tries again by itself.
    Failed,
}

/// One line of a node's timeline, as the node reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// The node's uptime when it happened, in milliseconds. The head turns it into a time of day.
    pub uptime_ms: u64,
    /// Which phase.
    pub phase: Phase,
    /// What happened to it.
    pub step: Step,
    /// A sentence for people; empty where there is nothing to say. At most [`Event::DETAIL_LIMIT`] bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Event {
    /// The longest detail that the head keeps, in bytes; longer ones are cut.
    pub const DETAIL_LIMIT: usize = 2_000;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_listed_in_their_order_and_named_as_they_are_serialised() {
        for (index, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase.number(), index + 1);
        }
        assert!(Phase::ALL.is_sorted());
    }
}
