//! One TCP connection of a client (RFC 7766): each message has its length in two bytes before it. Queries may
//! follow each other without waiting; each reply leaves as soon as it is known, in any order.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use super::desk::{Asker, Query};

/// How long a client may say nothing, take for a query, or not read its reply (RFC 7766 section 6.2.3: some seconds).
const PATIENCE: Duration = Duration::from_secs(10);
/// The most queries of one connection that are not answered yet; the next are not read until then.
const OUTSTANDING_LIMIT: usize = 32;

/// Serves one connection until the client ends it or is idle for too long.
pub(super) async fn converse(
    stream: TcpStream,
    client: Ipv4Addr,
    queries: mpsc::Sender<Query>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reading, writing) = stream.into_split();
    let (replies, waiting) = mpsc::channel(OUTSTANDING_LIMIT);
    tokio::try_join!(read(reading, client, queries, replies), write(writing, waiting))?;
    Ok(())
}

async fn read(
    mut stream: OwnedReadHalf,
    client: Ipv4Addr,
    queries: mpsc::Sender<Query>,
    replies: mpsc::Sender<(Vec<u8>, OwnedSemaphorePermit)>,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(OUTSTANDING_LIMIT));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return Ok(()) };
        let packet = match timeout(PATIENCE, read_message(&mut stream)).await {
            Ok(Ok(packet)) => packet,
            // The client is done, or idle; what it asked is still answered.
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(_) => return Ok(()),
            Ok(Err(error)) => return Err(error),
        };
        let asker = Asker::Connection { replies: replies.clone(), place };
        if queries.send(Query { packet, client, asker }).await.is_err() {
            return Ok(());
        }
    }
}

/// Ends when nobody is left who could reply.
async fn write(
    mut stream: OwnedWriteHalf,
    mut replies: mpsc::Receiver<(Vec<u8>, OwnedSemaphorePermit)>,
) -> io::Result<()> {
    while let Some((reply, place)) = replies.recv().await {
        timeout(PATIENCE, write_message(&mut stream, &reply)).await??;
        drop(place);
    }
    Ok(())
}

/// Reads one message.
pub(super) async fn read_message(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut message = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// Writes one message, of at most 65,535 bytes, at once with its length.
pub(super) async fn write_message(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await
}
