//! The load of a measurement: clients that fetch one file by TFTP again and again, from any server.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::tftp;

/// What to fetch, and for how long.
#[derive(Clone, Debug)]
pub struct Load {
    /// The address of the first client; the next has the next. Servers treat the transfers of one address as one's.
    pub first: Ipv4Addr,
    /// The server; it is asked on port 69.
    pub server: Ipv4Addr,
    /// The file.
    pub path: String,
    /// How many fetch at the same time.
    pub clients: u16,
    /// The window that they ask for (RFC 7440), in blocks of 1,468 bytes.
    pub window: u16,
    /// How long they begin anew, in seconds. Each fetches the file at least once.
    pub seconds: u64,
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
            let options = tftp::LEGACY.with_window(self.window);
            let file = tftp::get(own, self.server, &self.path, options, false);
            bytes += file.map_err(anyhow::Error::msg).context(self.path.clone())?.bytes;
            if Instant::now() >= until {
                return Ok(bytes);
            }
        }
    }
}
