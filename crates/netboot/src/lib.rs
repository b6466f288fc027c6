//! The conversation: how a machine asks to boot and what it is told. DHCP, TFTP, DNS without sockets.
//!
//! Bytes come in and go out; `now_ms` is an argument, timers are data that `poll_at` names. Nothing here
//! opens a socket or a file, reads a clock, starts a thread or draws a random number: the pumps in the
//! server do that. Every protocol has the same two inner doors: `packet` (bytes to types and back) and
//! the decision (`answer`, or `transfer` for TFTP).

pub mod arp;
pub mod dhcp;
pub mod dns;
pub mod firmware;
pub mod pxelinux;
pub mod tftp;
