//! The vocabulary and the decisions about a cluster: node, role, boot plan, phase, report, swarm.
//!
//! Every other crate speaks these words. Nothing here opens, binds, spawns, sleeps or reads a clock:
//! what depends on time takes it as an argument.

#[cfg(feature = "configuration")]
pub mod configuration;
pub mod life;
pub mod mac;
pub mod manifest;
pub mod name;
pub mod phase;
pub mod plan;
pub mod report;
pub mod slot;
pub mod stack;
pub mod swarm;
pub mod verity;
pub mod view;

pub use mac::Mac;
pub use name::NodeName;
pub use phase::Phase;
pub use plan::{BootPlan, BootToken, Digest};
