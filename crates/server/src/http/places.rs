//! How many connections there may be at a door, of all clients and of one address; and how long one may stand still.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long accepting pauses when the system has no more file descriptors or memory.
const ERROR_PAUSE: Duration = Duration::from_millis(500);
/// How long a client may take nothing of what it is sent, before its connection is closed.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// The places at a door.
pub(super) struct Places {
    free: Arc<Semaphore>,
    /// The most of one address: one client cannot have them all.
    each: usize,
    /// Of each address that has some.
    own: HashMap<IpAddr, Arc<Semaphore>>,
}

/// A connection's place, until it is dropped.
pub(super) struct Place {
    _of_all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
}

impl Places {
    /// So many in all and for each address.
    pub(super) fn new(all: usize, each: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(all)), each, own: HashMap::new() }
    }

    /// The next connection that gets a place. Who comes when all are taken waits in the kernel's queue; who has all of its
    /// own is sent away.
    pub(super) async fn accept(&mut self, listener: &TcpListener) -> (TcpStream, SocketAddr, Place) {
        loop {
            let of_all = self.free.clone().acquire_owned().await.expect("it is never closed");
            match listener.accept().await {
                Ok((stream, client)) => {
                    let Some(own) = self.own_of(client.ip().to_canonical()) else { continue };
                    if let Err(error) = limit_silence(&stream, SILENCE_LIMIT) {
                        tracing::debug!("a connection of {client}: {error}");
                        continue;
                    }
                    return (stream, client, Place { _of_all: of_all, _own: own });
                }
                Err(error) => {
                    tracing::warn!("accepting a connection: {error}");
                    tokio::time::sleep(ERROR_PAUSE).await;
                }
            }
        }
    }

    fn own_of(&mut self, address: IpAddr) -> Option<OwnedSemaphorePermit> {
        let each = self.each;
        self.own.retain(|_, places| places.available_permits() < each);
        let own = self.own.entry(address).or_insert_with(|| Arc::new(Semaphore::new(each)));
        own.clone().try_acquire_owned().ok()
    }
}

/// The kernel closes a connection whose client does not acknowledge, or has no room, for so long (RFC 5482; tcp(7),
/// `TCP_USER_TIMEOUT`).
pub(super) fn limit_silence(stream: &TcpStream, limit: Duration) -> io::Result<()> {
    SockRef::from(stream).set_tcp_user_timeout(Some(limit))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::AsyncWriteExt;
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn one_address_cannot_have_all_places_and_gets_its_own_back() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let mut places = Places::new(3, 2);
        let mut clients = Vec::new();
        let mut held = Vec::new();
        for _ in 0..2 {
            clients.push(TcpStream::connect(address).await.expect("connects"));
            held.push(places.accept(&listener).await);
        }
        // The third is sent away, and another address is let in.
        let third = TcpStream::connect(address).await.expect("connects");
        let other = tokio::net::TcpSocket::new_v4().expect("a socket");
        other.bind((Ipv4Addr::new(127, 0, 0, 2), 0).into()).expect("bound");
        let other = other.connect(address).await.expect("connects");
        let (_, client, _place) = timeout(PATIENCE, places.accept(&listener)).await.expect("in time");
        assert_eq!(client, other.local_addr().expect("connected"));
        third.readable().await.expect("it is closed");
        assert_eq!(third.try_read(&mut [0]).expect("closed"), 0);
        held.pop();
        clients.push(TcpStream::connect(address).await.expect("connects"));
        timeout(PATIENCE, places.accept(&listener)).await.expect("there is a place again");
    }

    #[tokio::test]
    async fn who_takes_nothing_is_closed() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connects");
        let (mut stream, _) = listener.accept().await.expect("accepted");
        limit_silence(&stream, Duration::from_millis(500)).expect("set");
        let write = async { while stream.write_all(&[0; 65_536]).await.is_ok() {} };
        timeout(PATIENCE, write).await.expect("closed in time");
        drop(client);
    }
}
