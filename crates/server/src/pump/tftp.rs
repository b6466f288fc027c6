//! The TFTP pump: requests on UDP port 69 of the head's address, each transfer on a socket of its own.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use cluster::phase::Step;
use netboot::tftp::{Code, Outcome, Request, Transfer, error_packet};
use tokio::net::UdpSocket;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::{Instant, timeout_at};

use super::{ERROR_PAUSE, PACKET_BYTES, Service, bind_udp};
use crate::head::Head;

/// The port TFTP servers listen on.
const PORT: u16 = 69;
/// The most transfers at a time; a request over it is met by silence, and the client asks again. As many as a hall of
/// boards has: U-Boot with lwIP waits 1 s for its boot configuration, which must not stand behind others' kernels.
const TRANSFERS_LIMIT: usize = 1_024;
/// The most transfers at a time to one address: firmware probes files and leaves transfers behind.
const TRANSFERS_PER_CLIENT_LIMIT: usize = 8;
/// How long the same request from the same port is taken for a repetition. U-Boot repeats after 5 s.
const REPEAT_PAUSE: Duration = Duration::from_secs(3);
/// The least time between two progress reports of a transfer.
const PROGRESS_PAUSE: Duration = Duration::from_millis(250);

const SERVICE: Service = Service {
    name: "TFTP",
    remedy: "stop the other TFTP server, or give the cluster a network of its own and name that interface",
};

/// The bound socket and what transfers need to open theirs.
#[derive(Debug)]
pub(crate) struct Server {
    socket: UdpSocket,
    interface: String,
    address: Ipv4Addr,
}

/// Binds port 69 of the head's address on the interface. Has to be called in a tokio runtime.
///
/// # Errors
/// A sentence that says which program has the port, or which right is missing.
pub(crate) fn bind(interface: &str, address: Ipv4Addr) -> anyhow::Result<Server> {
    bind_port(interface, SocketAddrV4::new(address, PORT))
}

fn bind_port(interface: &str, address: SocketAddrV4) -> anyhow::Result<Server> {
    let socket = bind_udp(interface, address, &SERVICE)?;
    Ok(Server { socket, interface: interface.to_owned(), address: *address.ip() })
}

/// Serves until it is dropped; the running transfers end with it.
///
/// # Errors
/// None at present; a socket that reports an error is tried again.
pub(crate) async fn run(server: Server, head: Head) -> anyhow::Result<()> {
    let mut transfers = Transfers::default();
    let mut buffer = [0; PACKET_BYTES];
    loop {
        let received = tokio::select! {
            received = server.socket.recv_from(&mut buffer) => received,
            () = transfers.one_ended() => continue,
        };
        let (length, client) = match received {
            Ok((length, SocketAddr::V4(client))) => (length, client),
            Ok(_) => continue,
            Err(error) => {
                tracing::warn!("receiving TFTP requests: {error}");
                tokio::time::sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        let request = match Request::parse(&buffer[..length]) {
            Ok(request) => request,
            Err(refused) => {
                tracing::debug!("TFTP packet from {client} refused: {refused}");
                if let Some(packet) = refused.packet() {
                    let _ = server.socket.send_to(&packet, client).await;
                }
                continue;
            }
        };
        if !transfers.may_begin(client) {
            tracing::debug!("TFTP request of {client} for {} left unanswered: one is running", request.path);
            continue;
        }
        let own = bind_udp(&server.interface, SocketAddrV4::new(server.address, 0), &SERVICE);
        match own {
            Ok(socket) => transfers.begin(client, serve(socket, client, request, head.clone())),
            Err(error) => tracing::warn!("opening a socket for a transfer to {client}: {error:#}"),
        }
    }
}

/// The running transfers.
#[derive(Default)]
struct Transfers {
    tasks: JoinSet<()>,
    clients: HashMap<Id, Running>,
}

struct Running {
    client: SocketAddrV4,
    began: Instant,
    handle: AbortHandle,
}

impl Transfers {
    /// Whether a request starts a transfer. A request that is repeated at once does not: its transfer runs
    /// and repeats the first packet by itself, and two would confuse the client. Later it does: a client that
    /// uses its port again has forgotten the old transfer.
    fn may_begin(&mut self, client: SocketAddrV4) -> bool {
        let same = self.clients.values().find(|running| running.client == client);
        if let Some(running) = same {
            if running.began.elapsed() < REPEAT_PAUSE {
                return false;
            }
            running.handle.abort();
        }
        let of_client = self.clients.values().filter(|running| running.client.ip() == client.ip()).count();
        of_client < TRANSFERS_PER_CLIENT_LIMIT && self.clients.len() < TRANSFERS_LIMIT
    }

    fn begin(&mut self, client: SocketAddrV4, serving: impl Future<Output = ()> + Send + 'static) {
        let handle = self.tasks.spawn(serving);
        self.clients.insert(handle.id(), Running { client, began: Instant::now(), handle });
    }

    /// Waits for the end of one transfer; for ever if there is none.
    async fn one_ended(&mut self) {
        let id = match self.tasks.join_next_with_id().await {
            None => return std::future::pending().await,
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => {
                if error.is_panic() {
                    tracing::error!("a TFTP transfer broke: {error}");
                }
                error.id()
            }
        };
        self.clients.remove(&id);
    }
}

/// One conversation with a client, from its request on.
async fn serve(socket: UdpSocket, client: SocketAddrV4, request: Request, head: Head) {
    if let Err(error) = socket.connect(client).await {
        tracing::debug!("answering the TFTP request of {client}: {error}");
        return;
    }
    let Some(file) = head.boot_file(request.path.clone(), *client.ip()).await else {
        tracing::debug!("{client} asked for {}, which is not served", request.path);
        let _ = socket.send(&error_packet(Code::FileNotFound, "no such file")).await;
        return;
    };
    let tell = move |step| {
        if let Some((mac, phase)) = file.node {
            head.transferred(mac, phase, step);
        }
    };
    tell(Step::Started);
    let outcome = transfer(&socket, &request, file.bytes, &tell).await;
    let path = &request.path;
    match &outcome {
        Outcome::Complete | Outcome::Unconfirmed => tracing::debug!("{client} has {path}"),
        Outcome::Aborted { code, message } => {
            tracing::debug!("{client} ended {path} with error {code}: {message}");
        }
        Outcome::TimedOut => tracing::warn!("{client} fell silent while it fetched {path}"),
    }
    tell(match outcome {
        Outcome::Complete | Outcome::Unconfirmed => Step::Done,
        Outcome::Aborted { .. } | Outcome::TimedOut => Step::Failed,
    });
}

/// Sends the file over a connected socket; tells of its progress now and then.
async fn transfer(socket: &UdpSocket, request: &Request, bytes: Arc<[u8]>, tell: &impl Fn(Step)) -> Outcome {
    let began = Instant::now();
    let now_ms = || began.elapsed().as_millis() as u64;
    let (mut transfer, mut packets) = Transfer::new(request, bytes, now_ms());
    let mut told_at = began;
    let mut buffer = [0; PACKET_BYTES];
    loop {
        for packet in &packets {
            // A packet that cannot be sent is a packet that got lost: the timer sends it again.
            let _ = socket.send(packet).await;
        }
        let Some(poll_at_ms) = transfer.poll_at() else { break };
        if told_at.elapsed() >= PROGRESS_PAUSE {
            told_at = Instant::now();
            let (done, total) = transfer.progress();
            tell(Step::Progress { done, total });
        }
        let wake_at = began + Duration::from_millis(poll_at_ms);
        packets = match timeout_at(wake_at, socket.recv(&mut buffer)).await {
            Ok(Ok(length)) => transfer.handle(&buffer[..length], now_ms()),
            // An error is an ICMP message that nobody listens there: a boot loader between two programs may
            // well say so, and anybody can forge it. The timer decides.
            Ok(Err(_)) | Err(_) => transfer.poll(now_ms()),
        };
    }
    transfer.outcome().cloned().unwrap_or(Outcome::TimedOut)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A client as simple as can be: acknowledges each block.
    async fn fetch(socket: UdpSocket) -> Vec<u8> {
        let mut received = Vec::new();
        let mut buffer = [0; PACKET_BYTES];
        loop {
            let (length, server) = socket.recv_from(&mut buffer).await.expect("a packet");
            let number = if buffer[1] == 6 { [0, 0] } else { [buffer[2], buffer[3]] };
            socket.send_to(&[0, 4, number[0], number[1]], server).await.expect("sent");
            if buffer[1] == 3 {
                received.extend(&buffer[4..length]);
                if length < 4 + 1_468 {
                    return received;
                }
            }
        }
    }

    async fn pair() -> (UdpSocket, UdpSocket) {
        let local = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        let (server, client) = (bind_udp("lo", local, &SERVICE), bind_udp("lo", local, &SERVICE));
        let (server, client) = (server.expect("a socket"), client.expect("a socket"));
        server.connect(client.local_addr().expect("bound")).await.expect("connected");
        (server, client)
    }

    fn request() -> Request {
        let path = "kernel".to_owned();
        Request { path, blksize: Some(1_468), tsize: true, timeout: Some(5), windowsize: None }
    }

    #[tokio::test]
    async fn a_file_crosses_real_sockets_and_its_progress_is_told() {
        let (server, client) = pair().await;
        let bytes: Arc<[u8]> = (0..20_000_000_u32).map(|index| (index / 7) as u8).collect();
        let told = Mutex::new(Vec::new());
        let tell = |step| told.lock().expect("not poisoned").push(step);
        let client = tokio::spawn(fetch(client));
        assert_eq!(transfer(&server, &request(), bytes.clone(), &tell).await, Outcome::Complete);
        assert!(client.await.expect("no panic") == bytes[..]);
        let steps = told.into_inner().expect("not poisoned");
        assert!(steps.iter().all(|step| matches!(step, Step::Progress { total: 20_000_000, .. })));
    }

    #[tokio::test]
    async fn a_request_that_is_repeated_at_once_starts_nothing_and_later_replaces() {
        let client = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 2_000);
        let mut transfers = Transfers::default();
        assert!(transfers.may_begin(client));
        transfers.begin(client, std::future::pending());
        assert!(!transfers.may_begin(client));
        transfers.clients.values_mut().for_each(|running| running.began -= REPEAT_PAUSE);
        assert!(transfers.may_begin(client));
        transfers.one_ended().await;
        assert!(transfers.clients.is_empty());
    }

    #[tokio::test]
    async fn one_client_cannot_take_all_places() {
        let client = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let mut transfers = Transfers::default();
        for port in 0..TRANSFERS_PER_CLIENT_LIMIT as u16 {
            assert!(transfers.may_begin(client(port)));
            transfers.begin(client(port), std::future::pending());
        }
        assert!(!transfers.may_begin(client(99)));
        assert!(transfers.may_begin(SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 2), 99)));
    }
}
