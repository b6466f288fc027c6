//! TFTP packets: bytes to types and back. Decides nothing about a transfer.

use std::str;

/// The largest block that is agreed on, in bytes: what fits an Ethernet frame with IP and UDP headers.
pub const BLKSIZE_LIMIT: u16 = 1_468;
/// The largest window that is agreed on, in blocks (RFC 7440): more overruns a boot loader's receive ring.
pub const WINDOWSIZE_LIMIT: u16 = 64;
/// The longest file name that is read, in bytes.
const PATH_LIMIT: usize = 255;
/// The most options of one request that are looked at.
const OPTIONS_LIMIT: usize = 16;
/// The smallest block a client may ask for, in bytes (RFC 2348).
const BLKSIZE_MIN: u16 = 8;

/// Length of what stands before a DATA packet's data, in bytes.
pub const DATA_HEADER_BYTES: usize = 4;

const OPCODE_RRQ: u16 = 1;
const OPCODE_WRQ: u16 = 2;
const OPCODE_DATA: u16 = 3;
const OPCODE_ACK: u16 = 4;
const OPCODE_ERROR: u16 = 5;
const OPCODE_OACK: u16 = 6;

/// TFTP's error codes that this server sends (RFC 1350 appendix, RFC 2347).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// 0: see the message.
    NotDefined,
    /// 1: no such file.
    FileNotFound,
    /// 2: access violation.
    AccessViolation,
    /// 4: the packet makes no sense here.
    IllegalOperation,
}

impl Code {
    fn number(self) -> u16 {
        match self {
            Self::NotDefined => 0,
            Self::FileNotFound => 1,
            Self::AccessViolation => 2,
            Self::IllegalOperation => 4,
        }
    }
}

/// A transfer mode (RFC 1350 section 1); its third one, `mail`, is obsolete and refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The file's bytes as they are.
    #[default]
    Octet,
    /// A text whose lines end in CR LF on the wire.
    Netascii,
}

/// A read request with the options that this server knows; others are not answered (RFC 2347).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The file's name as it was sent: printable, 1 to 255 bytes, not normalised.
    pub path: String,
    /// How the file is to be sent.
    pub mode: Mode,
    /// `blksize` (RFC 2348) in bytes, as asked for: 8 or more.
    pub blksize: Option<u16>,
    /// Whether `tsize` (RFC 2349) was asked for.
    pub tsize: bool,
    /// `timeout` (RFC 2349) in seconds, 1 to 255.
    pub timeout: Option<u8>,
    /// `windowsize` (RFC 7440) in blocks, as asked for: 1 or more.
    pub windowsize: Option<u16>,
}

/// Why a first packet is not a read request that can be served.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// Neither a read nor a write request: not the start of a conversation, so not answered.
    #[error("not a request")]
    NotRequest,
    /// A request whose fields cannot be read.
    #[error("malformed request")]
    Malformed,
    /// A write request.
    #[error("writing is not allowed")]
    Write,
    /// A mode other than octet and netascii.
    #[error("only the modes octet and netascii are served")]
    Mode,
}

impl Refused {
    /// What to send back; nothing where an answer could start a conversation between two servers.
    pub fn packet(self) -> Option<Vec<u8>> {
        let code = match self {
            Self::NotRequest => return None,
            Self::Malformed | Self::Mode => Code::IllegalOperation,
            Self::Write => Code::AccessViolation,
        };
        Some(error_packet(code, &self.to_string()))
    }
}

impl Request {
    /// Reads the first packet of a conversation.
    ///
    /// # Errors
    /// [`Refused`] says what to answer instead of a file.
    pub fn parse(packet: &[u8]) -> Result<Self, Refused> {
        let (opcode, fields) = opcode(packet).ok_or(Refused::NotRequest)?;
        match opcode {
            OPCODE_RRQ => {}
            OPCODE_WRQ => return Err(Refused::Write),
            _ => return Err(Refused::NotRequest),
        }
        let mut fields = Fields(fields);
        let path = fields.next().ok_or(Refused::Malformed)?;
        if path.is_empty() || path.len() > PATH_LIMIT || path.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(Refused::Malformed);
        }
        let mode = fields.next().ok_or(Refused::Malformed)?;
        let mode = match mode.to_ascii_lowercase().as_str() {
            "octet" => Mode::Octet,
            "netascii" => Mode::Netascii,
            _ => return Err(Refused::Mode),
        };
        let path = path.to_owned();
        let mut request = Self { path, mode, blksize: None, tsize: false, timeout: None, windowsize: None };
        for _ in 0..OPTIONS_LIMIT {
            let (Some(name), Some(value)) = (fields.next(), fields.next()) else { break };
            request.set_option(name, value);
        }
        Ok(request)
    }

    /// Notes one option; a value out of its range is as if the option was not there (RFC 2347).
    fn set_option(&mut self, name: &str, value: &str) {
        match name.to_ascii_lowercase().as_str() {
            "blksize" => {
                self.blksize = number(value).filter(|size| *size >= BLKSIZE_MIN);
            }
            "windowsize" => self.windowsize = number(value).filter(|blocks| *blocks >= 1),
            "timeout" => {
                self.timeout =
                    number(value).and_then(|secs| u8::try_from(secs).ok()).filter(|secs| *secs >= 1);
            }
            "tsize" => self.tsize = true,
            _ => {}
        }
    }

    /// Whether an option was asked for that is answered, so that the answer begins with an OACK.
    pub(super) fn has_options(&self) -> bool {
        self.tsize || self.blksize.is_some() || self.timeout.is_some() || self.windowsize.is_some()
    }
}

/// What a client says during a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FromClient {
    /// It has everything up to this block (16 bits of the number).
    Ack(u16),
    /// It gives up.
    Error {
        /// TFTP's error code.
        code: u16,
        /// Its message: printable ASCII, cut.
        message: String,
    },
}

impl FromClient {
    /// The longest message of a client that is kept, in bytes.
    const MESSAGE_LIMIT: usize = 100;

    /// Reads a packet of a running transfer; anything else than ACK and ERROR is nothing.
    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        let (opcode, rest) = opcode(packet)?;
        let (number, rest) = rest.split_first_chunk::<2>()?;
        let number = u16::from_be_bytes(*number);
        match opcode {
            OPCODE_ACK => Some(Self::Ack(number)),
            OPCODE_ERROR => Some(Self::Error { code: number, message: printable(rest) }),
            _ => None,
        }
    }
}

/// An ERROR packet.
pub fn error_packet(code: Code, message: &str) -> Vec<u8> {
    let mut packet = [OPCODE_ERROR.to_be_bytes(), code.number().to_be_bytes()].concat();
    packet.extend(message.bytes().filter(|byte| *byte != 0));
    packet.push(0);
    packet
}

/// The beginning of a DATA packet: `number` is the low 16 bits of the block's number.
pub(super) fn data_header(number: u16) -> [u8; DATA_HEADER_BYTES] {
    let [[a, b], [c, d]] = [OPCODE_DATA.to_be_bytes(), number.to_be_bytes()];
    [a, b, c, d]
}

/// An OACK packet (RFC 2347).
pub(super) fn oack_packet(options: &[(&str, u64)]) -> Vec<u8> {
    let mut packet = OPCODE_OACK.to_be_bytes().to_vec();
    for (name, value) in options {
        packet.extend(format!("{name}\0{value}\0").into_bytes());
    }
    packet
}

fn opcode(packet: &[u8]) -> Option<(u16, &[u8])> {
    let (opcode, rest) = packet.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*opcode), rest))
}

/// A number as a client writes it: too large is the largest, since every option here is an upper bound.
fn number(text: &str) -> Option<u16> {
    if text.is_empty() || !text.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u16::MAX))
}

fn printable(bytes: &[u8]) -> String {
    let text = bytes.iter().take_while(|byte| **byte != 0).take(FromClient::MESSAGE_LIMIT);
    text.map(|byte| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '?' }).collect()
}

/// Strings that end in a zero byte, one after another; one that does not end or is not UTF-8 ends the list.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let (field, rest) = self.0.split_at(end);
        self.0 = rest.get(1..)?;
        str::from_utf8(field).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rrq(fields: &[&str]) -> Vec<u8> {
        let mut packet = vec![0, 1];
        for field in fields {
            packet.extend(field.bytes());
            packet.push(0);
        }
        packet
    }

    #[test]
    fn reads_the_request_of_u_boot() {
        let packet =
            rrq(&["pxelinux.cfg/01-52-54-00", "octet", "timeout", "5", "blksize", "1468", "tsize", "0"]);
        let request = Request::parse(&packet).expect("a read request");
        assert_eq!(request.path, "pxelinux.cfg/01-52-54-00");
        assert_eq!((request.timeout, request.blksize, request.windowsize), (Some(5), Some(1468), None));
        assert!(request.tsize);
    }

    #[test]
    fn odd_options_are_as_if_they_were_not_there() {
        let packet = rrq(&["f", "OCTET", "BLKSIZE", "7", "windowsize", "0", "timeout", "256", "x", "y", "z"]);
        let request = Request::parse(&packet).expect("a read request");
        assert!(!request.has_options(), "{request:?}");
        let packet = rrq(&["f", "octet", "blksize", "99999999999999", "timeout", "-1"]);
        assert_eq!(Request::parse(&packet).map(|request| request.blksize), Ok(Some(u16::MAX)));
    }

    #[test]
    fn refuses_what_it_does_not_serve_with_the_right_error() {
        let write = [&[0, 2], &rrq(&["f", "octet"])[2..]].concat();
        assert_eq!(Request::parse(&write), Err(Refused::Write));
        assert_eq!(Request::parse(&rrq(&["f", "mail"])), Err(Refused::Mode));
        assert_eq!(Request::parse(&rrq(&["f", "NetASCII"])).map(|request| request.mode), Ok(Mode::Netascii));
        assert_eq!(Request::parse(&rrq(&["", "octet"])), Err(Refused::Malformed));
        assert_eq!(Request::parse(&rrq(&["a\nb", "octet"])), Err(Refused::Malformed));
        assert_eq!(Request::parse(&rrq(&["f"])), Err(Refused::Malformed));
        assert_eq!(Request::parse(&[0, 5, 0, 1, 0]), Err(Refused::NotRequest));
        assert_eq!(Refused::NotRequest.packet(), None);
        assert_eq!(Refused::Write.packet().map(|packet| packet[..4].to_vec()), Some(vec![0, 5, 0, 2]));
    }

    #[test]
    fn a_client_s_message_cannot_carry_control_characters_into_a_log() {
        let packet = [&[0, 5, 0, 8][..], b"gone\x1b[31m\n", &[0]].concat();
        let message = "gone?[31m?".to_owned();
        assert_eq!(FromClient::parse(&packet), Some(FromClient::Error { code: 8, message }));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(packet in proptest::collection::vec(any::<u8>(), 0..600), opcode in 0..7_u8) {
            let _ = FromClient::parse(&packet);
            let _ = Request::parse(&packet);
            let _ = Request::parse(&[&[0, opcode], &packet[..]].concat());
        }
    }
}
