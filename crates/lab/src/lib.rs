//! The rehearsal room: a virtual cluster of emulated boards, and the verbs its tests are written in.
//!
//! A lab has a network, a head (`fledermaus serve` as a process, or in an emulated machine) and boards that boot from real U-Boot on,
//! all in namespaces of its own: nothing touches the host's network, two labs do not see each other, and
//! everything dies with the lab's first process. What a node does in its boot is not known here.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod lab;
pub mod wait;

pub mod control;
pub mod machine;
pub mod network;
pub mod place;
pub mod spec;
pub mod storm;
pub mod supervise;
pub mod torture;

mod board;
mod cable;
mod card;
mod configuration;
pub mod console;
mod dhcp;
mod fetch;
mod firmware;
mod head;
mod namespaces;
pub mod pi3;
mod qmp;
mod relay;

pub use control::Power;
pub use lab::Lab;
pub use place::Place;
pub use spec::Spec;
