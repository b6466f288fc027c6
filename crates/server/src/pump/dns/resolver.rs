//! Asks the machine's own resolvers, those of `/etc/resolv.conf`. Every try has a number and a port of its own,
//! which somebody who forges a reply would have to guess (RFC 5452).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, iter};

use netboot::dns::{Asked, Mismatch, Reply, without_edns};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};

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

/// For how long the resolver that answered last is asked first: with the first one dead, every other question would wait
/// for it.
const PREFERRED_FOR: Duration = Duration::from_secs(60);

/// The machine's resolvers, and which of them answers.
#[derive(Debug)]
pub(super) struct Resolvers {
    /// The head itself, which is none.
    own: Ipv4Addr,
    /// Which one answered when others did not, and when.
    preferred: Mutex<Option<(SocketAddr, Instant)>>,
}

impl Resolvers {
    /// Those that are not this address.
    pub(super) fn beside(own: Ipv4Addr) -> Self {
        Self { own, preferred: Mutex::default() }
    }

    /// Asks until one resolver knows, or that there is no such name. Otherwise it is the first one's failure, or ours.
    pub(super) async fn ask(self: Arc<Self>, mut asked: Asked) -> (Asked, Reply) {
        // As it is now; an uplink that comes and goes changes the file.
        let text = tokio::fs::read_to_string("/etc/resolv.conf").await.unwrap_or_default();
        let reply = self.ask_all(&mut asked.packet, resolvers_in(&text, self.own)).await;
        (asked, reply)
    }

    async fn ask_all(&self, packet: &mut [u8], mut left: Vec<SocketAddr>) -> Reply {
        // A stable sort: the others keep the file's order.
        let preferred = self.preferred();
        left.sort_by_key(|resolver| Some(*resolver) != preferred);
        let first = left.first().copied();
        let mut failure = None;
        for _ in 0..ROUNDS {
            for resolver in left.clone() {
                match timeout(PATIENCE, ask_one(packet, resolver)).await {
                    Ok(Ok(reply)) if !reply.is_failure() => {
                        if Some(resolver) != first {
                            *self.lock() = Some((resolver, Instant::now()));
                        }
                        return reply;
                    }
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

    fn preferred(&self) -> Option<SocketAddr> {
        self.lock().filter(|(_, since)| since.elapsed() < PREFERRED_FOR).map(|(resolver, _)| resolver)
    }

    fn lock(&self) -> MutexGuard<'_, Option<(SocketAddr, Instant)>> {
        self.preferred.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks one resolver; once more if it does not know EDNS.
async fn ask_one(packet: &mut [u8], resolver: SocketAddr) -> io::Result<Reply> {
    if let Some(reply) = exchange(packet, resolver).await? {
        return Ok(reply);
    }
    tracing::debug!("the resolver {resolver} does not know EDNS");
    exchange(&mut without_edns(packet), resolver).await?.ok_or(io::ErrorKind::InvalidData.into())
}

/// One question to one resolver, by TCP if its reply is too long for a packet; nothing if it does not know EDNS.
async fn exchange(packet: &mut [u8], resolver: SocketAddr) -> io::Result<Option<Reply>> {
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
            Ok(reply) => return Ok(Some(reply)),
            Err(Mismatch::NoEdns) => return Ok(None),
            Err(Mismatch::Truncated) => break,
            Err(Mismatch::Foreign) => tracing::debug!("{resolver} sent what does not answer the question"),
        }
    }
    let mut stream = TcpStream::connect(resolver).await?;
    write_message(&mut stream, packet).await?;
    let reply = read_message(&mut stream).await?;
    let reply = Reply::parse(&reply, packet);
    reply.map(Some).map_err(|mismatch| io::Error::new(io::ErrorKind::InvalidData, mismatch))
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
