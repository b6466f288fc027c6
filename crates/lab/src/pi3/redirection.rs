//! USB redirection as a host's side (usbredir protocol 0.7, of the SPICE project): the lab is the device, QEMU's
//! `usb-redir` shows it to the emulated machine.
//!
//! Packets, no device: what they mean to the chip is [`super::lan9514`]'s. All numbers are little-endian.

use std::io::{self, Read, Write};

/// The most that one packet may carry, in bytes: a transfer's length has 16 bits, its header ten bytes.
const PACKET_LIMIT: u32 = 70_000;

const HELLO: u32 = 0;
const DEVICE_CONNECT: u32 = 1;
const RESET: u32 = 3;
const INTERFACE_INFO: u32 = 4;
const EP_INFO: u32 = 5;
const SET_CONFIGURATION: u32 = 6;
const GET_CONFIGURATION: u32 = 7;
const CONFIGURATION_STATUS: u32 = 8;
const SET_ALT_SETTING: u32 = 9;
const GET_ALT_SETTING: u32 = 10;
const ALT_SETTING_STATUS: u32 = 11;
const START_INTERRUPT_RECEIVING: u32 = 15;
const STOP_INTERRUPT_RECEIVING: u32 = 16;
const INTERRUPT_RECEIVING_STATUS: u32 = 17;
const CANCEL_DATA_PACKET: u32 = 21;
const CONTROL_PACKET: u32 = 100;
const BULK_PACKET: u32 = 101;

/// `connect_device_version` and `ep_info_max_packet_size`.
const CAPABILITIES: u32 = 1 << 1 | 1 << 4;
/// The bit of an address or a request that says: the machine reads.
pub(super) const INWARDS: u8 = 0x80;
/// How many endpoints a device can have, both ways, and how many interfaces.
const PLACES: usize = 32;

/// How a transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Status {
    Success = 0,
    Cancelled = 1,
    Stall = 4,
}

/// How fast the device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Speed {
    /// USB 1.1: 12 Mbit/s.
    Full = 1,
}

/// What a device is, before anybody asks it.
pub(super) struct Identity {
    pub(super) speed: Speed,
    pub(super) vendor: u16,
    pub(super) product: u16,
    /// Binary coded decimal.
    pub(super) version: u16,
    /// Its one interface: class, subclass, protocol.
    pub(super) interface: [u8; 3],
    /// Its endpoints beside the first.
    pub(super) endpoints: &'static [Endpoint],
}

/// An endpoint, as its descriptor has it (USB 2.0 table 9-13).
pub(super) struct Endpoint {
    /// The number, and bit 7 for those that the machine reads.
    pub(super) address: u8,
    /// 0 control, 2 bulk, 3 interrupt.
    pub(super) kind: u8,
    pub(super) packet_bytes: u16,
    pub(super) interval: u8,
}

/// A control transfer's first packet (USB 2.0 table 9-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setup {
    pub(super) kind: u8,
    pub(super) request: u8,
    pub(super) value: u16,
    pub(super) index: u16,
    pub(super) length: u16,
}

/// What the machine wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// A control transfer, with its data if the machine writes.
    Control(Setup, Vec<u8>),
    /// Up to so many bytes from a bulk endpoint.
    Read(usize),
    /// These bytes to a bulk endpoint.
    Write(Vec<u8>),
    /// What any device answers with these bytes.
    Formality { reply: u32, text: Vec<u8> },
    /// The wish of this identifier no more.
    Cancel,
    /// The device as it was when it was plugged in.
    Reset,
}

/// The next wish, with its identifier.
///
/// # Errors
/// The other side has gone, or does not keep to the protocol.
pub(super) fn hear(machine: &mut impl Read) -> io::Result<(u32, Wish)> {
    loop {
        let (kind, id, body) = packet(machine)?;
        let byte = |place: usize| body.get(place).copied().unwrap_or_default();
        let number = |place: usize| u16::from_le_bytes([byte(place), byte(place + 1)]);
        let formality = |reply, text: &[u8]| Wish::Formality { reply, text: text.to_vec() };
        let wish = match kind {
            SET_CONFIGURATION => formality(CONFIGURATION_STATUS, &[0, byte(0)]),
            GET_CONFIGURATION => formality(CONFIGURATION_STATUS, &[0, 1]),
            SET_ALT_SETTING => formality(ALT_SETTING_STATUS, &[0, byte(0), byte(1)]),
            GET_ALT_SETTING => formality(ALT_SETTING_STATUS, &[0, byte(0), 0]),
            START_INTERRUPT_RECEIVING | STOP_INTERRUPT_RECEIVING => {
                formality(INTERRUPT_RECEIVING_STATUS, &[0, byte(0)])
            }
            CANCEL_DATA_PACKET => Wish::Cancel,
            RESET => Wish::Reset,
            CONTROL_PACKET => {
                let (request, kind, value, index, length) =
                    (byte(1), byte(2), number(4), number(6), number(8));
                let setup = Setup { kind, request, value, index, length };
                Wish::Control(setup, body.get(10..).unwrap_or_default().to_vec())
            }
            BULK_PACKET if byte(0) & INWARDS != 0 => Wish::Read(usize::from(number(2))),
            BULK_PACKET => Wish::Write(body.get(8..).unwrap_or_default().to_vec()),
            _ => continue,
        };
        return Ok((id, wish));
    }
}

fn packet(machine: &mut impl Read) -> io::Result<(u32, u32, Vec<u8>)> {
    let mut word = || {
        let mut bytes = [0; 4];
        machine.read_exact(&mut bytes).map(|()| u32::from_le_bytes(bytes))
    };
    let (kind, length, id) = (word()?, word()?, word()?);
    if length > PACKET_LIMIT {
        return Err(io::Error::other(format!("a packet of {length} bytes on the emulated USB")));
    }
    let mut body = vec![0; length as usize];
    machine.read_exact(&mut body)?;
    Ok((kind, id, body))
}

/// The device's answers.
pub(super) struct Answers<W>(pub(super) W);

impl<W: Write> Answers<W> {
    /// Plugs the device in.
    ///
    /// # Errors
    /// The other side has gone.
    pub(super) fn plug_in(&mut self, device: &Identity) -> io::Result<()> {
        let mut version = [0; 64];
        version[..10].copy_from_slice(b"fledermaus");
        self.send(HELLO, 0, &[&version, &CAPABILITIES.to_le_bytes()])?;
        let place = |value: u8| {
            let mut places = [0; PLACES];
            places[0] = value;
            places
        };
        let [class, subclass, protocol] = device.interface;
        self.send(
            INTERFACE_INFO,
            0,
            &[&1_u32.to_le_bytes(), &place(0), &place(class), &place(subclass), &place(protocol)],
        )?;
        self.send_endpoints(device.endpoints)?;
        let mut connect = vec![device.speed as u8, 0, 0, 0];
        for number in [device.vendor, device.product, device.version] {
            connect.extend(number.to_le_bytes());
        }
        self.send(DEVICE_CONNECT, 0, &[&connect])
    }

    fn send_endpoints(&mut self, endpoints: &[Endpoint]) -> io::Result<()> {
        // 255: there is none.
        let (mut kinds, mut intervals, mut sizes) = ([255; PLACES], [0; PLACES], [0; PLACES * 2]);
        for (address, kind, interval, bytes) in [(0, 0, 0, 64), (INWARDS, 0, 0, 64)]
            .into_iter()
            .chain(endpoints.iter().map(|end| (end.address, end.kind, end.interval, end.packet_bytes)))
        {
            let place = usize::from((address & INWARDS) >> 3 | (address & 0x0f));
            kinds[place] = kind;
            intervals[place] = interval;
            sizes[place * 2..place * 2 + 2].copy_from_slice(&u16::to_le_bytes(bytes));
        }
        self.send(EP_INFO, 0, &[&kinds, &intervals, &[0; PLACES], &sizes])
    }

    /// Answers what needs no device.
    ///
    /// # Errors
    /// The other side has gone.
    pub(super) fn formality(&mut self, id: u32, reply: u32, text: &[u8]) -> io::Result<()> {
        self.send(reply, id, &[text])
    }

    /// Answers a control transfer. `data` is what the machine reads.
    ///
    /// # Errors
    /// The other side has gone.
    pub(super) fn control(&mut self, id: u32, setup: Setup, status: Status, data: &[u8]) -> io::Result<()> {
        let endpoint = setup.kind & INWARDS;
        let data = &data[..data.len().min(usize::from(setup.length))];
        let length = if endpoint == 0 { setup.length } else { data.len() as u16 };
        let mut header = vec![endpoint, setup.request, setup.kind, status as u8];
        for number in [setup.value, setup.index, length] {
            header.extend(number.to_le_bytes());
        }
        self.send(CONTROL_PACKET, id, &[&header, data])
    }

    /// Says that bytes were written to a bulk endpoint.
    ///
    /// # Errors
    /// The other side has gone.
    pub(super) fn wrote(&mut self, id: u32, endpoint: u8, length: usize) -> io::Result<()> {
        let [low, high] = (length as u16).to_le_bytes();
        self.send(BULK_PACKET, id, &[&[endpoint, Status::Success as u8, low, high, 0, 0, 0, 0]])
    }

    /// Answers a wish for bytes of a bulk endpoint.
    ///
    /// # Errors
    /// The other side has gone.
    pub(super) fn read(&mut self, id: u32, endpoint: u8, status: Status, data: &[u8]) -> io::Result<()> {
        let [low, high] = (data.len() as u16).to_le_bytes();
        self.send(BULK_PACKET, id, &[&[endpoint, status as u8, low, high, 0, 0, 0, 0], data])
    }

    fn send(&mut self, kind: u32, id: u32, parts: &[&[u8]]) -> io::Result<()> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut packet = Vec::new();
        for word in [kind, length as u32, id] {
            packet.extend(word.to_le_bytes());
        }
        parts.iter().for_each(|part| packet.extend_from_slice(part));
        self.0.write_all(&packet)
    }
}
