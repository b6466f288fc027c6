//! Looks for another DHCP server on the wire: asks for an address as a client would, and sees who offers one; and asks as a
//! boot ROM would, as those that add boot information to another's DHCP answer nobody else.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Context, ensure};
use cluster::Mac;
use netboot::dhcp::{Mode, Offer, discover, discover_pxe};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::PACKET_BYTES;
use super::prober::{self, Prober};
use crate::head::Head;

/// The ports of DHCP clients and servers.
const CLIENT_PORT: u16 = 68;
const SERVER_PORT: u16 = 67;
/// How long answers are awaited: many servers make sure for a second that an address is free.
const PATIENCE: Duration = Duration::from_secs(4);
/// How often the question is put in that time.
const TRIES: u32 = 2;
/// How long after one look the next begins.
const LOOK_EVERY: Duration = Duration::from_secs(600);
/// The most servers that are counted.
const SERVERS_LIMIT: usize = 16;

/// A server that answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its hardware address, if that could be found out.
    pub(crate) mac: Option<Mac>,
    /// Whether it gave no address: it adds boot information to another's.
    pub(crate) adds_only: bool,
}

/// Looks now and then for as long as the head runs, and tells it. Beside another server those that give addresses are as
/// they should be.
pub(crate) async fn watch(interface: &str, own: Ipv4Addr, mode: Mode, head: &Head, prober: Option<&Prober>) {
    loop {
        match look(interface, own, prober).await {
            Ok(found) => {
                for (server, found) in found {
                    if mode == Mode::Authoritative || found.adds_only {
                        head.meet_rival(server, found).await;
                    }
                }
            }
            Err(error) => tracing::debug!("looking for other DHCP servers: {error:#}"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The servers that answer within four seconds, without the head itself.
///
/// # Errors
/// The port is in use (by a DHCP client on this interface), or a right is missing.
pub(crate) async fn look(
    interface: &str,
    own: Ipv4Addr,
    prober: Option<&Prober>,
) -> anyhow::Result<BTreeMap<Ipv4Addr, Found>> {
    let socket = open(interface)?;
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    let [a, b, c, d, rest @ ..] = random;
    // Locally administered: no card has it.
    let client = Mac([0x02, a, b, c, d, rest[0]]);
    let transaction = u32::from_be_bytes(rest);
    let questions = [discover(client, transaction), discover_pxe(client, transaction)];
    let mut servers: BTreeMap<Ipv4Addr, Found> = BTreeMap::new();
    for _ in 0..TRIES {
        for question in &questions {
            socket.send_to(question, (Ipv4Addr::BROADCAST, SERVER_PORT)).await.context("asking")?;
        }
        hear(&socket, client, transaction, |Offer { server, address, .. }| {
            if server == own || (servers.len() >= SERVERS_LIMIT && !servers.contains_key(&server)) {
                return;
            }
            let found = servers.entry(server).or_insert(Found { mac: None, adds_only: true });
            found.adds_only &= address.is_none();
        })
        .await;
    }
    if let Some(prober) = prober {
        for (server, found) in &mut servers {
            if let prober::Found::Somebody(mac) = prober.ask(*server).await {
                found.mac = Some(mac);
            }
        }
    }
    Ok(servers)
}

async fn hear(socket: &UdpSocket, client: Mac, transaction: u32, mut tell: impl FnMut(Offer)) {
    let until = Instant::now() + PATIENCE / TRIES;
    let mut buffer = [0; PACKET_BYTES];
    while let Ok(Ok(length)) = timeout_at(until, socket.recv(&mut buffer)).await {
        let offer = Offer::parse(&buffer[..length]);
        if let Some(offer) = offer.filter(|offer| (offer.client, offer.transaction) == (client, transaction))
        {
            tell(offer);
        }
    }
}

fn open(interface: &str) -> anyhow::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).context("opening a socket")?;
    socket.set_nonblocking(true)?;
    socket.set_broadcast(true)?;
    // A DHCP client of this machine may share its port: broadcasts reach both.
    socket.set_reuse_address(true)?;
    socket.bind_device(Some(interface.as_bytes())).context("needs root, or the capability CAP_NET_RAW")?;
    let address = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT_PORT);
    let bound = socket.bind(&address.into());
    ensure!(bound.is_ok(), "port {CLIENT_PORT} of {interface} is in use by a DHCP client of this machine");
    UdpSocket::from_std(socket.into()).context("registering the socket")
}
