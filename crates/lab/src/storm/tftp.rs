//! The clients' TFTP: RFC 1350 with options and windows (RFC 2347, 2348, 7440), patient as U-Boot is.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::Duration;

/// What a profile asks for, and how patient it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    window: u16,
    wait: Duration,
    tries: u32,
    /// Whether it says how long it waits (RFC 2349).
    says_timeout: bool,
    /// The port that it asks from; 0 is any.
    port: u16,
}

impl Options {
    /// The same with another window.
    pub(super) fn with_window(self, window: u16) -> Self {
        Self { window, ..self }
    }
}

/// U-Boot's own stack: 5 s, ten times (net/tftp.c); the window is what our boot script sets.
pub(super) const LEGACY: Options =
    Options { window: 16, wait: Duration::from_secs(5), tries: 10, says_timeout: true, port: 0 };
/// lwIP's as U-Boot builds it: 1 s without a packet ends a transfer (`TFTP_TIMEOUT_MSECS`), for a read asks once only
/// (lwip/src/apps/tftp/tftp.c, `tftp_tmr`), and for all its files from the server's own port number (`tftp_init_common`).
pub(super) const LWIP: Options =
    Options { window: 1, wait: Duration::from_secs(1), tries: 1, says_timeout: false, port: 69 };

const BLOCK_BYTES: usize = 1_468;
/// The most that is kept of a file, in bytes: a boot configuration.
const KEEP_LIMIT: usize = 64 * 1024;

/// A file that arrived.
#[derive(Debug, Default)]
pub(super) struct File {
    /// How long it is.
    pub(super) bytes: u64,
    /// Its beginning, if it was to be kept.
    pub(super) kept: Vec<u8>,
}

/// Fetches a file.
///
/// # Errors
/// The server refuses, or is silent for longer than the profile bears.
pub(super) fn get(
    own: Ipv4Addr,
    server: Ipv4Addr,
    path: &str,
    options: Options,
    keep: bool,
) -> Result<File, String> {
    let socket = open(own, options.port).map_err(|error| format!("a port for TFTP: {error}"))?;
    socket.set_read_timeout(Some(options.wait)).map_err(|error| error.to_string())?;
    let mut transfer =
        Transfer { socket, path, options, peer: None, server, block: 0, unacked: 0, gap: false, window: 1 };
    transfer.run(keep)
}

/// Binds the port. The socket of the transfer before may live on in a program that another client just starts, until
/// that has thrown away what is not its own.
fn open(own: Ipv4Addr, port: u16) -> std::io::Result<UdpSocket> {
    const TRIES: u32 = 20;
    const PAUSE: Duration = Duration::from_millis(50);
    for _ in 1..TRIES {
        match UdpSocket::bind((own, port)) {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => std::thread::sleep(PAUSE),
            done => return done,
        }
    }
    UdpSocket::bind((own, port))
}

struct Transfer<'a> {
    socket: UdpSocket,
    path: &'a str,
    options: Options,
    /// The server's port for this transfer, once it answered.
    peer: Option<SocketAddr>,
    server: Ipv4Addr,
    /// The last block in order, and how many since the last ACK.
    block: u16,
    unacked: u16,
    /// Another block came than the next: the server has been told.
    gap: bool,
    /// What the server granted, in blocks.
    window: u16,
}

impl Transfer<'_> {
    fn run(&mut self, keep: bool) -> Result<File, String> {
        let mut file = File::default();
        let mut buffer = [0; BLOCK_BYTES + 4];
        let mut tries = 0;
        self.send_request()?;
        loop {
            let Ok((length, from)) = self.socket.recv_from(&mut buffer) else {
                tries += 1;
                if tries >= self.options.tries {
                    return Err(format!("TFTP: silence while fetching {}", kind(self.path)));
                }
                if self.peer.is_some() {
                    self.acknowledge()?
                } else {
                    self.send_request()?
                }
                continue;
            };
            if self.peer.is_some_and(|peer| peer != from) {
                continue;
            }
            match buffer[..length] {
                [0, 6, ref granted @ ..] if self.block == 0 && file.bytes == 0 => {
                    self.peer = Some(from);
                    // A server that knows no windows leaves the option out (RFC 7440 section 3).
                    self.window = option(granted, "windowsize").unwrap_or(1).min(self.options.window);
                    self.acknowledge()?;
                }
                [0, 3, high, low, ref data @ ..] if self.peer.is_some() => {
                    tries = 0;
                    let number = u16::from_be_bytes([high, low]);
                    if self.take(number)? {
                        file.bytes += data.len() as u64;
                        if keep && file.kept.len() < KEEP_LIMIT {
                            file.kept.extend_from_slice(data);
                        }
                        if data.len() < BLOCK_BYTES {
                            self.acknowledge()?;
                            return Ok(file);
                        }
                    }
                }
                [0, 5, _, code, ref text @ ..] => {
                    let text = String::from_utf8_lossy(text);
                    let text = text.trim_end_matches('\0');
                    return Err(format!("TFTP error {code} for {}: {text}", kind(self.path)));
                }
                _ => {}
            }
        }
    }

    /// Whether the block is the next one. Says so at the window's end, and with windows once when another came (U-Boot,
    /// net/tftp.c, `tftp_last_nack`).
    fn take(&mut self, number: u16) -> Result<bool, String> {
        if number != self.block.wrapping_add(1) {
            let complains = self.window > 1 && self.block > 0 || number == self.block;
            if complains && !self.gap {
                self.gap = true;
                self.acknowledge()?;
            }
            return Ok(false);
        }
        self.gap = false;
        self.block = number;
        self.unacked += 1;
        if self.unacked >= self.window {
            self.acknowledge()?;
        }
        Ok(true)
    }

    fn send_request(&self) -> Result<(), String> {
        let mut packet = vec![0, 1];
        let window = self.options.window.to_string();
        let mut words = vec![self.path, "octet", "tsize", "0", "blksize", "1468"];
        if self.options.says_timeout {
            words.extend(["timeout", "5"]);
        }
        if self.options.window > 1 {
            words.extend(["windowsize", &window]);
        }
        for word in words {
            packet.extend(word.as_bytes());
            packet.push(0);
        }
        self.send(&packet, SocketAddrV4::new(self.server, 69).into())
    }

    fn acknowledge(&mut self) -> Result<(), String> {
        self.unacked = 0;
        let [high, low] = self.block.to_be_bytes();
        self.peer.map_or(Ok(()), |peer| self.send(&[0, 4, high, low], peer))
    }

    fn send(&self, packet: &[u8], to: SocketAddr) -> Result<(), String> {
        self.socket.send_to(packet, to).map(drop).map_err(|error| format!("sending TFTP: {error}"))
    }
}

/// The value of an option in an OACK (RFC 2347).
fn option(granted: &[u8], wanted: &str) -> Option<u16> {
    let mut words = granted.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    words.find(|word| word.eq_ignore_ascii_case(wanted))?;
    words.next()?.parse().ok()
}

/// What a file is, without what differs from client to client: equal failures are counted together.
fn kind(path: &str) -> &str {
    if path.starts_with("pxelinux.cfg/") {
        "the boot configuration"
    } else {
        path.rsplit('/').next().unwrap_or(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_granted_by_name() {
        let granted = ["blksize", "1468", "WindowSize", "8", ""].join("\0");
        assert_eq!(option(granted.as_bytes(), "windowsize"), Some(8));
        assert_eq!(option(granted.as_bytes(), "tsize"), None);
    }
}
