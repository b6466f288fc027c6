//! Another DHCP server on the wire: how to ask whether there is one, and how to read what it says.

use std::net::Ipv4Addr;

use cluster::Mac;

use super::packet::{
    BOOTREPLY, BOOTREQUEST, BROADCAST_FLAG, ETHERNET, HEADER_BYTES, MAGIC_COOKIE, address, four, option,
    read, value,
};

/// A DISCOVER of a machine that wants no address for long: it never sends a REQUEST, so that a server holds what it
/// offers for a moment only. Answers come by broadcast. `transaction` is a random number.
pub fn discover(mac: Mac, transaction: u32) -> Vec<u8> {
    // A name that a person finds in the other server's log.
    question(mac, transaction, b"fledermaus doctor", &[])
}

/// The same as a PC's boot ROM asks (PXE specification 2.1, section 2.2.1): a server that adds to another's DHCP answers
/// nobody else.
pub fn discover_pxe(mac: Mac, transaction: u32) -> Vec<u8> {
    // An architecture, an interface (94) and a number of the machine: some look for each of them.
    let mut options = vec![option::ARCHITECTURE, 2, 0, 0, option::INTERFACE, 3, 1, 2, 1];
    options.extend([option::MACHINE_IDENTIFIER, 17, 0]);
    options.extend([0; 10]);
    options.extend(mac.0);
    question(mac, transaction, b"PXEClient:Arch:00000:UNDI:002001", &options)
}

fn question(mac: Mac, transaction: u32, class: &[u8], options: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[..3].copy_from_slice(&[BOOTREQUEST, ETHERNET, 6]);
    bytes[4..8].copy_from_slice(&transaction.to_be_bytes());
    bytes[10] = BROADCAST_FLAG;
    bytes[28..34].copy_from_slice(&mac.0);
    bytes[236..].copy_from_slice(&MAGIC_COOKIE);
    bytes.extend([option::MESSAGE_TYPE, 1, 1]);
    bytes.extend([option::VENDOR_CLASS, class.len() as u8]);
    bytes.extend(class);
    let wanted = [
        option::SUBNET_MASK,
        option::ROUTER,
        option::DNS_SERVER,
        option::VENDOR_OPTIONS,
        option::VENDOR_CLASS,
        option::BOOT_FILE,
    ];
    bytes.extend([option::PARAMETER_REQUEST_LIST, wanted.len() as u8]);
    bytes.extend(wanted);
    bytes.extend(options);
    bytes.push(option::END);
    bytes
}

/// What a server says to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The server, as it names itself (option 54), else `siaddr`.
    pub server: Ipv4Addr,
    /// The address it gives; `None` from a server that adds to another's (proxyDHCP).
    pub address: Option<Ipv4Addr>,
    /// The client.
    pub client: Mac,
    /// The transaction of the client's packet.
    pub transaction: u32,
}

impl Offer {
    /// Reads an OFFER or an ACK; anything else is none.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let (header, options) = read(packet).ok()?;
        if header[0] != BOOTREPLY || !matches!(value(&options, option::MESSAGE_TYPE), [2 | 5]) {
            return None;
        }
        let named = address(value(&options, option::SERVER_IDENTIFIER));
        let [a, b, c, d, e, f] = header[28..34] else { return None };
        Some(Self {
            server: named.unwrap_or(four(header, 20)),
            address: Some(four(header, 16)).filter(|address| !address.is_unspecified()),
            client: Mac([a, b, c, d, e, f]),
            transaction: u32::from_be_bytes(four(header, 4).octets()),
        })
    }
}
