//! One file on its way to one client: what to send next, and when to send it again. It knows how long the file is; who
//! has its bytes puts them into the blocks.
//!
//! Blocks are numbered from 1 in 64 bits here and in 16 on the wire, where they roll over to 0.

use std::ops::Range;

use super::pace::Pace;
use super::packet::{
    BLKSIZE_LIMIT, DATA_HEADER_BYTES, FromClient, Request, WINDOWSIZE_LIMIT, data_header, oack_packet,
};
use super::round_trip::RoundTrip;

/// TFTP's error code for a packet that belongs to no transfer (RFC 1350 appendix).
const UNKNOWN_TRANSFER: u16 = 5;
/// A client that is sent nothing twice by itself does not ask again sooner, in milliseconds.
const ASKS_AGAIN_MS: u64 = 500;
/// Block size without the option, in bytes (RFC 1350).
const BLKSIZE_DEFAULT: u16 = 512;

/// What to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Send {
    /// Nothing.
    Nothing,
    /// The answer to the options, as it is.
    Oack(Vec<u8>),
    /// These blocks in one go, at most two windows of [`WINDOWSIZE_LIMIT`]; see [`Transfer::write_block`].
    Blocks(Range<u64>),
}

/// How a transfer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client has acknowledged every byte.
    Complete,
    /// Everything was sent and all but the last window, or two, acknowledged: the client most likely has it all and
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
    /// The file's length, in bytes.
    length: u64,
    pace: Pace,
    blksize: usize,
    windowsize: u64,
    /// The OACK while it is not acknowledged.
    oack: Option<Vec<u8>>,
    /// The last block that the client acknowledged, and all before it; 0 before the first.
    acked: u64,
    /// The last block of the window after `acked`.
    window_end: u64,
    /// The last block that the client may be about to take: the window's, or of what followed a silent one.
    under_way: u64,
    /// The last block that was ever sent.
    sent: u64,
    /// Whether something of the window after `acked` was sent before, or again because of a duplicate ACK.
    repeated: bool,
    /// Whether a duplicate ACK would say that the first block after `acked` got lost. It may as well come of blocks that the
    /// client has twice: it says once, of whatever it did not expect, for what it waits (U-Boot, net/tftp.c, `tftp_last_nack`).
    /// Answering that would double the traffic for the rest of the transfer (the sorcerer's apprentice).
    complains: bool,
    /// Whether the client has answered at all: only then can it have everything when it falls silent.
    heard: bool,
    /// How often the timer has sent the same window again, as the pace has it.
    retries: u32,
    /// And how often in between, because this client answers sooner than that.
    hurried: u32,
    /// The same since an answer was last measured: a client that has become slow is hurried less with each window, until one
    /// is measured again (RFC 6298 section 5).
    backoff: u32,
    round_trip: RoundTrip,
    /// When something was last sent.
    sent_ms: u64,
    /// When the pace's patience ends.
    retry_at_ms: u64,
    outcome: Option<Outcome>,
}

impl Transfer {
    /// Starts to send a file of that length; also gives the first thing to send.
    pub fn new(request: &Request, length: u64, pace: Pace, now_ms: u64) -> (Self, Send) {
        let blksize = request.blksize.unwrap_or(BLKSIZE_DEFAULT).min(BLKSIZE_LIMIT);
        let windowsize = request.windowsize.unwrap_or(1).min(WINDOWSIZE_LIMIT);
        let mut transfer = Self {
            oack: request.has_options().then(|| oack(request, length, blksize, windowsize)),
            length,
            pace,
            blksize: usize::from(blksize),
            windowsize: u64::from(windowsize),
            acked: 0,
            window_end: 0,
            under_way: 0,
            sent: 0,
            repeated: false,
            complains: false,
            heard: false,
            retries: 0,
            hurried: 0,
            backoff: 0,
            round_trip: RoundTrip::default(),
            sent_ms: 0,
            retry_at_ms: 0,
            outcome: None,
        };
        let first = transfer.send(now_ms);
        (transfer, first)
    }

    /// Takes a packet of the client and gives what to send now. What makes no sense changes nothing.
    pub fn handle(&mut self, packet: &[u8], now_ms: u64) -> Send {
        if self.outcome.is_some() {
            return Send::Nothing;
        }
        match FromClient::parse(packet) {
            Some(FromClient::Ack(number)) => self.acknowledge(number, now_ms),
            // lwIP says so of a block that it did not expect, and goes on waiting for the one that it did.
            Some(FromClient::Error { code: UNKNOWN_TRANSFER, .. }) if self.pace == Pace::Quick => {
                Send::Nothing
            }
            Some(FromClient::Error { code, message }) => {
                self.outcome = Some(Outcome::Aborted { code, message });
                Send::Nothing
            }
            None => Send::Nothing,
        }
    }

    /// The client sent its request once more: it has not heard the answer. Only before it has acknowledged anything.
    pub fn repeat(&mut self, now_ms: u64) -> Option<Send> {
        (!self.heard && self.outcome.is_none()).then(|| self.send(now_ms))
    }

    /// Repeats what is overdue, or gives up; call it when [`Transfer::poll_at`] has come.
    pub fn poll(&mut self, now_ms: u64) -> Send {
        if self.poll_at().is_none_or(|at_ms| now_ms < at_ms) {
            return Send::Nothing;
        }
        if now_ms < self.retry_at_ms {
            return self.hurry(now_ms);
        }
        if self.pace.patience_ms(self.retries + 1).is_none() {
            self.outcome = Some(if self.is_all_sent() { Outcome::Unconfirmed } else { Outcome::TimedOut });
            return Send::Nothing;
        }
        self.retries += 1;
        self.send(now_ms)
    }

    /// When [`Transfer::poll`] wants to be called, in the caller's milliseconds; never, once it has ended.
    pub fn poll_at(&self) -> Option<u64> {
        let hurry_at_ms = self.hurry_ms().map_or(u64::MAX, |wait_ms| self.sent_ms.saturating_add(wait_ms));
        self.outcome.is_none().then_some(self.retry_at_ms.min(hurry_at_ms))
    }

    /// How long the client's answer to a window is awaited, by how long its answers have taken, before something of it is
    /// sent again; twice as long each second time. With windows the loss of the last block, of an ACK, or of the first block
    /// that is sent again makes both ends wait for a timer, and on a bad wire that is every other window.
    fn hurry_ms(&self) -> Option<u64> {
        let has_windows = self.windowsize > 1 && self.oack.is_none() && self.pace != Pace::OnRequest;
        let timeout_ms = has_windows.then(|| self.round_trip.timeout_ms())?;
        timeout_ms.checked_shl(self.backoff / 2)
    }

    /// Bytes that the client has acknowledged, and bytes in all.
    pub fn progress(&self) -> (u64, u64) {
        ((self.acked * self.blksize as u64).min(self.length), self.length)
    }

    /// How it ended; `None` while it runs.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// The size of this transfer's DATA packets, in bytes, and of all but the last one.
    pub fn packet_bytes(&self) -> usize {
        DATA_HEADER_BYTES + self.blksize
    }

    /// Adds the DATA packet of a block to a buffer. `bytes` is the whole file; if it is shorter than was said, so is the
    /// block.
    pub fn write_block(&self, block: u64, bytes: &[u8], buffer: &mut Vec<u8>) {
        let start = ((block - 1) as usize * self.blksize).min(bytes.len());
        let end = (start + self.blksize).min(bytes.len());
        // Sixteen bits of the number are all that the wire carries.
        buffer.extend(data_header(block as u16));
        buffer.extend(&bytes[start..end]);
    }

    /// Whether everything was sent, to a client that answered: most likely it has it all.
    pub fn is_all_sent(&self) -> bool {
        let is_near = self.last_block() <= self.end_of_window_after(self.window_end);
        self.heard && is_near && self.sent == self.last_block()
    }

    fn acknowledge(&mut self, number: u16, now_ms: u64) -> Send {
        if self.oack.is_some() {
            return if number == 0 { self.begin(now_ms) } else { Send::Nothing };
        }
        // How far the acknowledgement is ahead of the last one, whatever the rollover.
        let ahead = u64::from(number.wrapping_sub(self.acked as u16));
        if ahead == 0 {
            return self.repeat_window(now_ms);
        }
        if ahead > self.sent - self.acked {
            return Send::Nothing; // An old duplicate, or nonsense.
        }
        self.acked += ahead;
        self.heard = true;
        // What follows the window is under way already; but a client that misses a block takes none after it.
        let has_next = self.acked == self.window_end && self.under_way > self.window_end;
        let was_sent_once = !self.repeated && self.retries == 0 && self.hurried == 0;
        if was_sent_once {
            self.round_trip.measured(now_ms.saturating_sub(self.sent_ms));
            self.backoff = 0;
        }
        // Half a window is a complaint already, and there is no second one.
        self.complains = was_sent_once && self.acked == self.sent;
        self.repeated = false;
        (self.retries, self.hurried) = (0, 0);
        if self.acked == self.last_block() {
            self.outcome = Some(Outcome::Complete);
            return Send::Nothing;
        }
        if has_next {
            self.window_end = self.end_of_window_after(self.acked);
            self.repeated = true;
            self.await_answer(now_ms);
            return Send::Nothing;
        }
        self.send(now_ms)
    }

    /// The client has accepted the options.
    fn begin(&mut self, now_ms: u64) -> Send {
        self.oack = None;
        self.complains = self.retries == 0;
        self.retries = 0;
        self.heard = true;
        self.send(now_ms)
    }

    /// With windows, the last acknowledgement again says that the first block after it got lost (RFC 7440 section 4), if
    /// nothing else was the reason; without, it is only a duplicate, except from a client that gets nothing twice unless it asks.
    fn repeat_window(&mut self, now_ms: u64) -> Send {
        let asks = match self.pace {
            // One that asks again because it heard nothing may ask as often as it likes; an ACK that the network doubled
            // comes sooner than anybody loses patience.
            Pace::OnRequest => self.heard && now_ms >= self.sent_ms.saturating_add(ASKS_AGAIN_MS),
            Pace::Steady | Pace::Quick => self.heard && self.windowsize > 1 && self.complains,
        };
        if !asks {
            return Send::Nothing;
        }
        (self.repeated, self.complains) = (true, false);
        self.send(now_ms)
    }

    /// The OACK, or the window after what is acknowledged.
    fn send(&mut self, now_ms: u64) -> Send {
        self.await_answer(now_ms);
        if let Some(oack) = &self.oack {
            return Send::Oack(oack.clone());
        }
        self.window_end = self.end_of_window_after(self.acked);
        self.under_way = self.window_end;
        self.sent = self.sent.max(self.under_way);
        Send::Blocks(self.acked + 1..self.window_end + 1)
    }

    fn await_answer(&mut self, now_ms: u64) {
        self.sent_ms = now_ms;
        self.retry_at_ms = now_ms.saturating_add(self.pace.patience_ms(self.retries).unwrap_or(0));
    }

    /// Something of the window again, and of what follows it. The client misses blocks, or what it said got lost: U-Boot says
    /// each but once, and since 2023.04 nothing of blocks that it has (net/tftp.c, `tftp_last_nack`), until its own timer
    /// rings, which may ring ten times in a file.
    fn hurry(&mut self, now_ms: u64) -> Send {
        self.sent_ms = now_ms;
        self.hurried += 1;
        self.backoff += 1;
        if self.hurried == 1 && self.complains {
            // The window's last block: one packet that makes a client which misses any say so (as RFC 8985 section 7 does for
            // TCP). One that is only slow need not take a whole window twice.
            return Send::Blocks(self.window_end..self.window_end + 1);
        }
        // A client that has the window waits for the one after it; one that has this too, for what was never sent.
        let again = self.acked + 1..self.end_of_window_after(self.window_end) + 1;
        let further = self.under_way + 1..self.end_of_window_after(self.under_way) + 1;
        let is_further = self.hurried > 1 && self.hurried % 2 == 1 && !further.is_empty();
        let blocks = if is_further { further } else { again };
        self.under_way = self.under_way.max(blocks.end - 1);
        self.sent = self.sent.max(self.under_way);
        Send::Blocks(blocks)
    }

    fn end_of_window_after(&self, block: u64) -> u64 {
        (block + self.windowsize).min(self.last_block())
    }

    /// The block that ends the file: the first that is shorter than the block size, if need be empty.
    fn last_block(&self) -> u64 {
        self.length / self.blksize as u64 + 1
    }
}

fn oack(request: &Request, length: u64, blksize: u16, windowsize: u16) -> Vec<u8> {
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
        options.push(("tsize", length));
    }
    oack_packet(&options)
}

#[cfg(test)]
mod tests;
