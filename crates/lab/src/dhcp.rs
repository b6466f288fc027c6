//! The clients' DHCP: one socket for all, as they share the interface; replies go to whom they are for by their
//! hardware address: every Pi 3 has the same `xid`.
//!
//! A second reading of RFC 2131, on purpose: the head's own codec would share its mistakes.

use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use cluster::Mac;
use nix::sys::socket::{setsockopt, sockopt};

use crate::network;

/// U-Boot waits this long for an answer first and twice as long each time, up to [`LAST_WAIT`] (net/bootp.c).
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LAST_WAIT: Duration = Duration::from_secs(2);
/// lwIP's first wait; it doubles each time (lwip/src/core/ipv4/dhcp.c, `dhcp_discover`).
const LWIP_WAIT: Duration = Duration::from_secs(2);
/// After this long U-Boot's `dhcp` command fails: 3 + 5 * 5 s (net/bootp.c), and 10 s with lwIP (net/lwip/dhcp.c).
const LEGACY_LIMIT: Duration = Duration::from_secs(28);
const LWIP_LIMIT: Duration = Duration::from_secs(10);
/// A client's number becomes its transaction's.
const FIRST_XID: u32 = 0x5700_0000;
/// What the kernel keeps for all clients until we read it, in bytes.
const BUFFER_BYTES: usize = 8 << 20;

pub(crate) const DISCOVER: u8 = 1;
pub(crate) const OFFER: u8 = 2;
pub(crate) const REQUEST: u8 = 3;
pub(crate) const ACK: u8 = 5;
/// Option 43 as a Pi 3 wants it: discovery control, a prompt, and a menu with the one entry that it looks for.
const PI_BOOT: &[u8] = b"\x06\x01\x03\x0a\x04\x00PXE\x09\x14\x00\x00\x11Raspberry Pi Boot\xff";

/// An address, and where to boot from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pub(crate) address: Ipv4Addr,
    /// `siaddr`: where TFTP is.
    pub(crate) server: Ipv4Addr,
}

impl Lease {
    /// Makes the address local, so that the client can speak from it. Not before it is the client's: the head asks by ARP
    /// whether anybody has an address that it is about to offer, and this machine would say yes.
    ///
    /// # Errors
    /// `ip` says no.
    pub(crate) fn taken(self) -> Result<Self, String> {
        let route = format!("route replace local {} dev lo\n", self.address);
        network::ip(&route).map(|()| self).map_err(|error| format!("taking an address: {error:#}"))
    }
}

/// The socket of all clients.
pub(crate) struct Post {
    socket: UdpSocket,
    waiting: Arc<Mutex<HashMap<Mac, SyncSender<Reply>>>>,
    acknowledged: Arc<Mutex<BTreeSet<(Mac, Ipv4Addr)>>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply {
    kind: u8,
    pub(crate) lease: Lease,
    pub(crate) server_id: [u8; 4],
    /// Whether option 43 says what the firmware of a Pi looks for.
    pub(crate) pi_boot: bool,
}

impl Post {
    /// Opens port 68 on the interface and begins to sort what comes.
    ///
    /// # Errors
    /// The port cannot be had.
    pub(crate) fn open(interface: &str) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 68)).context("binding the clients' port 68")?;
        socket.set_broadcast(true)?;
        setsockopt(&socket.as_fd(), sockopt::BindToDevice, &interface.into())
            .context("binding to the cable")?;
        // As much as the kernel allows.
        let _ = setsockopt(&socket.as_fd(), sockopt::RcvBuf, &BUFFER_BYTES);
        let waiting = Arc::new(Mutex::new(HashMap::<Mac, SyncSender<Reply>>::new()));
        let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
        let (heard, sorter, told) = (socket.try_clone()?, waiting.clone(), acknowledged.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 1_500];
            while let Ok(length) = heard.recv(&mut buffer) {
                let Some((mac, reply)) = parse(&buffer[..length]) else { continue };
                if reply.kind == ACK {
                    told.lock().unwrap_or_else(PoisonError::into_inner).insert((mac, reply.lease.address));
                }
                let all = sorter.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(client) = all.get(&mac) {
                    // A client that has more replies waiting than it can use loses the rest.
                    let _ = client.try_send(reply);
                }
            }
        });
        Ok(Self { socket, waiting, acknowledged })
    }

    /// Who was told by an ACK that it has which address, so far.
    pub(crate) fn acknowledged(&self) -> BTreeSet<(Mac, Ipv4Addr)> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks until there is a lease, or the profile's limit or `limit` has passed.
    ///
    /// # Errors
    /// Nobody answered in time.
    pub(crate) fn lease(&self, number: u16, mac: Mac, lwip: bool, limit: Instant) -> Result<Lease, String> {
        let xid = FIRST_XID + u32::from(number);
        let replies = self.listen(mac);
        let (mut wait, own) = if lwip { (LWIP_WAIT, LWIP_LIMIT) } else { (FIRST_WAIT, LEGACY_LIMIT) };
        let limit = limit.min(Instant::now() + own);
        while Instant::now() < limit {
            if let Some(lease) = self.try_once(xid, mac, lwip, wait, &replies)? {
                return lease.taken();
            }
            wait = if lwip { wait * 2 } else { (wait * 2).min(LAST_WAIT) };
        }
        Err("no DHCP server answered".to_owned())
    }

    /// What is answered to a client from now on.
    pub(crate) fn listen(&self, mac: Mac) -> Receiver<Reply> {
        let (told, replies) = sync_channel(8);
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(mac, told);
        replies
    }

    fn try_once(
        &self,
        xid: u32,
        mac: Mac,
        lwip: bool,
        wait: Duration,
        replies: &Receiver<Reply>,
    ) -> Result<Option<Lease>, String> {
        let until = Instant::now() + wait;
        self.send(&packet(DISCOVER, xid, mac, lwip, None))?;
        let Some(offer) = hear(replies, OFFER, until) else { return Ok(None) };
        self.send(&packet(REQUEST, xid, mac, lwip, Some(&offer)))?;
        Ok(hear(replies, ACK, until.max(Instant::now() + wait)).map(|ack| ack.lease))
    }

    /// Broadcasts a packet.
    ///
    /// # Errors
    /// The network is gone.
    pub(crate) fn send(&self, packet: &[u8]) -> Result<(), String> {
        let sent = self.socket.send_to(packet, SocketAddrV4::new(Ipv4Addr::BROADCAST, 67));
        sent.map(drop).map_err(|error| format!("sending DHCP: {error}"))
    }
}

/// The next reply of that kind, if it comes in time.
pub(crate) fn hear(replies: &Receiver<Reply>, kind: u8, until: Instant) -> Option<Reply> {
    loop {
        match replies.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(reply) if reply.kind == kind => return Some(reply),
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
        }
    }
}

fn packet(kind: u8, xid: u32, mac: Mac, lwip: bool, offer: Option<&Reply>) -> Vec<u8> {
    let mut options = Vec::new();
    if let Some(offer) = offer {
        options.extend([50, 4]);
        options.extend(offer.lease.address.octets());
        options.extend([54, 4]);
        options.extend(offer.server_id);
    }
    if lwip {
        // lwip/src/core/ipv4/dhcp.c, `dhcp_discover_request_options`, as U-Boot builds it.
        options.extend([55, 3, 1, 3, 28]);
    } else {
        options.extend([60, 12]);
        options.extend(b"U-Boot.armv8");
        options.extend([93, 2, 0, 0x16]);
        options.extend([55, 5, 1, 3, 6, 15, 67]);
    }
    frame(kind, xid, mac, &options)
}

/// A request with the given options, RFC 2131 figure 1.
pub(crate) fn frame(kind: u8, xid: u32, mac: Mac, options: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 236];
    packet[..4].copy_from_slice(&[1, 1, 6, 0]);
    packet[4..8].copy_from_slice(&xid.to_be_bytes());
    packet[28..34].copy_from_slice(&mac.0);
    packet.extend([0x63, 0x82, 0x53, 0x63, 53, 1, kind]);
    packet.extend(options);
    packet.push(255);
    packet.resize(packet.len().max(300), 0);
    packet
}

/// A reply, and whom it is for.
fn parse(packet: &[u8]) -> Option<(Mac, Reply)> {
    let four = |at: usize| packet.get(at..at + 4)?.first_chunk::<4>().copied();
    if packet.first() != Some(&2) || four(236)? != [0x63, 0x82, 0x53, 0x63] {
        return None;
    }
    let (mut kind, mut server_id, mut pi_boot) = (0, [0; 4], false);
    let mut rest = packet.get(240..)?;
    while let [code, tail @ ..] = rest {
        match code {
            0 => rest = tail,
            255 => break,
            code => {
                let (length, tail) = tail.split_first()?;
                let (value, tail) = tail.split_at_checked(usize::from(*length))?;
                match code {
                    53 => kind = *value.first()?,
                    54 => server_id = *value.first_chunk()?,
                    43 => pi_boot = value == PI_BOOT,
                    _ => {}
                }
                rest = tail;
            }
        }
    }
    let lease = Lease { address: four(16)?.into(), server: four(20)?.into() };
    let mac = Mac(*packet.get(28..)?.first_chunk()?);
    Some((mac, Reply { kind, lease, server_id, pi_boot }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_read_and_rubbish_is_not() {
        let mut reply = packet(OFFER, 7, Mac([1; 6]), true, None);
        reply[0] = 2;
        reply[16..20].copy_from_slice(&[10, 78, 128, 9]);
        reply[20..24].copy_from_slice(&[10, 78, 0, 1]);
        let (mac, heard) = parse(&reply).expect("a reply");
        assert_eq!((mac, heard.kind, heard.pi_boot), (Mac([1; 6]), OFFER, false));
        assert_eq!(heard.lease.address, Ipv4Addr::new(10, 78, 128, 9));
        reply.truncate(243);
        reply.extend([43, PI_BOOT.len() as u8]);
        reply.extend(PI_BOOT);
        assert!(parse(&reply).is_some_and(|(_, reply)| reply.pi_boot));
        for length in 0..242 {
            assert!(parse(&reply[..length]).is_none_or(|(_, reply)| reply.kind == 0), "{length}");
        }
    }
}
