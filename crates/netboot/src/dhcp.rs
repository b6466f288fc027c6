//! DHCP (RFC 2131) for machines that boot here: who gets an answer, which address, and what it says.
//!
//! A stranger (a machine that is no node) is met by silence, whatever it asks: there may be another DHCP
//! server for it on the wire. A node always gets the same address, whatever it runs: it is known by its hardware
//! address, and the client identifier (option 61), which differs from one boot loader to the next, is only sent back.

mod answer;
mod describe;
mod leases;
mod pace;
mod packet;
mod profile;
mod reply;
mod rival;
mod settings;

pub use answer::{Answer, Change, Packet, Server, Standing, Why};
pub use leases::{Granted, LEASES_LIMIT, Lease, Leases};
pub use packet::{Kind, Malformed, Request};
pub use profile::Profile;
pub use rival::{Offer, discover, discover_pxe};
pub use settings::{BootFiles, Mode, Route, Settings, Subnet};
