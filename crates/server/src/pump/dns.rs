//! The DNS pump: port 53 of the head's address, UDP and TCP, for the cluster's network only.
//!
//! What is not the cluster's goes to the resolvers of `/etc/resolv.conf`, one after another. There is no
//! cache: that is the resolver's behind it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;
use std::{io, iter};

use netboot::dns::{Answer, answer, answer_stream, server_failure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{ERROR_PAUSE, PACKET_BYTES, Service, bind_tcp, bind_udp, is_inside};
use crate::head::Head;

/// The port DNS servers listen on.
const PORT: u16 = 53;
/// The most queries that are being forwarded and connections that are open; the next are met by silence.
const IN_FLIGHT_LIMIT: usize = 256;
/// The most resolvers that are asked, as in resolv.conf(5).
const RESOLVERS_LIMIT: usize = 3;
/// How long one resolver may take.
const RESOLVER_PATIENCE: Duration = Duration::from_secs(2);
/// How long a TCP client may take for one query, and how many it may ask on one connection.
const CLIENT_PATIENCE: Duration = Duration::from_secs(5);
const QUERIES_PER_CONNECTION_LIMIT: usize = 16;
/// The largest reply of a resolver that is passed on by UDP, in bytes; what is longer is cut.
const FORWARDED_BYTES: usize = 4_096;

const SERVICE: Service = Service {
    name: "DNS",
    remedy: "stop the other DNS server, or keep it off this address (dnsmasq: `bind-interfaces`)",
};

/// The bound sockets and the network they serve.
#[derive(Debug)]
pub(crate) struct Server {
    udp: UdpSocket,
    tcp: TcpListener,
    address: Ipv4Addr,
    prefix: u8,
}

/// Binds port 53 of the head's address on the interface, for clients of that network (prefix length 0 to 32).
/// Has to be called in a tokio runtime.
///
/// # Errors
/// A sentence that says which program has the port, or which right is missing.
pub(crate) fn bind(interface: &str, address: Ipv4Addr, prefix: u8) -> anyhow::Result<Server> {
    bind_port(interface, SocketAddrV4::new(address, PORT), prefix)
}

fn bind_port(interface: &str, address: SocketAddrV4, prefix: u8) -> anyhow::Result<Server> {
    let udp = bind_udp(interface, address, &SERVICE)?;
    let port = udp.local_addr()?.port();
    let tcp = bind_tcp(interface, SocketAddrV4::new(*address.ip(), port), &SERVICE)?;
    Ok(Server { udp, tcp, address: *address.ip(), prefix })
}

/// Answers until it is dropped.
///
/// # Errors
/// None at present; a socket that reports an error is tried again.
pub(crate) async fn run(server: Server, head: Head) -> anyhow::Result<()> {
    let server = Arc::new(server);
    let places = Arc::new(Semaphore::new(IN_FLIGHT_LIMIT));
    tokio::try_join!(
        packets(server.clone(), head.clone(), places.clone()),
        connections(server, head, places)
    )?;
    Ok(())
}

impl Server {
    fn serves(&self, client: SocketAddr) -> bool {
        matches!(client.ip(), IpAddr::V4(client) if is_inside(client, self.address, self.prefix))
    }
}

async fn packets(server: Arc<Server>, head: Head, places: Arc<Semaphore>) -> anyhow::Result<()> {
    let mut buffer = [0; PACKET_BYTES];
    loop {
        let (length, client) = match server.udp.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                tracing::warn!("receiving DNS queries: {error}");
                tokio::time::sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        if !server.serves(client) {
            continue;
        }
        match answer(&buffer[..length], &head.zone()) {
            Answer::Ignore => tracing::debug!("DNS packet from {client} ignored"),
            Answer::Reply(reply) => send(&server.udp, &reply, client).await,
            Answer::Forward => {
                let Ok(place) = places.clone().try_acquire_owned() else { continue };
                let (server, query) = (server.clone(), buffer[..length].to_vec());
                tokio::spawn(async move {
                    let reply = forward(&query, server.address).await.or_else(|| server_failure(&query));
                    if let Some(reply) = reply {
                        send(&server.udp, &reply, client).await;
                    }
                    drop(place);
                });
            }
        }
    }
}

async fn send(socket: &UdpSocket, reply: &[u8], client: SocketAddr) {
    if let Err(error) = socket.send_to(reply, client).await {
        tracing::debug!("sending a DNS reply to {client}: {error}");
    }
}

async fn connections(server: Arc<Server>, head: Head, places: Arc<Semaphore>) -> anyhow::Result<()> {
    loop {
        let (stream, client) = match server.tcp.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("accepting DNS connections: {error}");
                tokio::time::sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        if !server.serves(client) {
            continue;
        }
        let (head, own) = (head.clone(), server.address);
        tokio::spawn(async move {
            if let Err(error) = converse(stream, &head, own).await {
                tracing::debug!("DNS connection of {client}: {error}");
            }
            drop(place);
        });
    }
}

/// One TCP connection: each message has its length in two bytes before it (RFC 1035 section 4.2.2).
async fn converse(mut stream: TcpStream, head: &Head, own: Ipv4Addr) -> io::Result<()> {
    for _ in 0..QUERIES_PER_CONNECTION_LIMIT {
        let query = timeout(CLIENT_PATIENCE, read_message(&mut stream)).await??;
        let reply = match answer_stream(&query, &head.zone()) {
            Answer::Ignore => return Ok(()),
            Answer::Reply(reply) => Some(reply),
            Answer::Forward => forward_stream(&query, own).await.or_else(|| server_failure(&query)),
        };
        let Some(reply) = reply else { return Ok(()) };
        timeout(CLIENT_PATIENCE, write_message(&mut stream, &reply)).await??;
    }
    Ok(())
}

async fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await
}

/// The first reply of the machine's resolvers, by UDP.
async fn forward(query: &[u8], own: Ipv4Addr) -> Option<Vec<u8>> {
    for resolver in resolvers(own).await {
        match timeout(RESOLVER_PATIENCE, ask(query, resolver)).await {
            Ok(Ok(reply)) => return Some(reply),
            Ok(Err(error)) => tracing::debug!("asking the resolver {resolver}: {error}"),
            Err(_) => tracing::debug!("asking the resolver {resolver}: no answer in time"),
        }
    }
    None
}

/// Asks one resolver. The query gets a number and a port of its own that an attacker would have to guess.
async fn ask(query: &[u8], resolver: SocketAddr) -> io::Result<Vec<u8>> {
    let any: IpAddr = if resolver.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(resolver).await?;
    let mut renumbered = query.to_vec();
    let Some(number) = renumbered.first_chunk_mut::<2>() else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let theirs = *number;
    getrandom::fill(number).map_err(|_| io::ErrorKind::Other)?;
    let ours = *number;
    socket.send(&renumbered).await?;
    let mut buffer = vec![0; FORWARDED_BYTES];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if length >= 12 && buffer[..2] == ours && buffer[2] & 0x80 != 0 {
            buffer.truncate(length);
            buffer[..2].copy_from_slice(&theirs);
            return Ok(buffer);
        }
    }
}

/// The first reply of the machine's resolvers, by TCP.
async fn forward_stream(query: &[u8], own: Ipv4Addr) -> Option<Vec<u8>> {
    for resolver in resolvers(own).await {
        let asking = async {
            let mut stream = TcpStream::connect(resolver).await?;
            write_message(&mut stream, query).await?;
            read_message(&mut stream).await
        };
        match timeout(RESOLVER_PATIENCE, asking).await {
            Ok(Ok(reply)) => return Some(reply),
            Ok(Err(error)) => tracing::debug!("asking the resolver {resolver}: {error}"),
            Err(_) => tracing::debug!("asking the resolver {resolver}: no answer in time"),
        }
    }
    None
}

/// The machine's resolvers as they are now; an uplink that comes and goes changes the file.
async fn resolvers(own: Ipv4Addr) -> Vec<SocketAddr> {
    let text = tokio::fs::read_to_string("/etc/resolv.conf").await.unwrap_or_default();
    resolvers_in(&text, own)
}

/// The name servers of a resolv.conf(5), without the head itself: it would ask in circles.
fn resolvers_in(text: &str, own: Ipv4Addr) -> Vec<SocketAddr> {
    let addresses = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        words.next().filter(|word| *word == "nameserver")?;
        words.next()?.parse::<IpAddr>().ok()
    });
    let others = addresses.filter(|address| *address != IpAddr::V4(own));
    others.zip(iter::repeat(PORT)).map(SocketAddr::from).take(RESOLVERS_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_read_and_the_head_is_not_its_own() {
        let text = "# x\nsearch a\nnameserver 10.78.0.1\nnameserver 192.0.2.1 # y\n nameserver ::1\nnameserver no\n\
                    nameserver 192.0.2.2\nnameserver 192.0.2.3\n";
        let found = resolvers_in(text, Ipv4Addr::new(10, 78, 0, 1));
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1:53", "[::1]:53", "192.0.2.2:53"]);
    }

    #[tokio::test]
    async fn a_resolver_s_reply_is_passed_on_under_the_client_s_number() {
        let resolver = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let address = resolver.local_addr().expect("bound");
        let query = [0x42, 0x42, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1];
        let answering = async {
            let mut buffer = [0; 100];
            let (length, client) = resolver.recv_from(&mut buffer).await.expect("a query");
            let forged = [!buffer[0], buffer[1], 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            resolver.send_to(&forged, client).await.expect("sent");
            buffer[2] |= 0x80;
            resolver.send_to(&buffer[..length], client).await.expect("sent");
        };
        let (reply, ()) = tokio::join!(ask(&query, address), answering);
        let reply = reply.expect("a reply");
        assert_eq!((&reply[..3], reply.len()), (&[0x42, 0x42, 0x81][..], query.len()));
    }
}
