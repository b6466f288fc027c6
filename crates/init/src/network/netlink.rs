//! Three requests of rtnetlink(7): an interface up, an address, a default route. Nothing is read but
//! the kernel's acknowledgement.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

/// Message types (linux/rtnetlink.h).
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
/// Message flags (linux/netlink.h): request with acknowledgement, create, replace.
const REQUEST_AND_ACKNOWLEDGE: u16 = 0x1 | 0x4;
const CREATE_OR_REPLACE: u16 = 0x400 | 0x100;
/// The kernel's answer: an errno, 0 for done.
const NLMSG_ERROR: u16 = 2;
const HEADER_BYTES: usize = 16;

const AF_INET: u8 = 2;
const IFF_UP: u32 = 1;
/// Attributes: the interface's address, twice (linux/if_addr.h), and those of a route.
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
/// Main table, set at boot, anywhere, to a gateway (linux/rtnetlink.h).
const ROUTE: [u8; 4] = [254, 3, 0, 1];

/// A netlink socket.
pub(super) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// Opens a socket to the kernel's routing.
    pub(super) fn open() -> nix::Result<Self> {
        let route = SockProtocol::NetlinkRoute;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, route)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Brings an interface up.
    pub(super) fn set_up(&mut self, index: u32) -> io::Result<()> {
        let mut body = vec![0; 4];
        for word in [index, IFF_UP, IFF_UP] {
            body.extend(word.to_ne_bytes());
        }
        self.ask(RTM_NEWLINK, 0, &body)
    }

    /// Gives an interface an address; the route to its network comes with it.
    pub(super) fn add_address(&mut self, index: u32, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
        let host_bits = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
        let broadcast = Ipv4Addr::from_bits(address.to_bits() | host_bits);
        let mut body = vec![AF_INET, prefix, 0, 0];
        body.extend(index.to_ne_bytes());
        attribute(&mut body, IFA_LOCAL, &address.octets());
        attribute(&mut body, IFA_ADDRESS, &address.octets());
        attribute(&mut body, IFA_BROADCAST, &broadcast.octets());
        self.ask(RTM_NEWADDR, CREATE_OR_REPLACE, &body)
    }

    /// Sends everything that has no better route to a gateway.
    pub(super) fn add_default_route(&mut self, index: u32, gateway: Ipv4Addr) -> io::Result<()> {
        let mut body = vec![AF_INET, 0, 0, 0];
        body.extend(ROUTE);
        body.extend([0; 4]);
        attribute(&mut body, RTA_GATEWAY, &gateway.octets());
        attribute(&mut body, RTA_OIF, &index.to_ne_bytes());
        self.ask(RTM_NEWROUTE, CREATE_OR_REPLACE, &body)
    }

    /// Sends one request and waits for the kernel's word on it.
    fn ask(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        self.sequence += 1;
        let request = message(kind, REQUEST_AND_ACKNOWLEDGE | flags, self.sequence, body);
        let descriptor = self.socket.as_raw_fd();
        sendto(descriptor, &request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let mut answer = [0; 512];
        let length = recv(descriptor, &mut answer, MsgFlags::empty())?;
        acknowledged(&answer[..length])
    }
}

fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = (HEADER_BYTES + body.len()) as u32;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes
}

/// Appends an attribute whose value is four bytes long, as all of ours are: no padding.
fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8; 4]) {
    body.extend(8_u16.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
}

fn acknowledged(answer: &[u8]) -> io::Result<()> {
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let code = answer.get(HEADER_BYTES..HEADER_BYTES + 4).and_then(|bytes| bytes.try_into().ok());
    match (kind, code.map(i32::from_ne_bytes)) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(code)) => Err(io::Error::from_raw_os_error(code.wrapping_neg())),
        _ => Err(io::Error::other("the kernel's answer is not an acknowledgement")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_states_its_length_and_the_kernels_refusal_is_an_error() {
        let mut body = vec![1, 2, 3, 4];
        attribute(&mut body, IFA_LOCAL, &[10, 0, 0, 1]);
        let bytes = message(RTM_NEWADDR, 5, 1, &body);
        assert_eq!(bytes[..4], 28_u32.to_ne_bytes());
        assert_eq!(bytes.len(), 28);
        let answer = |code: i32| message(NLMSG_ERROR, 0, 1, &code.to_ne_bytes());
        assert!(acknowledged(&answer(0)).is_ok());
        assert_eq!(acknowledged(&answer(-22)).expect_err("refused").raw_os_error(), Some(22));
        assert!(acknowledged(&[]).is_err());
    }
}
