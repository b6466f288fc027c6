//! Asks the wire whether anybody uses an address, before it is offered (RFC 2131 section 3.1).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use cluster::Mac;
use netboot::arp;
use nix::libc::ETH_P_ARP;
use nix::sys::socket::{LinkAddr, bind};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

use super::ERROR_PAUSE;

/// How long an answer is waited for, twice: U-Boot asks again after 250 ms, and has its address by then.
const PATIENCE: Duration = Duration::from_millis(80);
/// How often the question is put.
const TRIES: usize = 2;
/// The most addresses that are asked for at a time.
const WAITING_LIMIT: usize = 1_024;
/// An ARP packet with Ethernet's padding, in bytes; what is longer is cut.
const FRAME_BYTES: usize = 64;

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nobody answers.
    Nobody,
    /// Somebody does.
    Somebody(Mac),
    /// The same question is under way.
    Busy,
}

/// A packet socket that hears ARP only.
pub(crate) struct Prober {
    /// No UDP: the type is tokio's only one for datagrams, and reading and writing them is the same.
    socket: UdpSocket,
    own: Mac,
    waiting: Mutex<BTreeMap<Ipv4Addr, oneshot::Sender<Mac>>>,
}

impl Prober {
    /// Opens the socket on an interface. Has to be called in a tokio runtime.
    ///
    /// # Errors
    /// The right CAP_NET_RAW is missing, or the interface has no Ethernet address.
    pub(crate) fn open(interface: &str) -> anyhow::Result<Self> {
        let (own, link) = link_of(interface)?;
        // packet(7): the protocol is in network byte order.
        let protocol = Protocol::from(i32::from((ETH_P_ARP as u16).to_be()));
        let socket =
            Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).context("opening a packet socket")?;
        socket.set_nonblocking(true)?;
        bind(socket.as_raw_fd(), &link).context("binding a packet socket")?;
        Ok(Self { socket: UdpSocket::from_std(socket.into())?, own, waiting: Mutex::default() })
    }

    /// Reads answers. A socket that reports an error is tried again: an interface that goes down is told of once, and hears
    /// again when it is up.
    pub(crate) async fn listen(&self) -> ! {
        let mut frame = [0; FRAME_BYTES];
        let mut failed = false;
        loop {
            let received = self.socket.recv(&mut frame).await;
            let length = match received {
                Ok(length) => length,
                Err(error) => {
                    tracing::warn!("hearing who has which address: {error}");
                    // A first error is the end of nothing, and an answer may be there already.
                    if failed {
                        tokio::time::sleep(ERROR_PAUSE).await;
                    }
                    failed = true;
                    continue;
                }
            };
            failed = false;
            let Some((address, mac)) = arp::claim(&frame[..length]) else { continue };
            if let Some(waiting) = self.waiting().remove(&address) {
                let _ = waiting.send(mac);
            }
        }
    }

    /// Asks whether somebody uses an address; takes up to [`PATIENCE`] times [`TRIES`].
    pub(crate) async fn ask(&self, address: Ipv4Addr) -> Found {
        let (sender, mut answer) = oneshot::channel();
        {
            let mut waiting = self.waiting();
            if waiting.contains_key(&address) || waiting.len() >= WAITING_LIMIT {
                return Found::Busy;
            }
            waiting.insert(address, sender);
        }
        let mut found = Found::Nobody;
        for _ in 0..TRIES {
            let frame = arp::probe(self.own, address);
            if let Err(error) = self.socket.try_send(&frame) {
                tracing::debug!("asking who has {address}: {error}");
            }
            if let Ok(Ok(mac)) = tokio::time::timeout(PATIENCE, &mut answer).await {
                found = Found::Somebody(mac);
                break;
            }
        }
        self.waiting().remove(&address);
        found
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, BTreeMap<Ipv4Addr, oneshot::Sender<Mac>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An interface's hardware address, and what a packet socket is bound to.
fn link_of(interface: &str) -> anyhow::Result<(Mac, LinkAddr)> {
    let all = nix::ifaddrs::getifaddrs().context("reading the machine's interfaces")?;
    let link = all
        .filter(|entry| entry.interface_name == interface)
        .find_map(|entry| Some(*entry.address?.as_link_addr()?))
        .with_context(|| format!("{interface} has no link"))?;
    let mac = link.addr().filter(|mac| *mac != [0; 6]);
    Ok((Mac(mac.with_context(|| format!("{interface} is no Ethernet"))?), link))
}
