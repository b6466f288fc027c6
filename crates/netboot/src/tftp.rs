//! TFTP (RFC 1350) as a server of files that are in memory: read requests, options, windows.
//!
//! ```text
//!              RRQ with options                    ACK 0
//!   Request ──────────────────► awaiting ACK 0 ──────────► sending ──ACK of the last block──► Complete
//!      │        (OACK sent)           │                    ▲  │ │
//!      └── RRQ without options ───────┼────────────────────┘  │ └──ERROR from the client──► Aborted
//!               (DATA 1 sent)         └──no answer, RETRIES──►└──► TimedOut / Unconfirmed
//! ```
//!
//! It does not write files, speak netascii (refused with an ERROR), or read multicast options.

mod packet;
mod transfer;

pub use packet::{BLKSIZE_LIMIT, Code, Refused, Request, WINDOWSIZE_LIMIT, error_packet};
pub use transfer::{Outcome, RETRIES_LIMIT, Transfer};
