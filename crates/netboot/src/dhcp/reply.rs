//! A server's packet while it is written. Decides nothing.

use std::net::Ipv4Addr;

use super::packet::{BOOTREPLY, BROADCAST_FLAG, ETHERNET, HEADER_BYTES, MAGIC_COOKIE, Request, option};

/// The shortest reply: BOOTP's packet, which old clients insist on, in bytes.
const REPLY_MIN: usize = 300;
/// IP and UDP headers, which option 57 counts too (RFC 2132 section 9.10), in bytes.
const HEADERS_BYTES: u16 = 28;
/// What every client has to take (RFC 2131 section 2), and the longest that Ethernet carries whole, in bytes.
const MESSAGE_SIZES: std::ops::RangeInclusive<u16> = 576..=1_500;

/// What a reply says (option 53).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyKind {
    Offer = 2,
    Ack = 5,
    Nak = 6,
}

pub(super) struct Reply {
    bytes: Vec<u8>,
    /// How long the options may get, without those at the end.
    limit: usize,
}

impl Reply {
    /// Begins a reply: the fixed part and options 53 and 54.
    pub(super) fn new(request: &Request, kind: ReplyKind, server: Ipv4Addr) -> Self {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[0] = BOOTREPLY;
        bytes[1] = ETHERNET;
        bytes[2] = 6;
        bytes[4..8].copy_from_slice(&request.transaction);
        // A relay broadcasts a NAK only if it is told to (RFC 2131 section 4.3.2).
        if request.broadcast || (kind == ReplyKind::Nak && request.relay.is_some()) {
            bytes[10] = BROADCAST_FLAG;
        }
        if let Some(relay) = request.relay {
            bytes[24..28].copy_from_slice(&relay.octets());
        }
        bytes[28..34].copy_from_slice(&request.mac.0);
        bytes[236..].copy_from_slice(&MAGIC_COOKIE);
        let taken = request.message_size.unwrap_or(*MESSAGE_SIZES.start());
        let longest = taken.clamp(*MESSAGE_SIZES.start(), *MESSAGE_SIZES.end()) - HEADERS_BYTES;
        let last = last_options(request);
        let limit = usize::from(longest).saturating_sub(last + 1);
        let mut reply = Self { bytes, limit };
        reply.option(option::MESSAGE_TYPE, &[kind as u8]);
        reply.option(option::SERVER_IDENTIFIER, &server.octets());
        reply
    }

    /// Fills `ciaddr`: the address the client uses already.
    pub(super) fn current(&mut self, address: Ipv4Addr) {
        self.bytes[12..16].copy_from_slice(&address.octets());
    }

    /// Fills `yiaddr`: the address the client gets.
    pub(super) fn your(&mut self, address: Ipv4Addr) {
        self.bytes[16..20].copy_from_slice(&address.octets());
    }

    /// Fills `siaddr` and `file`: where to boot from, and what. A `file` over 127 bytes is left empty: a name that is
    /// cut is another name.
    pub(super) fn boot(&mut self, server: Ipv4Addr, file: &str) {
        self.bytes[20..24].copy_from_slice(&server.octets());
        if file.len() <= 127 {
            self.bytes[108..108 + file.len()].copy_from_slice(file.as_bytes());
        }
    }

    /// Adds an option, in pieces if it is longer than one can be (RFC 3396); one that does not fit is left out, so add
    /// the needed ones first.
    pub(super) fn option(&mut self, number: u8, value: &[u8]) {
        if !value.is_empty() && self.bytes.len() + length(value) <= self.limit {
            push(&mut self.bytes, number, value);
        }
    }

    /// The packet, with what the client and its relay sent to get it back, and BOOTP's least length. What a relay noted
    /// is the last (RFC 3046 section 2.1).
    pub(super) fn finish(mut self, request: &Request) -> Vec<u8> {
        if last_options(request) > 0 {
            push(&mut self.bytes, option::CLIENT_IDENTIFIER, &request.client_identifier);
            push(&mut self.bytes, option::RELAY_INFORMATION, &request.relay_information);
        }
        self.bytes.push(option::END);
        self.bytes.resize(self.bytes.len().max(REPLY_MIN), option::PAD);
        self.bytes
    }
}

/// What the options that are sent back take, in bytes; 0 if they are so long that nothing else would fit.
fn last_options(request: &Request) -> usize {
    let all = length(&request.client_identifier) + length(&request.relay_information);
    let room = usize::from(*MESSAGE_SIZES.start() - HEADERS_BYTES) - HEADER_BYTES;
    if all <= room / 2 { all } else { 0 }
}

/// What an option takes, in bytes.
fn length(value: &[u8]) -> usize {
    value.len() + 2 * value.len().div_ceil(255)
}

fn push(bytes: &mut Vec<u8>, number: u8, value: &[u8]) {
    for piece in value.chunks(255) {
        bytes.push(number);
        // A piece has at most 255 bytes.
        bytes.push(piece.len() as u8);
        bytes.extend(piece);
    }
}
