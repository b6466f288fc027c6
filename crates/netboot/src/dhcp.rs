//! DHCP (RFC 2131) for machines that boot here: who gets an answer, which address, and what it says.
//!
//! A stranger (a machine that is no node) is met by silence, whatever it asks: there may be another DHCP
//! server for it on the wire. A node always gets the same address. It does not speak to relays, does not
//! read options that are hidden in `sname` and `file` (option 52), and does not probe addresses by ARP.

mod answer;
mod leases;
mod packet;

pub use answer::{Answer, Settings, Standing, Why, answer};
pub use leases::{LEASES_LIMIT, Lease, Leases};
pub use packet::{Kind, Malformed, Profile, Request};
