//! The TFTP pump: requests on UDP port 69 of the head's address, the transfers on another port for each of some threads.
//!
//! A transfer is known by its client's address and port (RFC 1350 calls the pair of ports its TID), so that one socket
//! serves many: what they acknowledge is read with one call to the kernel, and what they get is sent with one. A machine
//! belongs to one thread by its address. Every client is sent one window for each of its acknowledgements, so that a boot
//! configuration of one block never stands behind somebody's kernel; when many fetch kernels, some wait ([`place`]). Who is
//! not on one of the cluster's networks is met by silence: it would not be the one who asked.

mod desk;
mod ear;
mod outbox;
mod place;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use anyhow::Context;
use cluster::phase::Step;
use cluster::{Mac, Phase};
use netboot::dhcp::Subnet;
use netboot::tftp::{Pace, Request};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::Socket;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::desk::{Desk, Next, Tell};
use self::ear::Ear;
use self::outbox::Outbox;
use super::{ERROR_PAUSE, Networks, PACKET_BYTES, Service, enlarge_buffer, open_udp};
use crate::files::Missing;
use crate::head::{BootFile, Head};
use crate::thread::Thread;

/// The port TFTP servers listen on.
const PORT: u16 = 69;
/// How often timers are looked at: the finest patience is 400 ms.
const TICK: Duration = Duration::from_millis(50);
/// What may wait to be read, and to be sent, in bytes.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// The most turns, of a batch of packets each, before requests and timers have theirs.
const TURNS_LIMIT: usize = 4;

const SERVICE: Service = Service {
    name: "TFTP",
    remedy: "stop the other TFTP server, or give the cluster a network of its own and name that interface",
};

/// The most threads that move transfers; no more than the machine has cores.
const THREADS_LIMIT: usize = 4;
/// The most requests that wait for a thread; those over it are not answered, and the client asks again.
const REQUESTS_LIMIT: usize = 256;

/// The bound sockets.
#[derive(Debug)]
pub(crate) struct Server {
    requests: Socket,
    transfers: Vec<Socket>,
    networks: Networks,
}

/// Binds port 69 of the head's address on the interface, and others for the transfers, for clients of these networks.
///
/// # Errors
/// A sentence that says which program has the port, or which right is missing.
pub(crate) fn bind(interface: &str, address: Ipv4Addr, subnets: &[Subnet]) -> anyhow::Result<Server> {
    bind_port(interface, SocketAddrV4::new(address, PORT), subnets)
}

fn bind_port(interface: &str, address: SocketAddrV4, subnets: &[Subnet]) -> anyhow::Result<Server> {
    let requests = open_udp(interface, address, &SERVICE)?;
    // U-Boot with lwIP asks once: no request of a hall that starts at once may be lost here.
    enlarge_buffer(&requests, SOCKET_BUFFER_BYTES)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_LIMIT);
    let port = || {
        let transfers = open_udp(interface, SocketAddrV4::new(*address.ip(), 0), &SERVICE)?;
        enlarge_buffer(&transfers, SOCKET_BUFFER_BYTES)?;
        setsockopt(&transfers, sockopt::SndBufForce, &SOCKET_BUFFER_BYTES)
            .or_else(|_| setsockopt(&transfers, sockopt::SndBuf, &SOCKET_BUFFER_BYTES))
            .context("setting up a socket")?;
        Ok(transfers)
    };
    let transfers = (0..threads).map(|_| port()).collect::<anyhow::Result<_>>()?;
    Ok(Server { requests, transfers, networks: Networks::of(subnets) })
}

/// Serves until it is dropped; the running transfers end with it. Has to be called in a tokio runtime.
///
/// # Errors
/// A thread cannot be started, or ended; a socket that reports an error is tried again.
pub(crate) async fn run(server: Server, head: Head) -> anyhow::Result<()> {
    let teller = head.clone();
    let tell = move |mac, phase, step| teller.transferred(mac, phase, step);
    let find = move |path: String, client: Ipv4Addr| {
        let head = head.clone();
        async move { head.boot_file(path, client).await }
    };
    serve(server, find, tell).await
}

/// The same with any source of files, and anybody who is told.
async fn serve<F, Found, T>(server: Server, find: F, tell: T) -> anyhow::Result<()>
where
    F: Fn(String, Ipv4Addr) -> Found + Clone + Send + 'static,
    Found: Future<Output = Result<(BootFile, Pace), Missing>> + Send + 'static,
    T: Fn(Mac, Phase, Step) + Clone + Send + 'static,
{
    // None of them is the runtime's, whose threads give way: a boot loader may ask once only.
    let (mut threads, mut queues) = (Vec::new(), Vec::new());
    for (number, transfers) in server.transfers.into_iter().enumerate() {
        let (sender, queue) = mpsc::channel(REQUESTS_LIMIT);
        let (find, tell) = (find.clone(), Box::new(tell.clone()));
        queues.push(sender);
        threads.push(Thread::start(&format!("tftp-{number}"), move || {
            move_transfers(transfers, queue, find, tell)
        })?);
    }
    let (requests, networks) = (server.requests, server.networks);
    threads.push(Thread::start("tftp", move || take_requests(requests, networks, queues))?);
    any_end(threads).await
}

/// Waits until one of the threads ends.
async fn any_end(threads: Vec<Thread>) -> anyhow::Result<()> {
    let mut ends = JoinSet::new();
    for mut thread in threads {
        ends.spawn(async move { thread.ended().await });
    }
    match ends.join_next().await {
        Some(ended) => ended.context("a thread of TFTP ended")?,
        None => std::future::pending().await,
    }
}

/// Reads requests, and gives each to the thread of its machine.
async fn take_requests(
    socket: Socket,
    networks: Networks,
    queues: Vec<mpsc::Sender<(SocketAddrV4, Request)>>,
) -> anyhow::Result<()> {
    let socket = UdpSocket::from_std(socket.into()).context("registering the socket")?;
    let mut buffer = [0; PACKET_BYTES];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            // Nothing can be sent to port 0.
            Ok((length, SocketAddr::V4(client))) if client.port() != 0 && networks.serve(*client.ip()) => {
                (length, client)
            }
            Ok(_) => continue,
            Err(error) => {
                tracing::warn!("receiving TFTP requests: {error}");
                tokio::time::sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        match Request::parse(&buffer[..length]) {
            Ok(request) => {
                let thread = thread_of(*client.ip(), queues.len());
                if queues[thread].try_send((client, request)).is_err() {
                    tracing::debug!("TFTP request of {client} left unanswered: too many wait");
                }
            }
            Err(refused) => {
                tracing::debug!("TFTP packet from {client} refused: {refused}");
                if let Some(packet) = refused.packet() {
                    let _ = socket.try_send_to(&packet, SocketAddr::V4(client));
                }
            }
        }
    }
}

/// Which of so many threads a machine belongs to. Boards of a kind may have every second or fourth address, and the blocks
/// of a Pi 3's ROM are the most work: the address is stirred (Knuth, The Art of Computer Programming 3, section 6.4).
fn thread_of(client: Ipv4Addr, threads: usize) -> usize {
    (client.to_bits().wrapping_mul(0x9e37_79b1) >> 16) as usize % threads
}

/// What one of the threads does.
async fn move_transfers<F, Found>(
    transfers: Socket,
    mut queue: mpsc::Receiver<(SocketAddrV4, Request)>,
    find: F,
    tell: Tell,
) -> anyhow::Result<()>
where
    F: Fn(String, Ipv4Addr) -> Found,
    Found: Future<Output = Result<(BootFile, Pace), Missing>> + Send + 'static,
{
    let transfers = UdpSocket::from_std(transfers.into()).context("registering the socket")?;
    let mut pump = Pump { transfers, desk: Desk::new(tell), outbox: Outbox::new(), began: Instant::now() };
    let mut ear = Ear::new();
    let mut asked = Vec::new();
    let mut finding = JoinSet::new();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let worked = tokio::select! {
            ready = pump.transfers.readable() => match ready {
                Ok(()) => pump.hear(&mut ear).await,
                Err(error) => Err(error),
            },
            // All that wait, for the transfers have many packets before the next ones' turn.
            count = queue.recv_many(&mut asked, REQUESTS_LIMIT) => {
                if count == 0 {
                    return Ok(());
                }
                pump.take(&mut asked);
                for (client, request) in asked.drain(..) {
                    let found = find(request.path.clone(), *client.ip());
                    finding.spawn(async move { (client, request, found.await) });
                }
                Ok(())
            }
            Some(mut found) = finding.join_next() => {
                loop {
                    match found {
                        Ok((client, request, found)) => pump.begin(client, request, found),
                        Err(error) => tracing::error!("looking for a file broke: {error}"),
                    }
                    let Some(next) = finding.try_join_next() else { break };
                    found = next;
                }
                Ok(())
            }
            _ = tick.tick(), if !pump.desk.is_idle() => {
                pump.tick().await;
                Ok(())
            }
        };
        if let Err(error) = worked {
            tracing::warn!("receiving TFTP packets: {error}");
            tokio::time::sleep(ERROR_PAUSE).await;
        }
        pump.outbox.send(&pump.transfers).await;
    }
}

struct Pump {
    transfers: UdpSocket,
    desk: Desk,
    outbox: Outbox,
    began: Instant,
}

impl Pump {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Answers what waits on the transfers' socket, until nothing comes any more, or requests and timers have waited long
    /// enough.
    async fn hear(&mut self, ear: &mut Ear) -> io::Result<()> {
        for _ in 0..TURNS_LIMIT {
            if !ear.receive(&self.transfers)? {
                break;
            }
            let now_ms = self.now_ms();
            for (packet, client) in ear.packets() {
                self.desk.packet(client, packet, now_ms, &mut self.outbox);
                if self.outbox.is_due() {
                    self.outbox.send(&self.transfers).await;
                }
            }
            self.outbox.send(&self.transfers).await;
        }
        Ok(())
    }

    /// Leaves those requests whose file has to be found.
    fn take(&mut self, asked: &mut Vec<(SocketAddrV4, Request)>) {
        let now_ms = self.now_ms();
        let Self { desk, outbox, .. } = self;
        asked
            .retain(|(client, request)| desk.request(*client, request.clone(), now_ms, outbox) == Next::Find);
    }

    fn begin(&mut self, client: SocketAddrV4, request: Request, found: Result<(BootFile, Pace), Missing>) {
        let now_ms = self.now_ms();
        if let Some(error) = self.desk.begin(client, request, found, now_ms, &mut self.outbox) {
            let _ = self.transfers.try_send_to(&error, SocketAddr::V4(client));
        }
    }

    async fn tick(&mut self) {
        let now_ms = self.now_ms();
        for client in self.desk.overdue(now_ms) {
            self.desk.poll(client, now_ms, &mut self.outbox);
            if self.outbox.is_due() {
                self.outbox.send(&self.transfers).await;
            }
        }
        self.desk.progress(now_ms);
    }
}

#[cfg(test)]
mod tests;
