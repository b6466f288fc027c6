//! TFTP (RFC 1350) as a server of files: read requests, options, windows.
//!
//! ```text
//!              RRQ with options                    ACK 0
//!   Request ──────────────────► awaiting ACK 0 ──────────► sending ──ACK of the last block──► Complete
//!      │        (OACK sent)           │                    ▲  │ │
//!      └── RRQ without options ───────┼────────────────────┘  │ └──ERROR from the client──► Aborted
//!               (DATA 1 sent)         └──no answer, RETRIES──►└──► TimedOut / Unconfirmed
//! ```
//!
//! It does not write files or read multicast options. ERROR 8 (RFC 2347) is a client's to send: an option that this
//! server does not know, or whose value makes no sense, is left out of its answer.

mod netascii;
mod pace;
mod packet;
mod round_trip;
mod transfer;

pub use netascii::to_netascii;
pub use pace::Pace;
pub use packet::{
    BLKSIZE_LIMIT, Code, DATA_HEADER_BYTES, Mode, Refused, Request, WINDOWSIZE_LIMIT, error_packet,
};
pub use transfer::{Outcome, Send, Transfer};
