//! A client's packet: its bytes to a [`Request`]. Decides nothing.
//!
//! Layout: RFC 2131 section 2; options: RFC 2132. The codec is our own because what arrives is hostile: it
//! reads the dozen options that are used and skips the others unread.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use cluster::Mac;

use super::profile::{Marks, Profile};

/// Length of the fixed part, with the magic cookie, in bytes.
pub(super) const HEADER_BYTES: usize = 240;
/// What follows `file` and says that options follow (RFC 2131 section 3).
pub(super) const MAGIC_COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Where `sname` and `file` are in the header.
const SNAME: std::ops::Range<usize> = 44..108;
const FILE: std::ops::Range<usize> = 108..236;

pub(super) const BOOTREQUEST: u8 = 1;
pub(super) const BOOTREPLY: u8 = 2;
pub(super) const ETHERNET: u8 = 1;
pub(super) const BROADCAST_FLAG: u8 = 0x80;

/// Numbers of options, by their names in IANA's registry.
pub(super) mod option {
    pub(in super::super) const PAD: u8 = 0;
    pub(in super::super) const SUBNET_MASK: u8 = 1;
    pub(in super::super) const ROUTER: u8 = 3;
    pub(in super::super) const DNS_SERVER: u8 = 6;
    pub(in super::super) const HOST_NAME: u8 = 12;
    pub(in super::super) const DOMAIN_NAME: u8 = 15;
    pub(in super::super) const BROADCAST_ADDRESS: u8 = 28;
    pub(in super::super) const NTP_SERVERS: u8 = 42;
    pub(in super::super) const VENDOR_OPTIONS: u8 = 43;
    pub(in super::super) const REQUESTED_ADDRESS: u8 = 50;
    pub(in super::super) const LEASE_TIME: u8 = 51;
    pub(in super::super) const OVERLOAD: u8 = 52;
    pub(in super::super) const MESSAGE_TYPE: u8 = 53;
    pub(in super::super) const SERVER_IDENTIFIER: u8 = 54;
    pub(in super::super) const PARAMETER_REQUEST_LIST: u8 = 55;
    pub(in super::super) const MESSAGE_SIZE: u8 = 57;
    pub(in super::super) const RENEWAL_TIME: u8 = 58;
    pub(in super::super) const REBINDING_TIME: u8 = 59;
    pub(in super::super) const VENDOR_CLASS: u8 = 60;
    pub(in super::super) const CLIENT_IDENTIFIER: u8 = 61;
    pub(in super::super) const TFTP_SERVER_NAME: u8 = 66;
    pub(in super::super) const BOOT_FILE: u8 = 67;
    pub(in super::super) const USER_CLASS: u8 = 77;
    pub(in super::super) const RELAY_INFORMATION: u8 = 82;
    pub(in super::super) const ARCHITECTURE: u8 = 93;
    pub(in super::super) const INTERFACE: u8 = 94;
    pub(in super::super) const MACHINE_IDENTIFIER: u8 = 97;
    pub(in super::super) const DOMAIN_SEARCH: u8 = 119;
    pub(in super::super) const CLASSLESS_ROUTES: u8 = 121;
    pub(in super::super) const IPXE: u8 = 175;
    pub(in super::super) const END: u8 = 255;
}

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

/// A client's packet. Copies of hostile bytes in it are bounded by the packet's size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it asks (option 53).
    pub kind: Kind,
    /// Its hardware address (`chaddr`).
    pub mac: Mac,
    /// Who speaks.
    pub profile: Profile,
    /// Option 50: the address it had or was offered.
    pub requested: Option<Ipv4Addr>,
    /// Option 54: the server it chose.
    pub server: Option<Ipv4Addr>,
    /// `ciaddr`: the address it uses now.
    pub current: Option<Ipv4Addr>,
    /// `giaddr`: the relay that forwarded it (RFC 2131 section 4.1).
    pub relay: Option<Ipv4Addr>,
    /// Whether it can only hear broadcasts (`flags`).
    pub broadcast: bool,
    /// Seconds since it began to ask (`secs`).
    pub secs: u16,
    /// `xid`: repeated in the reply.
    pub(super) transaction: [u8; 4],
    /// Option 61: repeated in the reply (RFC 6842).
    pub(super) client_identifier: Vec<u8>,
    /// Option 97: repeated in a reply to a PXE client (RFC 4578 section 2.3).
    pub(super) machine_identifier: Vec<u8>,
    /// Option 82: what the relay noted; repeated in the reply as it is (RFC 3046 section 2.2).
    pub(super) relay_information: Vec<u8>,
    /// Option 55: what the client wants to know.
    pub(super) wanted: Vec<u8>,
    /// Option 57: the longest packet it takes, with IP and UDP headers, in bytes.
    pub(super) message_size: Option<u16>,
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

/// The fixed part.
pub(super) type Header = [u8; HEADER_BYTES];
/// Options by number.
pub(super) type Options = BTreeMap<u8, Vec<u8>>;

impl Request {
    /// Reads a packet that arrived on the server's port.
    ///
    /// # Errors
    /// [`Malformed`]; nothing is to be answered.
    pub fn parse(packet: &[u8]) -> Result<Self, Malformed> {
        let (header, mut options) = read(packet)?;
        if header[0] != BOOTREQUEST {
            return Err(Malformed::NotRequest);
        }
        let kind = kind(options.get(&option::MESSAGE_TYPE)).ok_or(Malformed::Kind)?;
        let mac = hardware_address(header)?;
        let profile = Profile::of(
            mac,
            &Marks {
                class: value(&options, option::VENDOR_CLASS),
                user_class: value(&options, option::USER_CLASS),
                architecture: value(&options, option::ARCHITECTURE),
                machine: value(&options, option::MACHINE_IDENTIFIER),
                wanted: value(&options, option::PARAMETER_REQUEST_LIST),
                has_ipxe_options: options.contains_key(&option::IPXE),
            },
        );
        let message_size = match *value(&options, option::MESSAGE_SIZE) {
            [high, low] => Some(u16::from_be_bytes([high, low])),
            _ => None,
        };
        let mut take = |number| options.remove(&number).unwrap_or_default();
        Ok(Self {
            kind,
            mac,
            profile,
            requested: address(&take(option::REQUESTED_ADDRESS)),
            server: address(&take(option::SERVER_IDENTIFIER)),
            current: filled(four(header, 12)),
            relay: filled(four(header, 24)),
            broadcast: header[10] & BROADCAST_FLAG != 0,
            secs: u16::from_be_bytes([header[8], header[9]]),
            transaction: four(header, 4).octets(),
            client_identifier: take(option::CLIENT_IDENTIFIER),
            machine_identifier: take(option::MACHINE_IDENTIFIER),
            relay_information: take(option::RELAY_INFORMATION),
            wanted: take(option::PARAMETER_REQUEST_LIST),
            message_size,
        })
    }

    /// Whether the client asks for an option by name (option 55).
    pub(super) fn wants(&self, number: u8) -> bool {
        self.wanted.contains(&number)
    }

    /// The network that the relay says the client is on: sub-option 5 of option 82 (RFC 3527), else the relay's own.
    pub(super) fn link(&self) -> Option<Ipv4Addr> {
        let mut rest = &self.relay_information[..];
        while let [number, length, tail @ ..] = rest {
            let (value, tail) = tail.split_at_checked(usize::from(*length))?;
            if let (5, Some(link)) = (*number, address(value)) {
                return self.relay.map(|_| link);
            }
            rest = tail;
        }
        self.relay
    }
}

/// Takes a packet apart: the fixed part, and all options, those that continue in `file` and `sname` too (RFC 2131
/// section 4.1, option 52).
pub(super) fn read(packet: &[u8]) -> Result<(&Header, Options), Malformed> {
    let (header, rest) = packet.split_first_chunk::<HEADER_BYTES>().ok_or(Malformed::NotDhcp)?;
    if header[236..] != MAGIC_COOKIE {
        return Err(Malformed::NotDhcp);
    }
    let mut options = Options::new();
    read_options(rest, &mut options)?;
    let overload = match *value(&options, option::OVERLOAD) {
        [flags] => flags,
        _ => 0,
    };
    if overload & 1 != 0 {
        read_options(&header[FILE], &mut options)?;
    }
    if overload & 2 != 0 {
        read_options(&header[SNAME], &mut options)?;
    }
    Ok((header, options))
}

/// An option's value, empty if it is not there.
pub(super) fn value(options: &Options, number: u8) -> &[u8] {
    options.get(&number).map_or(&[], Vec::as_slice)
}

/// An option that is one address, and not 0.0.0.0.
pub(super) fn address(value: &[u8]) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = value.try_into().ok()?;
    filled(Ipv4Addr::from(octets))
}

/// An address of the fixed part.
pub(super) fn four(header: &Header, at: usize) -> Ipv4Addr {
    Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3])
}

fn filled(address: Ipv4Addr) -> Option<Ipv4Addr> {
    Some(address).filter(|address| !address.is_unspecified())
}

fn hardware_address(header: &Header) -> Result<Mac, Malformed> {
    let [a, b, c, d, e, f] = header[28..34] else { return Err(Malformed::Hardware) };
    let mac = Mac([a, b, c, d, e, f]);
    let group = a & 1 != 0;
    if header[1] != ETHERNET || header[2] != 6 || group || mac.0 == [0; 6] {
        return Err(Malformed::Hardware);
    }
    Ok(mac)
}

/// Adds options by number; one that comes in pieces is put together (RFC 3396).
fn read_options(mut bytes: &[u8], options: &mut Options) -> Result<(), Malformed> {
    while let [number, rest @ ..] = bytes {
        bytes = match *number {
            option::PAD => rest,
            option::END => break,
            number => {
                let (length, rest) = rest.split_first().ok_or(Malformed::Options)?;
                let (value, rest) = rest.split_at_checked(usize::from(*length)).ok_or(Malformed::Options)?;
                options.entry(number).or_default().extend(value);
                rest
            }
        };
    }
    Ok(())
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
