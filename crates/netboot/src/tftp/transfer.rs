//! One file on its way to one client: what to send next, and when to send it again.
//!
//! Blocks are numbered from 1 in 64 bits here and in 16 on the wire, where they roll over to 0.

use std::sync::Arc;

use super::packet::{BLKSIZE_LIMIT, FromClient, Request, WINDOWSIZE_LIMIT, data_packet, oack_packet};

/// How often one thing is sent again before the client is given up: half a minute in all, see [`patience_ms`].
pub const RETRIES_LIMIT: u32 = 8;
/// How long the first retransmission waits, in milliseconds. U-Boot's lwIP stack never repeats an ACK, so it
/// waits for us; whatever `timeout` was agreed, a second is long enough.
const RETRANSMIT_MS: u64 = 1_000;
/// The longest wait between two retransmissions, in milliseconds.
const RETRANSMIT_LIMIT_MS: u64 = 8_000;
/// Block size without the option, in bytes (RFC 1350).
const BLKSIZE_DEFAULT: u16 = 512;

/// How a transfer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client has acknowledged every byte.
    Complete,
    /// Everything was sent and all but the last window acknowledged: the client most likely has it all and
    /// did not stay to repeat its last acknowledgement, as boot loaders do not.
    Unconfirmed,
    /// The client ended it. Firmware also does this to probe for a file.
    Aborted {
        /// TFTP's error code.
        code: u16,
        /// The client's message, printable.
        message: String,
    },
    /// The client does not answer.
    TimedOut,
}

/// A running transfer.
#[derive(Debug)]
pub struct Transfer {
    bytes: Arc<[u8]>,
    blksize: usize,
    windowsize: u64,
    /// The OACK while it is not acknowledged.
    oack: Option<Vec<u8>>,
    /// The last block that the client acknowledged, and all before it; 0 before the first.
    acked: u64,
    /// The last block that was sent since the window began.
    sent: u64,
    /// Whether the window after `acked` was repeated because of a duplicate ACK. Once is enough: answering
    /// each duplicate would double the traffic for the rest of the transfer (the sorcerer's apprentice).
    repeated: bool,
    /// Whether the client has answered at all: only then can it have everything when it falls silent.
    heard: bool,
    /// How often the timer has sent the same window again.
    retries: u32,
    retry_at_ms: u64,
    outcome: Option<Outcome>,
}

impl Transfer {
    /// Starts to send `bytes`; also gives the first packets.
    pub fn new(request: &Request, bytes: Arc<[u8]>, now_ms: u64) -> (Self, Vec<Vec<u8>>) {
        let blksize = request.blksize.unwrap_or(BLKSIZE_DEFAULT).min(BLKSIZE_LIMIT);
        let windowsize = request.windowsize.unwrap_or(1).min(WINDOWSIZE_LIMIT);
        let mut transfer = Self {
            oack: request.has_options().then(|| oack(request, bytes.len(), blksize, windowsize)),
            bytes,
            blksize: usize::from(blksize),
            windowsize: u64::from(windowsize),
            acked: 0,
            sent: 0,
            repeated: false,
            heard: false,
            retries: 0,
            retry_at_ms: 0,
            outcome: None,
        };
        let packets = transfer.send(now_ms);
        (transfer, packets)
    }

    /// Takes a packet of the client and gives what to send now. What makes no sense changes nothing.
    pub fn handle(&mut self, packet: &[u8], now_ms: u64) -> Vec<Vec<u8>> {
        if self.outcome.is_some() {
            return Vec::new();
        }
        match FromClient::parse(packet) {
            Some(FromClient::Ack(number)) => self.acknowledge(number, now_ms),
            Some(FromClient::Error { code, message }) => {
                self.outcome = Some(Outcome::Aborted { code, message });
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// Repeats what is overdue, or gives up; call it when [`Transfer::poll_at`] has come.
    pub fn poll(&mut self, now_ms: u64) -> Vec<Vec<u8>> {
        if self.poll_at().is_none_or(|at_ms| now_ms < at_ms) {
            return Vec::new();
        }
        if self.retries == RETRIES_LIMIT {
            let all_sent = self.heard && self.sent == self.last_block();
            self.outcome = Some(if all_sent { Outcome::Unconfirmed } else { Outcome::TimedOut });
            return Vec::new();
        }
        self.retries += 1;
        self.send(now_ms)
    }

    /// When [`Transfer::poll`] wants to be called, in the caller's milliseconds; never, once it has ended.
    pub fn poll_at(&self) -> Option<u64> {
        self.outcome.is_none().then_some(self.retry_at_ms)
    }

    /// Bytes that the client has acknowledged, and bytes in all.
    pub fn progress(&self) -> (u64, u64) {
        let total = self.bytes.len() as u64;
        ((self.acked * self.blksize as u64).min(total), total)
    }

    /// How it ended; `None` while it runs.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    fn acknowledge(&mut self, number: u16, now_ms: u64) -> Vec<Vec<u8>> {
        if self.oack.is_some() {
            return if number == 0 { self.begin(now_ms) } else { Vec::new() };
        }
        // How far the acknowledgement is ahead of the last one, whatever the rollover.
        let ahead = u64::from(number.wrapping_sub(self.acked as u16));
        if ahead == 0 {
            return self.repeat_window(now_ms);
        }
        if ahead > self.sent - self.acked {
            return Vec::new(); // An old duplicate, or nonsense.
        }
        self.acked += ahead;
        self.heard = true;
        self.repeated = false;
        self.retries = 0;
        if self.acked == self.last_block() {
            self.outcome = Some(Outcome::Complete);
            return Vec::new();
        }
        self.send(now_ms)
    }

    /// The client has accepted the options.
    fn begin(&mut self, now_ms: u64) -> Vec<Vec<u8>> {
        self.oack = None;
        self.retries = 0;
        self.heard = true;
        self.send(now_ms)
    }

    /// With windows, the last acknowledgement again says that the first block after it got lost (RFC 7440
    /// section 4); without, it is only a duplicate.
    fn repeat_window(&mut self, now_ms: u64) -> Vec<Vec<u8>> {
        if self.windowsize == 1 || self.repeated {
            return Vec::new();
        }
        self.repeated = true;
        self.send(now_ms)
    }

    /// The OACK, or the window after what is acknowledged.
    fn send(&mut self, now_ms: u64) -> Vec<Vec<u8>> {
        self.retry_at_ms = now_ms.saturating_add(patience_ms(self.retries));
        if let Some(oack) = &self.oack {
            return vec![oack.clone()];
        }
        self.sent = (self.acked + self.windowsize).min(self.last_block());
        (self.acked + 1..=self.sent).map(|block| self.block(block)).collect()
    }

    fn block(&self, block: u64) -> Vec<u8> {
        let start = ((block - 1) as usize * self.blksize).min(self.bytes.len());
        let end = (start + self.blksize).min(self.bytes.len());
        data_packet(block as u16, &self.bytes[start..end])
    }

    /// The block that ends the file: the first that is shorter than the block size, if need be empty.
    fn last_block(&self) -> u64 {
        (self.bytes.len() / self.blksize) as u64 + 1
    }
}

fn oack(request: &Request, bytes: usize, blksize: u16, windowsize: u16) -> Vec<u8> {
    let mut options = Vec::new();
    if request.blksize.is_some() {
        options.push(("blksize", u64::from(blksize)));
    }
    if request.windowsize.is_some() {
        options.push(("windowsize", u64::from(windowsize)));
    }
    // U-Boot ends the transfer if this is not what it asked for.
    if let Some(timeout) = request.timeout {
        options.push(("timeout", u64::from(timeout)));
    }
    if request.tsize {
        options.push(("tsize", bytes as u64));
    }
    oack_packet(&options)
}

/// How long an answer is waited for after so many retries: 1, 1, 2, 2, 4, 4, 8 s ...
fn patience_ms(retries: u32) -> u64 {
    (RETRANSMIT_MS << (retries / 2).min(8)).min(RETRANSMIT_LIMIT_MS)
}

#[cfg(test)]
mod tests;
