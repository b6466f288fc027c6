//! How the transfers' socket is read: one packet or many with a call, and awake for a moment before the thread sleeps.

use std::io;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::pump::batch::Received;

/// With so many packets one after another there is a crowd, which is read with one call.
const CROWD: usize = 3;
/// How long the thread stays awake for the next packet. To be woken costs it about as much, and costs whoever sends the
/// packet as well. It does so only if the last wait was as short: a single board on a real wire takes longer, and is
/// waited for asleep.
const LINGER: Duration = Duration::from_micros(100);

/// See the module.
pub(super) struct Ear {
    received: Received,
    /// How many packets came since nothing was there.
    row: usize,
    /// Since when nothing has been there.
    quiet: Option<Instant>,
    /// Whether the last wait was a short one.
    soon: bool,
}

impl Ear {
    pub(super) fn new() -> Self {
        Self { received: Received::new(), row: 0, quiet: None, soon: false }
    }

    /// Takes what waits at the socket. False: nothing came, and `socket.readable()` tells when something does.
    ///
    /// # Errors
    /// What the socket says.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<bool> {
        while !self.take(socket)? {
            self.row = 0;
            let quiet = *self.quiet.get_or_insert_with(Instant::now);
            if !self.soon || quiet.elapsed() >= LINGER {
                // The runtime tells only of what comes after it saw that nothing was there.
                let told = socket.try_io(Interest::READABLE, || {
                    if self.take(socket)? { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
                });
                return match told {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
                    told => told.map(|()| true),
                };
            }
            // Whoever else wants the processor has it first.
            std::thread::yield_now();
        }
        Ok(true)
    }

    /// What was taken, and who sent it.
    pub(super) fn packets(&self) -> impl Iterator<Item = (&[u8], SocketAddrV4)> {
        self.received.packets()
    }

    /// Whether anything was there.
    fn take(&mut self, socket: &UdpSocket) -> io::Result<bool> {
        let taken = if self.row >= CROWD {
            self.received.receive_from(socket)
        } else {
            self.received.receive_one(socket)
        };
        match taken {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            // An ICMP message that nobody listens there, which anybody can forge: the timer decides.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(false),
            Err(error) => return Err(error),
        }
        self.row += 1;
        if let Some(quiet) = self.quiet.take() {
            self.soon = quiet.elapsed() < LINGER;
        }
        Ok(true)
    }
}
