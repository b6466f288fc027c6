//! The firmware's TFTP: one block, one ACK, no windows (RFC 1350, 2347 to 2349).
//!
//! How often its programs repeat a request is not documented; here a request is repeated each second and an ACK never,
//! so that a server that does not repeat by itself is found out. On a Pi 3, a second without a block ends the file.

use std::io::Write;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use cluster::Digest;
use sha2::{Digest as _, Sha256};

use crate::dhcp::Lease;

/// How long a request waits for its first answer before it is sent again, and an impatient program for a block.
const REPEAT: Duration = Duration::from_secs(1);
/// How long a whole file may take (`TFTP_FILE_TIMEOUT` of the EEPROM's configuration).
const EEPROM_FILE_LIMIT: Duration = Duration::from_secs(30);
/// How long it may take a Pi 3. Not documented; its network is ten times slower.
const PI_3_FILE_LIMIT: Duration = Duration::from_secs(300);
/// The most that is kept of a file, in bytes: `config.txt` and `cmdline.txt`.
const KEEP_LIMIT: usize = 16 * 1024;
const DATA_BYTES_LIMIT: usize = 1_468;

/// What a program asks for, and what it does not bear.
#[derive(Clone, Copy)]
pub(super) struct Style {
    options: &'static [&'static str],
    block: usize,
    limit: Duration,
    /// Whether it waits for the next block until `limit`.
    patient: bool,
    /// A file of which no block may come twice.
    fragile: Option<&'static str>,
}

/// The ROM of a Pi 3 knows no options.
pub(super) const ROM: Style =
    Style { options: &[], block: 512, limit: PI_3_FILE_LIMIT, patient: false, fragile: None };
/// bootcode.bin and start.elf ask for the size (raspberrypi/firmware#1700, #1041), and leave a file after a second of
/// silence (#1025). The ROM, of which nothing is reported, is taken to be no better.
pub(super) const BOOTCODE: Style = Style { options: &["tsize", "0"], ..ROM };
/// The EEPROM starts the boot over after a second block of start4.elf (raspberrypi/firmware#1631).
pub(super) const EEPROM: Style = Style {
    options: &["tsize", "0", "blksize", "1468"],
    block: DATA_BYTES_LIMIT,
    limit: EEPROM_FILE_LIMIT,
    patient: true,
    fragile: Some("start4.elf"),
};

/// A file that arrived.
pub(super) struct Fetched {
    /// How long it is.
    pub(super) bytes: u64,
    /// Of all of it.
    pub(super) sha256: Digest,
    /// Its beginning.
    pub(super) kept: Vec<u8>,
}

/// Fetches a file into `sink`.
///
/// # Errors
/// The server refuses, is too slow, or does what the program does not bear; or the sink is full.
pub(super) fn fetch(
    lease: &Lease,
    path: &str,
    style: Style,
    sink: &mut dyn Write,
) -> Result<Fetched, String> {
    let mut wire = Wire::ask(lease, path, style)?;
    let mut hash = Sha256::new();
    let (mut bytes, mut kept, mut last) = (0, Vec::new(), 0_u16);
    let mut block = style.block;
    loop {
        match wire.hear()? {
            Heard::Granted(size) if bytes == 0 => {
                block = size;
                wire.acknowledge(0)?;
            }
            Heard::Data(number, data) if number == last.wrapping_add(1) => {
                last = number;
                bytes += data.len() as u64;
                hash.update(data);
                sink.write_all(data).map_err(|error| format!("keeping {}: {error}", name_of(path)))?;
                if kept.len() < KEEP_LIMIT {
                    kept.extend_from_slice(data);
                }
                let ended = data.len() < block;
                wire.acknowledge(last)?;
                if ended {
                    return Ok(Fetched { bytes, sha256: Digest(hash.finalize().into()), kept });
                }
            }
            Heard::Data(..) if style.fragile.is_some_and(|name| path.ends_with(name)) => {
                return Err(format!("a block of {} came twice", name_of(path)));
            }
            Heard::Data(number, _) if number == last => wire.acknowledge(last)?,
            Heard::Refused(code) => return Err(format!("TFTP error {code} for {}", name_of(path))),
            Heard::Granted(_) | Heard::Data(..) => {}
        }
    }
}

/// Opens a file to see whether it is there, and breaks off.
///
/// # Errors
/// It is not there, or the server is silent.
pub(super) fn look(lease: &Lease, path: &str, style: Style) -> Result<(), String> {
    let mut wire = Wire::ask(lease, path, style)?;
    match wire.hear()? {
        Heard::Refused(code) => Err(format!("TFTP error {code} for {}", name_of(path))),
        Heard::Granted(_) | Heard::Data(..) => wire.send(b"\0\x05\0\0Early terminate\0"),
    }
}

/// Asks for a file that must not be there, and is told so by ERROR 1 before the request would be repeated.
///
/// # Errors
/// It is there, the server is silent, or says something else.
pub(super) fn miss(lease: &Lease, path: &str, style: Style) -> Result<(), String> {
    let mut wire = Wire::ask(lease, path, style)?;
    match wire.hear()? {
        Heard::Refused(1) => Ok(()),
        Heard::Refused(code) => Err(format!("TFTP error {code} instead of 1 for {}", name_of(path))),
        Heard::Granted(_) | Heard::Data(..) => Err(format!("{} is there", name_of(path))),
    }
}

/// A file without what differs from board to board: equal failures are counted together.
fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

enum Heard<'a> {
    /// Options were granted; the size of a block.
    Granted(usize),
    /// A block's number and content.
    Data(u16, &'a [u8]),
    /// An error's code.
    Refused(u16),
}

struct Wire<'a> {
    socket: UdpSocket,
    path: &'a str,
    style: Style,
    server: SocketAddr,
    /// The server's port for this transfer, once it answered.
    peer: Option<SocketAddr>,
    until: Instant,
    buffer: [u8; DATA_BYTES_LIMIT + 4],
}

impl<'a> Wire<'a> {
    fn ask(lease: &Lease, path: &'a str, style: Style) -> Result<Self, String> {
        let socket =
            UdpSocket::bind((lease.address, 0)).map_err(|error| format!("a port for TFTP: {error}"))?;
        socket.set_read_timeout(Some(REPEAT)).map_err(|error| error.to_string())?;
        let server = SocketAddrV4::new(lease.server, 69).into();
        let until = Instant::now() + style.limit;
        let buffer = [0; DATA_BYTES_LIMIT + 4];
        let wire = Self { socket, path, style, server, peer: None, until, buffer };
        wire.request()?;
        Ok(wire)
    }

    fn request(&self) -> Result<(), String> {
        let mut packet = vec![0, 1];
        for word in [self.path, "octet"].into_iter().chain(self.style.options.iter().copied()) {
            packet.extend(word.as_bytes());
            packet.push(0);
        }
        self.send(&packet)
    }

    fn acknowledge(&self, number: u16) -> Result<(), String> {
        let [high, low] = number.to_be_bytes();
        self.send(&[0, 4, high, low])
    }

    fn send(&self, packet: &[u8]) -> Result<(), String> {
        let sent = self.socket.send_to(packet, self.peer.unwrap_or(self.server));
        sent.map(drop).map_err(|error| format!("sending TFTP: {error}"))
    }

    /// The next packet of the transfer.
    fn hear(&mut self) -> Result<Heard<'_>, String> {
        let length = loop {
            if Instant::now() >= self.until {
                return Err(format!("TFTP: no end of {}", name_of(self.path)));
            }
            let Ok((length, from)) = self.socket.recv_from(&mut self.buffer) else {
                if self.peer.is_none() {
                    self.request()?;
                } else if !self.style.patient {
                    return Err(format!("TFTP: silence while fetching {}", name_of(self.path)));
                }
                continue;
            };
            if *self.peer.get_or_insert(from) == from && length >= 4 {
                break length;
            }
        };
        let number = u16::from_be_bytes([self.buffer[2], self.buffer[3]]);
        match self.buffer[1] {
            3 => Ok(Heard::Data(number, &self.buffer[4..length])),
            5 => Ok(Heard::Refused(number)),
            6 => Ok(Heard::Granted(block_size(&self.buffer[2..length]))),
            other => Err(format!("TFTP: a packet of kind {other}")),
        }
    }
}

/// The size of a block after an OACK: 512 unless it says otherwise (RFC 2348).
fn block_size(granted: &[u8]) -> usize {
    let mut words = granted.split(|byte| *byte == 0);
    let found = words.find(|word| word.eq_ignore_ascii_case(b"blksize")).and_then(|_| words.next());
    found.and_then(|size| std::str::from_utf8(size).ok()?.parse().ok()).unwrap_or(512)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_the_size_that_was_granted() {
        assert_eq!(block_size(b"tsize\x002256800\0blksize\x001468\0"), 1_468);
        assert_eq!(block_size(b"tsize\x002256800\0"), 512);
    }
}
