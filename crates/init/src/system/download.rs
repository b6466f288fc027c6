//! One file from the head as a stream that survives broken connections: it goes on where it stopped.

use std::io::Read;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::console::say;
use crate::head::{Body, Head};

/// How often in a row a connection may break without bringing a single byte.
const FAILURES_LIMIT: u32 = 10;
/// The first pause after a broken connection; each further one doubles it, up to the second.
#[cfg(not(test))]
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(8));
#[cfg(test)]
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(2));

/// A file on its way.
pub(super) struct Download {
    head: Head,
    path: String,
    total: u64,
    done: u64,
    failures: u32,
    connection: Option<Body>,
}

impl Download {
    /// A file of `total` bytes.
    pub(super) fn new(head: Head, path: String, total: u64) -> Self {
        Self { head, path, total, done: 0, failures: 0, connection: None }
    }

    /// Fills the buffer with the next bytes.
    ///
    /// # Errors
    /// The connection broke [`FAILURES_LIMIT`] times in a row, or the head's file has another size.
    pub(super) fn fill(&mut self, buffer: &mut [u8], mut progress: impl FnMut(u64)) -> Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_some(&mut buffer[filled..]) {
                Ok(count) => {
                    filled += count;
                    self.done += count as u64;
                    self.failures = 0;
                    progress(self.done);
                }
                Err(error) => self.pause_after(error)?,
            }
        }
        Ok(())
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let body = match &mut self.connection {
            Some(body) => body,
            none => none.insert(self.head.file_from(&self.path, self.done)?),
        };
        if body.left > self.total - self.done {
            bail!("the head's file is larger than the plan says");
        }
        match body.read(buffer).context("reading the system image from the head")? {
            0 => bail!("the head closed the connection within the system image"),
            count => Ok(count),
        }
    }

    fn pause_after(&mut self, error: anyhow::Error) -> Result<()> {
        self.connection = None;
        self.failures += 1;
        if self.failures >= FAILURES_LIMIT {
            return Err(error.context(format!("giving up after {FAILURES_LIMIT} failures in a row")));
        }
        say(&format!("fledermaus: {error:#}; going on at byte {}", self.done));
        thread::sleep((PAUSES.0 * 2_u32.pow(self.failures - 1)).min(PAUSES.1));
        Ok(())
    }
}
