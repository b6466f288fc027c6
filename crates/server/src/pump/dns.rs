//! The DNS pump: port 53 of the head's address, UDP and TCP, for the cluster's network and for the head itself.
//! (What the head sends to its own address counts as heard on the interface that has it, though it goes by `lo`.)
//!
//! One task, the desk, owns the zone's names, what is kept of other resolvers' replies, and the UDP socket;
//! TCP connections hand it their queries. What is not the cluster's is asked of the resolvers of
//! `/etc/resolv.conf`, each question by a task of its own.

mod connection;
mod desk;
mod resolver;

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use anyhow::Context;
use netboot::dhcp::Subnet;
use socket2::Socket;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::desk::Desk;
use super::{ERROR_PAUSE, Networks, Service, enlarge_buffer, open_tcp, open_udp};
use crate::head::Head;

/// The port DNS servers listen on.
const PORT: u16 = 53;
/// The most TCP connections; the next are closed at once.
const CONNECTIONS_LIMIT: usize = 128;
/// The most TCP connections of one client (RFC 7766 section 6.2.2).
const CONNECTIONS_PER_CLIENT_LIMIT: usize = 16;
/// The most queries of TCP connections that wait for the desk; a connection with more waits itself.
const DESK_QUEUE_LIMIT: usize = 256;
/// What waits to be read: a thousand machines that start together ask together. In bytes.
const RECEIVE_BUFFER_BYTES: usize = 1024 * 1024;

const SERVICE: Service = Service {
    name: "DNS",
    remedy: "stop the other DNS server, or keep it off this address (dnsmasq: `bind-interfaces`)",
};

/// The bound sockets and the network they serve.
#[derive(Debug)]
pub(crate) struct Server {
    udp: Socket,
    tcp: Socket,
    head: Ipv4Addr,
    networks: Networks,
}

/// Binds port 53 of the head's address on the interface, for clients of these networks.
///
/// # Errors
/// A sentence that says which program has the port, or which right is missing.
pub(crate) fn bind(interface: &str, address: Ipv4Addr, subnets: &[Subnet]) -> anyhow::Result<Server> {
    let udp = open_udp(interface, SocketAddrV4::new(address, PORT), &SERVICE)?;
    enlarge_buffer(&udp, RECEIVE_BUFFER_BYTES)?;
    let tcp = open_tcp(interface, SocketAddrV4::new(address, PORT), &SERVICE)?;
    Ok(Server { udp, tcp, head: address, networks: Networks::of(subnets) })
}

/// Answers until it is dropped. Has to be called in a tokio runtime.
///
/// # Errors
/// A task of the pump ended, which none does by itself.
pub(crate) async fn run(server: Server, head: Head) -> anyhow::Result<()> {
    let udp = UdpSocket::from_std(server.udp.into()).context("registering the socket")?;
    let tcp = TcpListener::from_std(server.tcp.into()).context("registering the socket")?;
    let (queries, queue) = mpsc::channel(DESK_QUEUE_LIMIT);
    // A set ends its tasks when it is dropped.
    let mut tasks = JoinSet::new();
    tasks.spawn(accept(tcp, server.networks.clone(), queries));
    tasks.spawn(Desk::new(udp, server.head, server.networks, head).run(queue));
    match tasks.join_next().await {
        Some(Err(error)) => Err(error).context("serving names"),
        _ => anyhow::bail!("nobody serves names any more"),
    }
}

async fn accept(listener: TcpListener, networks: Networks, queries: mpsc::Sender<desk::Query>) {
    // Ends its connections with itself. Each gives back whose it was.
    let mut connections = JoinSet::new();
    let mut clients: Vec<Ipv4Addr> = Vec::new();
    loop {
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("accepting DNS connections: {error}");
                tokio::time::sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        while let Some(ended) = connections.try_join_next() {
            let at = clients.iter().position(|client| ended.as_ref().is_ok_and(|ended| client == ended));
            at.map(|at| clients.swap_remove(at));
        }
        let IpAddr::V4(client) = client.ip() else { continue };
        let own = clients.iter().filter(|other| **other == client).count();
        let full = clients.len() >= CONNECTIONS_LIMIT || own >= CONNECTIONS_PER_CLIENT_LIMIT;
        if full || !networks.serve(client) {
            continue;
        }
        clients.push(client);
        let queries = queries.clone();
        connections.spawn(async move {
            if let Err(error) = connection::converse(stream, client, queries).await {
                tracing::debug!("DNS connection of {client}: {error}");
            }
            client
        });
    }
}
