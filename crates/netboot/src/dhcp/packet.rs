//! DHCP packets: a client's bytes to a [`Request`], a [`Reply`] to bytes. Decides nothing.
//!
//! Layout: RFC 2131 section 2; options: RFC 2132. The codec is our own because what arrives is hostile: it
//! reads the dozen options that are used and skips the others unread.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use cluster::Mac;

/// Length of the fixed part, with the magic cookie, in bytes.
const HEADER_BYTES: usize = 240;
/// What follows `file` and says that options follow (RFC 2131 section 3).
const MAGIC_COOKIE: [u8; 4] = [99, 130, 83, 99];
/// The shortest reply: BOOTP's packet, which old clients insist on, in bytes.
const REPLY_MIN: usize = 300;
/// The longest reply: what every client has to take (RFC 2131 section 2: 576) without IP and UDP headers.
const REPLY_LIMIT: usize = 548;

const BOOTREQUEST: u8 = 1;
const BOOTREPLY: u8 = 2;
const ETHERNET: u8 = 1;
const BROADCAST_FLAG: u8 = 0x80;

const PAD: u8 = 0;
const REQUESTED_ADDRESS: u8 = 50;
const MESSAGE_TYPE: u8 = 53;
const SERVER_IDENTIFIER: u8 = 54;
const VENDOR_CLASS: u8 = 60;
const CLIENT_IDENTIFIER: u8 = 61;
const END: u8 = 255;

/// What a client asks (option 53).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Who is there?
    Discover,
    /// I want (or still want) this address.
    Request,
    /// Somebody else uses this address.
    Decline,
    /// I do not need this address any more.
    Release,
    /// I have an address; tell me the rest.
    Inform,
}

/// Who speaks, as far as option 60 tells. Only for what a reply must say differently: a node is known by its
/// hardware address alone, since U-Boot's newer network stack names no class at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// The Raspberry Pi's own boot ROM or EEPROM, which calls itself a PXE client.
    PiRom,
    /// U-Boot that says so.
    UBoot,
    /// An operating system, or a boot loader that says nothing.
    System,
}

/// A client's packet. Copies of hostile bytes in it are bounded by the packet's size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it asks (option 53).
    pub kind: Kind,
    /// Its hardware address (`chaddr`).
    pub mac: Mac,
    /// Who speaks (from option 60).
    pub profile: Profile,
    /// Option 50: the address it had or was offered.
    pub requested: Option<Ipv4Addr>,
    /// Option 54: the server it chose.
    pub server: Option<Ipv4Addr>,
    /// `ciaddr`: the address it uses now.
    pub current: Option<Ipv4Addr>,
    /// Whether a relay forwarded it (`giaddr`).
    pub relayed: bool,
    /// Whether it can only hear broadcasts (`flags`).
    pub broadcast: bool,
    /// Seconds since it began to ask (`secs`).
    pub secs: u16,
    /// `xid`: repeated in the reply.
    pub(super) transaction: [u8; 4],
    /// Option 61: repeated in the reply (RFC 6842).
    pub(super) client_identifier: Vec<u8>,
}

/// Why bytes are not a request.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Malformed {
    /// Shorter than the fixed part, or without the magic cookie.
    #[error("not a DHCP packet")]
    NotDhcp,
    /// A reply of another server.
    #[error("not a request")]
    NotRequest,
    /// The hardware is not Ethernet, or its address is a group's or nobody's.
    #[error("not the address of an Ethernet card")]
    Hardware,
    /// An option reaches beyond the packet's end.
    #[error("an option is cut short")]
    Options,
    /// Option 53 is missing or not a client's.
    #[error("no known message type")]
    Kind,
}

impl Request {
    /// Reads a packet that arrived on the server's port.
    ///
    /// # Errors
    /// [`Malformed`]; nothing is to be answered.
    pub fn parse(packet: &[u8]) -> Result<Self, Malformed> {
        let (header, options) = packet.split_first_chunk::<HEADER_BYTES>().ok_or(Malformed::NotDhcp)?;
        if header[236..] != MAGIC_COOKIE {
            return Err(Malformed::NotDhcp);
        }
        if header[0] != BOOTREQUEST {
            return Err(Malformed::NotRequest);
        }
        let options = read_options(options)?;
        Ok(Self {
            kind: kind(options.get(&MESSAGE_TYPE)).ok_or(Malformed::Kind)?,
            mac: hardware_address(header)?,
            profile: profile(options.get(&VENDOR_CLASS)),
            requested: address(options.get(&REQUESTED_ADDRESS)),
            server: address(options.get(&SERVER_IDENTIFIER)),
            current: Some(four(header, 12)).filter(|address| !address.is_unspecified()),
            relayed: !four(header, 24).is_unspecified(),
            broadcast: header[10] & BROADCAST_FLAG != 0,
            secs: u16::from_be_bytes([header[8], header[9]]),
            transaction: four(header, 4).octets(),
            client_identifier: options.get(&CLIENT_IDENTIFIER).cloned().unwrap_or_default(),
        })
    }
}

fn four(header: &[u8; HEADER_BYTES], at: usize) -> Ipv4Addr {
    Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3])
}

fn hardware_address(header: &[u8; HEADER_BYTES]) -> Result<Mac, Malformed> {
    let [a, b, c, d, e, f] = header[28..34] else { return Err(Malformed::Hardware) };
    let mac = Mac([a, b, c, d, e, f]);
    let group = a & 1 != 0;
    if header[1] != ETHERNET || header[2] != 6 || group || mac.0 == [0; 6] {
        return Err(Malformed::Hardware);
    }
    Ok(mac)
}

/// Options by number; one that comes in pieces is put together (RFC 3396).
fn read_options(mut bytes: &[u8]) -> Result<BTreeMap<u8, Vec<u8>>, Malformed> {
    let mut options: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
    while let [number, rest @ ..] = bytes {
        bytes = match *number {
            PAD => rest,
            END => break,
            number => {
                let (length, rest) = rest.split_first().ok_or(Malformed::Options)?;
                let (value, rest) = rest.split_at_checked(usize::from(*length)).ok_or(Malformed::Options)?;
                options.entry(number).or_default().extend(value);
                rest
            }
        };
    }
    Ok(options)
}

fn kind(value: Option<&Vec<u8>>) -> Option<Kind> {
    match value?[..] {
        [1] => Some(Kind::Discover),
        [3] => Some(Kind::Request),
        [4] => Some(Kind::Decline),
        [7] => Some(Kind::Release),
        [8] => Some(Kind::Inform),
        _ => None,
    }
}

fn profile(class: Option<&Vec<u8>>) -> Profile {
    match class {
        // The ROM's whole class is `PXEClient:Arch:00000:UNDI:002001`; architecture 0 is its mark, as no
        // other machine that could boot here is an x86 BIOS.
        Some(class) if class.starts_with(b"PXEClient:Arch:00000") => Profile::PiRom,
        Some(class) if class.starts_with(b"U-Boot") => Profile::UBoot,
        _ => Profile::System,
    }
}

fn address(value: Option<&Vec<u8>>) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = value?.as_slice().try_into().ok()?;
    Some(Ipv4Addr::from(octets)).filter(|address| !address.is_unspecified())
}

/// What a reply says (option 53).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyKind {
    Offer = 2,
    Ack = 5,
    Nak = 6,
}

/// A server's packet while it is written.
pub(super) struct Reply {
    bytes: Vec<u8>,
}

impl Reply {
    /// Begins a reply: the fixed part and options 53 and 54.
    pub(super) fn new(request: &Request, kind: ReplyKind, server: Ipv4Addr) -> Self {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[0] = BOOTREPLY;
        bytes[1] = ETHERNET;
        bytes[2] = 6;
        bytes[4..8].copy_from_slice(&request.transaction);
        if request.broadcast {
            bytes[10] = BROADCAST_FLAG;
        }
        bytes[28..34].copy_from_slice(&request.mac.0);
        bytes[236..].copy_from_slice(&MAGIC_COOKIE);
        let mut reply = Self { bytes };
        reply.option(MESSAGE_TYPE, &[kind as u8]);
        reply.option(SERVER_IDENTIFIER, &server.octets());
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

    /// Fills `siaddr` and `file`: where to boot from, and what. `file` is cut to 127 bytes.
    pub(super) fn boot(&mut self, server: Ipv4Addr, file: &str) {
        self.bytes[20..24].copy_from_slice(&server.octets());
        let length = file.len().min(127);
        self.bytes[108..108 + length].copy_from_slice(&file.as_bytes()[..length]);
    }

    /// Adds an option; one that does not fit is left out, so add the needed ones first.
    pub(super) fn option(&mut self, number: u8, value: &[u8]) {
        let Ok(length) = u8::try_from(value.len()) else { return };
        if self.bytes.len() + 2 + value.len() < REPLY_LIMIT {
            self.bytes.extend([number, length]);
            self.bytes.extend(value);
        }
    }

    /// The packet, with the client's identifier (RFC 6842) and BOOTP's least length.
    pub(super) fn finish(mut self, request: &Request) -> Vec<u8> {
        if !request.client_identifier.is_empty() {
            self.option(CLIENT_IDENTIFIER, &request.client_identifier);
        }
        self.bytes.push(END);
        self.bytes.resize(self.bytes.len().max(REPLY_MIN), PAD);
        self.bytes
    }
}
