//! The DHCP pump: UDP port 67 of the cluster's interface.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use netboot::dhcp::{Answer, Request};
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;

use super::{ERROR_PAUSE, PACKET_BYTES, Service, bind_udp};
use crate::head::Head;

/// The port DHCP servers listen on.
const PORT: u16 = 67;
/// The most requests that are being answered; the next wait in the socket's buffer. Clients ask again.
const IN_FLIGHT_LIMIT: usize = 256;

const SERVICE: Service = Service {
    name: "DHCP",
    remedy: "stop the other DHCP server, or give the cluster a network of its own and name that interface",
};

/// Binds port 67 on the interface. Has to be called in a tokio runtime.
///
/// # Errors
/// A sentence that says which program has the port, or which right is missing.
pub(crate) fn bind(interface: &str) -> anyhow::Result<UdpSocket> {
    // Broadcasts reach only a socket without an address of its own.
    bind_udp(interface, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT), &SERVICE)
}

/// Answers until it is dropped.
///
/// # Errors
/// None at present; a socket that reports an error is tried again.
pub(crate) async fn run(socket: UdpSocket, head: Head) -> anyhow::Result<()> {
    let socket = Arc::new(socket);
    let places = Arc::new(Semaphore::new(IN_FLIGHT_LIMIT));
    let mut buffer = [0; PACKET_BYTES];
    loop {
        let place = places.clone().acquire_owned().await?;
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                tracing::warn!("receiving DHCP packets: {error}");
                tokio::time::sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        let request = match Request::parse(&buffer[..length]) {
            Ok(request) => request,
            Err(why) => {
                tracing::debug!("DHCP packet from {from} ignored: {why}");
                continue;
            }
        };
        let (socket, head) = (socket.clone(), head.clone());
        tokio::spawn(async move {
            handle(&socket, &head, request).await;
            drop(place);
        });
    }
}

/// One request: by the time the reply leaves, its lease is on disk.
async fn handle(socket: &UdpSocket, head: &Head, request: Request) {
    let (mac, kind, profile) = (request.mac, request.kind, request.profile);
    match head.dhcp(request).await {
        Answer::Ignore(why) => tracing::debug!("DHCP {kind:?} of {mac} ({profile:?}) ignored: {why}"),
        Answer::Reply { bytes, to, lease, delay_ms } => {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
            if let Err(error) = socket.send_to(&bytes, SocketAddr::V4(to)).await {
                tracing::warn!("sending a DHCP reply to {mac} at {to}: {error}");
                return;
            }
            match lease {
                Some(lease) => tracing::info!("{mac} ({profile:?}) has {}", lease.address),
                None => tracing::debug!("DHCP {kind:?} of {mac} ({profile:?}) answered"),
            }
        }
    }
}
