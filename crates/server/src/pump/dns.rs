//! The DNS pump: port 53 of the head's address, UDP and TCP, for the cluster's network and for the head itself.
//!
//! One task, the desk, owns the zone's names, what is kept of other resolvers' replies, and the UDP sockets;
//! TCP connections hand it their queries. What is not the cluster's is asked of the resolvers of
//! `/etc/resolv.conf`, each question by a task of its own.

mod batch;
mod connection;
mod desk;
mod resolver;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use anyhow::Context;
use socket2::SockRef;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use self::desk::Desk;
use super::{ERROR_PAUSE, Service, bind_tcp, bind_udp, is_inside};
use crate::head::Head;

/// The port DNS servers listen on.
const PORT: u16 = 53;
/// The interface by which the head speaks to itself. A socket that hears the cluster's does not hear this one.
const LOOPBACK: &str = "lo";
/// The most TCP connections; the next are closed at once.
const CONNECTIONS_LIMIT: usize = 128;
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
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    network: Network,
}

/// Whose queries are answered.
#[derive(Clone, Copy, Debug)]
struct Network {
    head: Ipv4Addr,
    prefix: u8,
}

impl Network {
    fn serves(&self, client: Ipv4Addr) -> bool {
        client.is_loopback() || is_inside(client, self.head, self.prefix)
    }
}

/// Binds port 53 of the head's address on the interface and on the loopback interface, for clients of that
/// network (prefix length 0 to 32). Has to be called in a tokio runtime.
///
/// # Errors
/// A sentence that says which program has the port, or which right is missing.
pub(crate) fn bind(interface: &str, address: Ipv4Addr, prefix: u8) -> anyhow::Result<Server> {
    bind_port(interface, SocketAddrV4::new(address, PORT), prefix)
}

fn bind_port(interface: &str, address: SocketAddrV4, prefix: u8) -> anyhow::Result<Server> {
    let network = Network { head: *address.ip(), prefix };
    let mut server = Server { udp: Vec::new(), tcp: Vec::new(), network };
    let mut address = address;
    let loopback = (interface != LOOPBACK).then_some(LOOPBACK);
    for interface in [Some(interface), loopback].into_iter().flatten() {
        let udp = bind_udp(interface, address, &SERVICE)?;
        SockRef::from(&udp).set_recv_buffer_size(RECEIVE_BUFFER_BYTES).context("setting up a socket")?;
        address.set_port(udp.local_addr()?.port());
        server.udp.push(udp);
        server.tcp.push(bind_tcp(interface, address, &SERVICE)?);
    }
    Ok(server)
}

/// Answers until it is dropped.
///
/// # Errors
/// A task of the pump ended, which none does by itself.
pub(crate) async fn run(server: Server, head: Head) -> anyhow::Result<()> {
    let (queries, queue) = mpsc::channel(DESK_QUEUE_LIMIT);
    let places = Arc::new(Semaphore::new(CONNECTIONS_LIMIT));
    // A set ends its tasks when it is dropped.
    let mut tasks = JoinSet::new();
    for listener in server.tcp {
        tasks.spawn(accept(listener, server.network, queries.clone(), places.clone()));
    }
    tasks.spawn(Desk::new(server.udp, server.network, head).run(queue));
    match tasks.join_next().await {
        Some(Err(error)) => Err(error).context("serving names"),
        _ => anyhow::bail!("nobody serves names any more"),
    }
}

async fn accept(
    listener: TcpListener,
    network: Network,
    queries: mpsc::Sender<desk::Query>,
    places: Arc<Semaphore>,
) {
    // Ends its connections with itself.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("accepting DNS connections: {error}");
                tokio::time::sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        let served = matches!(client.ip(), IpAddr::V4(client) if network.serves(client));
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        if !served {
            continue;
        }
        let queries = queries.clone();
        connections.spawn(async move {
            note(connection::converse(stream, queries).await, client);
            drop(place);
        });
    }
}

fn note(ended: std::io::Result<()>, client: SocketAddr) {
    if let Err(error) = ended {
        tracing::debug!("DNS connection of {client}: {error}");
    }
}
