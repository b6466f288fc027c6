//! The DHCP pump: UDP port 67 of the cluster's interface; beside another server also 4011.
//!
//! Packets come in batches, each batch is a question to the head, and its leases wait for one flush of the disk; meanwhile
//! the next ones are read.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use netboot::dhcp::{Kind, Mode, Packet, Request};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::Socket;
use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::batch::{Received, Replies};
use super::prober::{Found, Prober};
use super::{ERROR_PAUSE, PACKET_BYTES, Service, enlarge_buffer, open_udp, rivals};
use crate::head::Head;

/// The port DHCP servers listen on.
const PORT: u16 = 67;
/// The port of servers that add to another's (PXE specification 2.1).
const PXE_PORT: u16 = 4011;
/// The most requests that are being answered; the next wait in the socket's buffer. As many as a slow disk lets wait.
const REQUESTS_LIMIT: usize = 4_096;
/// The most batches that wait to be looked at.
const BATCHES_LIMIT: usize = 16;
/// How often the listener looks whether it is still wanted, in milliseconds.
const LOOK_UP_MS: u16 = 500;
/// With so many packets at once there is a crowd: the next are left to gather for a moment.
const CROWD: usize = 4;
/// How long they gather. Clients wait 250 ms and more.
const GATHER: Duration = Duration::from_millis(1);
/// The most replies that wait for their moment or for an answer by ARP; those over it are not sent.
const LATER_LIMIT: usize = 2_048;
/// What waits to be read: a rack that is powered on asks at once. In bytes.
const RECEIVE_BUFFER_BYTES: usize = 1024 * 1024;

const SERVICE: Service = Service {
    name: "DHCP",
    remedy: "stop the other DHCP server, or give the cluster a network of its own and name that interface",
};

/// The bound sockets.
pub(crate) struct Server {
    socket: Socket,
    pxe: Option<Socket>,
    interface: String,
    address: Ipv4Addr,
}

/// Binds port 67 on the interface, whose address is given.
///
/// # Errors
/// A sentence that says which program has the port, or which right is missing.
pub(crate) fn bind(interface: &str, address: Ipv4Addr, mode: Mode) -> anyhow::Result<Server> {
    // Broadcasts reach only a socket without an address of its own.
    let socket = open_udp(interface, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT), &SERVICE)?;
    enlarge_buffer(&socket, RECEIVE_BUFFER_BYTES)?;
    let pxe = match mode {
        Mode::Authoritative => None,
        Mode::Proxy => Some(open_udp(interface, SocketAddrV4::new(address, PXE_PORT), &SERVICE)?),
    };
    Ok(Server { socket, pxe, interface: interface.to_owned(), address })
}

/// Answers until it is dropped. Has to be called in a tokio runtime.
///
/// # Errors
/// None at present; a socket that reports an error is tried again.
pub(crate) async fn run(server: Server, head: Head) -> anyhow::Result<()> {
    let Server { socket, pxe, interface, address } = server;
    let (heard, requests) = mpsc::channel(BATCHES_LIMIT);
    let ear = socket.try_clone().context("sharing the socket")?;
    let thread = std::thread::Builder::new().name("dhcp".to_owned());
    thread.spawn(move || listen(&ear, address, &heard)).context("starting a thread")?;
    let pxe =
        pxe.map(|socket| UdpSocket::from_std(socket.into())).transpose().context("registering the socket")?;
    let prober = Prober::open(&interface).inspect_err(|error| {
        tracing::warn!("addresses are not asked for before they are offered: {error:#}")
    });
    let desk = Arc::new(Desk {
        socket,
        address,
        head: head.clone(),
        prober: prober.ok(),
        later: Arc::new(Semaphore::new(LATER_LIMIT)),
    });
    let mode = if pxe.is_some() { Mode::Proxy } else { Mode::Authoritative };
    tokio::select! {
        ended = receive(&desk, requests) => ended,
        ended = receive_pxe(pxe, &head) => ended,
        never = hear_probes(&desk) => never,
        () = rivals::watch(&interface, address, mode, &head, desk.prober.as_ref()) => Ok(()),
    }
}

/// What answering takes.
struct Desk {
    /// The listener's as well. No runtime has it: that would be woken for each packet.
    socket: Socket,
    address: Ipv4Addr,
    head: Head,
    prober: Option<Prober>,
    later: Arc<Semaphore>,
}

/// Answers what the listener heard.
async fn receive(desk: &Arc<Desk>, mut heard: mpsc::Receiver<Vec<Request>>) -> anyhow::Result<()> {
    let places = Arc::new(Semaphore::new(REQUESTS_LIMIT));
    while let Some(requests) = heard.recv().await {
        // An OFFER does not wait for the disk, as an ACK does.
        let (discovers, others): (Vec<_>, Vec<_>) =
            requests.into_iter().partition(|request| request.kind == Kind::Discover);
        for requests in [discovers, others].into_iter().filter(|requests| !requests.is_empty()) {
            let places = places.clone().acquire_many_owned(requests.len() as u32).await?;
            tokio::spawn(answer(desk.clone(), requests, places));
        }
    }
    anyhow::bail!("nobody listens for DHCP packets any more")
}

/// Hears packets until nobody wants to know. A thread's work and not a task's: a runtime is woken for each packet, and
/// when a hall of boards asks, waking up costs more than answering.
fn listen(socket: &Socket, own: Ipv4Addr, heard: &mpsc::Sender<Vec<Request>>) {
    let mut received = Received::new();
    while !heard.is_closed() {
        let mut wait = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        let taken = match poll(&mut wait, PollTimeout::from(LOOK_UP_MS)) {
            Ok(0) | Err(Errno::EINTR) => continue,
            Ok(_) => received.receive_from(socket),
            Err(error) => Err(error.into()),
        };
        match taken {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => {
                tracing::warn!("receiving DHCP packets: {error}");
                std::thread::sleep(ERROR_PAUSE);
                continue;
            }
        }
        // Our own broadcasts, which ask for other servers, come back to us.
        let foreign = received.packets().filter(|(_, from)| *from.ip() != own);
        let requests: Vec<Request> = foreign.filter_map(|(packet, from)| parse(packet, from)).collect();
        if !requests.is_empty() && heard.blocking_send(requests).is_err() {
            return;
        }
        if received.packets().count() >= CROWD {
            std::thread::sleep(GATHER);
        }
    }
}

fn parse(packet: &[u8], from: SocketAddrV4) -> Option<Request> {
    Request::parse(packet).inspect_err(|why| tracing::debug!("DHCP packet from {from} ignored: {why}")).ok()
}

/// One batch: by the time a reply leaves, its lease is on disk.
async fn answer(desk: Arc<Desk>, requests: Vec<Request>, places: OwnedSemaphorePermit) {
    let mut replies = Replies::from(desk.address);
    for (request, answer) in desk.head.dhcp(requests).await {
        let Request { mac, kind, profile, .. } = request;
        match answer.reply {
            Err(why) => tracing::debug!("DHCP {kind:?} of {mac} ({profile:?}) ignored: {why}"),
            Ok(packet) => {
                tracing::debug!("DHCP {kind:?} of {mac} ({profile:?}) answered");
                if packet.delay_ms == 0 && (packet.probe.is_none() || desk.prober.is_none()) {
                    replies.push_bytes(packet.bytes, packet.to);
                } else if let Ok(wait) = desk.later.clone().try_acquire_owned() {
                    tokio::spawn(answer_later(desk.clone(), request, packet, wait));
                }
            }
        }
    }
    replies.send(&desk.socket);
    drop(places);
}

/// A reply that is not sent at once.
async fn answer_later(desk: Arc<Desk>, request: Request, packet: Packet, wait: OwnedSemaphorePermit) {
    let Packet { bytes, to, delay_ms, probe } = packet;
    let began = tokio::time::Instant::now();
    if let (Some(address), Some(prober)) = (probe, &desk.prober) {
        match prober.ask(address).await {
            Found::Nobody => {}
            // The client itself may still have it, from another life.
            Found::Somebody(mac) if mac == request.mac => {}
            // It asks again, and gets another.
            Found::Somebody(mac) => return desk.head.in_use(address, mac).await,
            Found::Busy => return,
        }
    }
    tokio::time::sleep_until(began + Duration::from_millis(delay_ms)).await;
    let mut replies = Replies::from(desk.address);
    replies.push_bytes(bytes, to);
    replies.send(&desk.socket);
    drop(wait);
}

/// The port for clients that have their address from another server.
async fn receive_pxe(socket: Option<UdpSocket>, head: &Head) -> anyhow::Result<()> {
    let Some(socket) = socket else { return std::future::pending().await };
    let mut buffer = [0; PACKET_BYTES];
    loop {
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok((length, SocketAddr::V4(from))) => (length, from),
            Ok(_) => continue,
            Err(error) => {
                tracing::warn!("receiving PXE packets: {error}");
                tokio::time::sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        let Some(request) = parse(&buffer[..length], from) else { continue };
        if let Some(Ok(packet)) = head.pxe(request, from).await.map(|answer| answer.reply)
            && let Err(error) = socket.send_to(&packet.bytes, SocketAddr::V4(packet.to)).await
        {
            tracing::debug!("answering the PXE client {from}: {error}");
        }
    }
}

/// Hears answers by ARP, if there is a socket for them.
async fn hear_probes(desk: &Desk) -> ! {
    match &desk.prober {
        Some(prober) => prober.listen().await,
        None => std::future::pending().await,
    }
}
