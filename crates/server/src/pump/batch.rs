//! Many UDP packets with one call to the kernel: recvmmsg(2) and sendmmsg(2). Knows nothing of what is in them.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc::{in_addr, in_pktinfo};
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, recvfrom, recvmmsg, sendmmsg};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// The most packets of one call.
pub(super) const BATCH_LIMIT: usize = 64;
/// Room for one packet that comes in, in bytes. What is longer is cut.
const PACKET_BYTES: usize = 1_500;

/// Packets that came in, in buffers that are used again.
pub(super) struct Received {
    buffers: Box<[[u8; PACKET_BYTES]]>,
    /// Length and sender of each.
    packets: Vec<(usize, SocketAddrV4)>,
}

impl Received {
    /// Room for a batch.
    pub(super) fn new() -> Self {
        let buffers = vec![[0; PACKET_BYTES]; BATCH_LIMIT].into();
        Self { buffers, packets: Vec::with_capacity(BATCH_LIMIT) }
    }

    /// Takes what waits at the socket, at most a batch.
    ///
    /// # Errors
    /// `WouldBlock` when nothing waits; or what the socket says.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        socket.try_io(Interest::READABLE, || self.receive_from(socket))
    }

    /// The same from a socket that no runtime has.
    ///
    /// # Errors
    /// `WouldBlock` when nothing waits; or what the socket says.
    pub(super) fn receive_from(&mut self, socket: &impl AsRawFd) -> io::Result<()> {
        self.packets.clear();
        let mut headers = MultiHeaders::<SockaddrIn>::preallocate(BATCH_LIMIT, None);
        let mut slices: Vec<_> =
            self.buffers.iter_mut().map(|buffer| [IoSliceMut::new(&mut buffer[..])]).collect();
        let flags = MsgFlags::MSG_DONTWAIT;
        let came = recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), flags, None)?;
        self.packets.extend(came.map(|packet| {
            let from = packet.address.map_or(SocketAddrV4::new([0; 4].into(), 0), SocketAddrV4::from);
            (packet.bytes, from)
        }));
        Ok(())
    }

    /// Takes a single packet, with less ado than a batch.
    ///
    /// # Errors
    /// `WouldBlock` when nothing waits; or what the socket says.
    pub(super) fn receive_one(&mut self, socket: &impl AsRawFd) -> io::Result<()> {
        self.packets.clear();
        let (length, from) = recvfrom::<SockaddrIn>(socket.as_raw_fd(), &mut self.buffers[0])?;
        self.packets.extend(from.map(|from| (length, from.into())));
        Ok(())
    }

    /// The packets, and who sent them.
    pub(super) fn packets(&self) -> impl Iterator<Item = (&[u8], SocketAddrV4)> {
        self.buffers.iter().zip(&self.packets).map(|(buffer, (length, from))| (&buffer[..*length], *from))
    }
}

/// Packets that go out, in buffers that are used again.
pub(super) struct Replies {
    buffers: Vec<Vec<u8>>,
    /// Whom each goes to: as many as there are packets.
    to: Vec<Option<SockaddrIn>>,
    /// The address that they come from; the socket's own if absent.
    from: Option<Ipv4Addr>,
}

impl Replies {
    /// Room for a batch.
    pub(super) fn new() -> Self {
        Self { buffers: vec![Vec::new(); BATCH_LIMIT], to: Vec::with_capacity(BATCH_LIMIT), from: None }
    }

    /// Room for a batch that a socket without an address of its own sends: the packets come from this one, whatever other
    /// addresses the interface has.
    pub(super) fn from(address: Ipv4Addr) -> Self {
        Self { from: Some(address), ..Self::new() }
    }

    /// Has a packet sent that is written already. At most a batch.
    pub(super) fn push_bytes(&mut self, bytes: Vec<u8>, to: SocketAddrV4) {
        *self.buffer() = bytes;
        self.push(to);
    }

    /// Where the next packet is written; it counts after [`Replies::push`].
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        let last = self.to.len().min(BATCH_LIMIT - 1);
        &mut self.buffers[last]
    }

    /// Has the packet in the buffer sent. At most a batch.
    pub(super) fn push(&mut self, to: SocketAddrV4) {
        if self.to.len() < BATCH_LIMIT {
            self.to.push(Some(to.into()));
        }
    }

    /// Sends all packets. One that cannot be sent is left out, as if the network had lost it.
    pub(super) fn send(&mut self, socket: &impl AsRawFd) {
        let mut sent = 0;
        while sent < self.to.len() {
            match self.send_from(socket, sent) {
                Ok(count) => sent += count.max(1),
                Err(Errno::EINTR) => {}
                // The socket's buffer is full: clients ask again.
                Err(Errno::EAGAIN) => break,
                Err(error) => {
                    tracing::debug!("sending a packet: {error}");
                    sent += 1;
                }
            }
        }
        self.to.clear();
    }

    fn send_from(&self, socket: &impl AsRawFd, first: usize) -> nix::Result<usize> {
        let space = self.from.map(|_| nix::cmsg_space!(in_pktinfo));
        let mut headers = MultiHeaders::<SockaddrIn>::preallocate(self.to.len() - first, space);
        // ip(7), IP_PKTINFO: the kernel takes the source address from `ipi_spec_dst`.
        let info = self.from.map(|address| in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: in_addr { s_addr: address.to_bits().to_be() },
            ipi_addr: in_addr { s_addr: 0 },
        });
        let control: Vec<_> = info.iter().map(ControlMessage::Ipv4PacketInfo).collect();
        let slices: Vec<_> =
            self.buffers[first..self.to.len()].iter().map(|reply| [IoSlice::new(reply)]).collect();
        let flags = MsgFlags::MSG_DONTWAIT;
        let sent =
            sendmmsg(socket.as_raw_fd(), &mut headers, slices.iter(), &self.to[first..], &control, flags)?;
        Ok(sent.count())
    }
}
