//! How the transfers' socket is read: one packet with a call while there are few, else many.

use std::io;
use std::net::SocketAddrV4;

use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::pump::batch::Received;

/// With so many packets one after another there is a crowd, which is read with one call.
const CROWD: usize = 3;

/// See the module.
pub(super) struct Ear {
    received: Received,
    /// How many times something was there, one after another.
    row: usize,
}

impl Ear {
    pub(super) fn new() -> Self {
        Self { received: Received::new(), row: 0 }
    }

    /// Takes what waits at the socket. False: nothing came, and `socket.readable()` tells when something does.
    ///
    /// # Errors
    /// What the socket says.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<bool> {
        let taken = socket.try_io(Interest::READABLE, || {
            if self.row >= CROWD {
                self.received.receive_from(socket)
            } else {
                self.received.receive_one(socket)
            }
        });
        match taken {
            Ok(()) => {
                self.row += 1;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.row = 0;
                Ok(false)
            }
            // An ICMP message that nobody listens there, which anybody can forge: the timer decides.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// What was taken, and who sent it.
    pub(super) fn packets(&self) -> impl Iterator<Item = (&[u8], SocketAddrV4)> {
        self.received.packets()
    }
}
