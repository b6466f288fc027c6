//! Asks the machine's own resolvers, those of `/etc/resolv.conf`. Every try has a number and a port of its own,
//! which somebody who forges a reply would have to guess (RFC 5452).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use std::{io, iter};

use netboot::dns::{Asked, Mismatch, Reply};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::PORT;
use super::connection::{read_message, write_message};

/// The most resolvers that are asked, as in resolv.conf(5).
const RESOLVERS_LIMIT: usize = 3;
/// How often the resolvers are asked, one after another: a packet may be lost.
const ROUNDS: usize = 2;
/// How long one resolver may take in one round.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// The longest packet that is taken, in bytes: more than is asked for, because some do not listen.
const PACKET_BYTES: usize = 4_096;

/// Asks until one resolver knows, or that there is no such name. Otherwise it is the first one's failure, or ours.
pub(super) async fn ask(mut asked: Asked, own: Ipv4Addr) -> (Asked, Reply) {
    let resolvers = resolvers(own).await;
    let reply = ask_all(&mut asked.packet, &resolvers).await;
    (asked, reply)
}

async fn ask_all(packet: &mut [u8], resolvers: &[SocketAddr]) -> Reply {
    let mut failure = None;
    let mut left: Vec<SocketAddr> = resolvers.to_vec();
    for _ in 0..ROUNDS {
        for resolver in left.clone() {
            match timeout(PATIENCE, ask_one(packet, resolver)).await {
                Ok(Ok(reply)) if !reply.is_failure() => return reply,
                Ok(Ok(reply)) => {
                    left.retain(|other| *other != resolver);
                    failure.get_or_insert(reply);
                }
                Ok(Err(error)) => tracing::debug!("asking the resolver {resolver}: {error}"),
                Err(_) => tracing::debug!("asking the resolver {resolver}: no answer in time"),
            }
        }
    }
    failure.unwrap_or_else(Reply::failure)
}

/// Asks one resolver, by TCP if its reply is too long for a packet.
async fn ask_one(packet: &mut [u8], resolver: SocketAddr) -> io::Result<Reply> {
    let number = packet.first_chunk_mut::<2>().ok_or(io::ErrorKind::InvalidData)?;
    getrandom::fill(number).map_err(|_| io::ErrorKind::Other)?;
    let any: IpAddr = if resolver.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    // A connected socket hears nobody else.
    socket.connect(resolver).await?;
    socket.send(packet).await?;
    let mut buffer = vec![0; PACKET_BYTES];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match Reply::parse(&buffer[..length], packet) {
            Ok(reply) => return Ok(reply),
            Err(Mismatch::Truncated) => break,
            Err(Mismatch::Foreign) => tracing::debug!("{resolver} sent what does not answer the question"),
        }
    }
    let mut stream = TcpStream::connect(resolver).await?;
    write_message(&mut stream, packet).await?;
    let reply = read_message(&mut stream).await?;
    Reply::parse(&reply, packet).map_err(|mismatch| io::Error::new(io::ErrorKind::InvalidData, mismatch))
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
mod tests;
