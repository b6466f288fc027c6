//! DATA packets on their way out: a whole window, and the windows of many clients, with one call to the kernel.
//!
//! A window's packets lie one behind another in one buffer, all of the same size but the last; the kernel takes them
//! apart (UDP_SEGMENT, udp(7)), which costs a fraction of sending each. Where the interface cannot do that, they are
//! sent one by one.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, SocketAddrV4};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, sendmmsg};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// The most buffers that are sent with one call, and so many bytes are enough.
const BUFFERS_LIMIT: usize = 32;
const FULL_BYTES: usize = 512 * 1024;
/// The most packets that the kernel takes out of one buffer (UDP_MAX_SEGMENTS in its include/linux/udp.h), and the
/// longest buffer: what one IPv4 packet could hold, in bytes.
const SEGMENTS_LIMIT: usize = 64;
const BUFFER_BYTES: usize = 65_507;

/// See the module.
pub(super) struct Outbox {
    /// The filled ones first; the others are used again.
    buffers: Vec<Vec<u8>>,
    /// Whom each filled one goes to, and the size of its packets in bytes.
    to: Vec<(SocketAddrV4, usize)>,
    /// Whether the kernel takes buffers apart.
    segments: bool,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self { buffers: Vec::new(), to: Vec::new(), segments: true }
    }

    /// How many packets of that size fit one buffer.
    pub(super) fn room(packet_bytes: usize) -> u64 {
        (BUFFER_BYTES / packet_bytes).clamp(1, SEGMENTS_LIMIT) as u64
    }

    /// Whether it is time to send. A client that is sent a single packet waits for it alone, and goes on at once: while
    /// it works, the next ones are answered.
    pub(super) fn is_due(&self) -> bool {
        let filled = self.buffers.iter().take(self.to.len());
        let is_single = self.to.len() == 1 && self.buffers[0].len() <= self.to[0].1;
        is_single || self.to.len() >= BUFFERS_LIMIT || filled.map(Vec::len).sum::<usize>() >= FULL_BYTES
    }

    /// An empty buffer for packets of that size, of which only the last may be shorter.
    pub(super) fn buffer(&mut self, to: SocketAddrV4, packet_bytes: usize) -> &mut Vec<u8> {
        let place = self.to.len();
        self.to.push((to, packet_bytes));
        if self.buffers.len() == place {
            self.buffers.push(Vec::new());
        }
        self.buffers[place].clear();
        &mut self.buffers[place]
    }

    /// Sends everything; waits while the interface has more to send than it can. A packet that cannot be sent is one that
    /// got lost.
    pub(super) async fn send(&mut self, socket: &UdpSocket) {
        let mut sent = 0;
        while sent < self.to.len() {
            match self.send_some(socket, sent) {
                Ok(count) => sent += count.max(1),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if socket.writable().await.is_err() {
                        break;
                    }
                }
                // The interface computes no checksums, or its packets are smaller than ours.
                Err(error) if self.is_segmented(sent) && refuses_segments(&error) => self.segments = false,
                Err(error) => {
                    tracing::debug!("sending to {}: {error}", self.to[sent].0);
                    sent += 1;
                }
            }
        }
        self.to.clear();
    }

    /// Whether the kernel is asked to take the next buffers apart.
    fn is_segmented(&self, first: usize) -> bool {
        self.segments && self.buffers[first].len() > self.to[first].1
    }

    /// Sends buffers from that one on; how many went.
    fn send_some(&self, socket: &UdpSocket, first: usize) -> io::Result<usize> {
        let (to, size) = self.to[first];
        let alike =
            self.to[first..].iter().take(BUFFERS_LIMIT).take_while(|(_, other)| *other == size).count();
        let buffers = &self.buffers[first..first + alike];
        if alike == 1 && buffers[0].len() <= size {
            return socket.try_send_to(&buffers[0], SocketAddr::V4(to)).map(|_| 1);
        }
        if !self.segments {
            for packet in buffers[0].chunks(size) {
                // What finds no room is lost, and sent again later.
                let _ = socket.try_send_to(packet, SocketAddr::V4(to));
            }
            return Ok(1);
        }
        // BLKSIZE_LIMIT and a header fit.
        let segment = size as u16;
        let control = [ControlMessage::UdpGsoSegments(&segment)];
        let slices: Vec<_> = buffers.iter().map(|buffer| [IoSlice::new(buffer)]).collect();
        let to: Vec<_> =
            self.to[first..first + alike].iter().map(|(to, _)| Some(SockaddrIn::from(*to))).collect();
        socket.try_io(Interest::WRITABLE, || {
            let space = Some(nix::cmsg_space!(u16));
            let mut headers = MultiHeaders::<SockaddrIn>::preallocate(alike, space);
            let flags = MsgFlags::MSG_DONTWAIT;
            Ok(sendmmsg(socket.as_raw_fd(), &mut headers, slices.iter(), &to, control, flags)?.count())
        })
    }
}

fn refuses_segments(error: &io::Error) -> bool {
    let refusals = [Errno::EIO, Errno::EINVAL, Errno::EMSGSIZE, Errno::ENOPROTOOPT, Errno::EOPNOTSUPP];
    error.raw_os_error().is_some_and(|number| refusals.contains(&Errno::from_raw(number)))
}
