//! The load of a measurement: clients that fetch one file by TFTP or HTTP again and again, from any server.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::{http, tftp};

/// What to fetch, and for how long.
#[derive(Clone, Debug)]
pub struct Load {
    /// The address of the first client; the next has the next. Servers treat the transfers of one address as one's.
    pub first: Ipv4Addr,
    /// The server.
    pub server: Ipv4Addr,
    /// How it is asked.
    pub protocol: Protocol,
    /// The file.
    pub path: String,
    /// How many fetch at the same time.
    pub clients: u16,
    /// How long they begin anew, in seconds. Each fetches the file at least once.
    pub seconds: u64,
}

/// How a server is asked for a file.
#[derive(Clone, Copy, Debug)]
pub enum Protocol {
    /// On port 69, with this window (RFC 7440), in blocks of 1,468 bytes.
    Tftp {
        /// The window.
        window: u16,
    },
    /// One connection for each file.
    Http {
        /// The server's port.
        port: u16,
    },
}

impl Load {
    /// Fetches. How many bytes arrived, and in how many seconds.
    ///
    /// # Errors
    /// A transfer failed.
    pub fn run(&self) -> anyhow::Result<(u64, f64)> {
        let began = Instant::now();
        let until = began + Duration::from_secs(self.seconds);
        let bytes = std::thread::scope(|threads| {
            let own = |number| Ipv4Addr::from_bits(self.first.to_bits() + u32::from(number));
            let clients: Vec<_> = (0..self.clients)
                .map(|number| threads.spawn(move || self.client(own(number), until)))
                .collect();
            let mut bytes = 0;
            for client in clients {
                bytes += client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
            }
            anyhow::Ok(bytes)
        })?;
        Ok((bytes, began.elapsed().as_secs_f64()))
    }

    fn client(&self, own: Ipv4Addr, until: Instant) -> anyhow::Result<u64> {
        let mut bytes = 0;
        loop {
            bytes += self.fetch(own).map_err(anyhow::Error::msg).context(self.path.clone())?;
            if Instant::now() >= until {
                return Ok(bytes);
            }
        }
    }

    fn fetch(&self, own: Ipv4Addr) -> Result<u64, String> {
        match self.protocol {
            Protocol::Tftp { window } => {
                let options = tftp::LEGACY.with_window(window);
                Ok(tftp::get(own, self.server, &self.path, options, false)?.bytes)
            }
            Protocol::Http { port } => http::discard(own, SocketAddrV4::new(self.server, port), &self.path),
        }
    }
}
