//! The Ethernet of a Pi 3 seen from USB: Microchip's LAN9514, as far as Linux's driver `smsc95xx` uses it.
//!
//! Registers, an EEPROM with the address, a PHY whose cable is always in, and frames in the form that the chip gives them
//! on its two bulk endpoints (data sheet LAN9514, chapters 3 to 5; drivers/net/usb/smsc95xx.c). No IO.

use std::collections::{BTreeMap, VecDeque};

use cluster::Mac;

use super::redirection::{Endpoint, INWARDS, Identity, Setup, Speed, Status};

/// Full speed: at high speed QEMU's host controller would interrupt the machine 8,000 times in a second.
const PACKET_BYTES: u16 = 64;
/// The endpoint that frames for the machine come from, and that which it writes frames to.
pub(super) const BULK_IN: u8 = INWARDS | 1;
pub(super) const BULK_OUT: u8 = 2;
const INTERRUPT: u8 = INWARDS | 3;

/// The device as it is plugged in.
pub(super) const IDENTITY: Identity = Identity {
    speed: Speed::Full,
    vendor: 0x0424,
    product: 0xec00,
    version: 0x0200,
    interface: [0xff, 0, 0xff],
    endpoints: &[
        Endpoint { address: BULK_IN, kind: 2, packet_bytes: PACKET_BYTES, interval: 0 },
        Endpoint { address: BULK_OUT, kind: 2, packet_bytes: PACKET_BYTES, interval: 0 },
        Endpoint { address: INTERRUPT, kind: 3, packet_bytes: 16, interval: 4 },
    ],
};

/// Registers of the chip, by their address.
const ID_REV: u16 = 0x00;
const HW_CFG: u16 = 0x14;
const PM_CTRL: u16 = 0x20;
const E2P_CMD: u16 = 0x30;
const E2P_DATA: u16 = 0x34;
const MAC_CR: u16 = 0x100;
const MII_ADDR: u16 = 0x114;
const MII_DATA: u16 = 0x118;
const COE_CR: u16 = 0x130;
/// A LAN9512 or LAN9514, revision 2.
const CHIP: u32 = 0xec00_0002;
/// What is done at once, and so never seen: resets of the chip and of its PHY, busy signs.
const HW_CFG_RESETS: u32 = 0x0000_0009;
const PM_CTRL_PHY_RESET: u32 = 0x0000_0010;
const E2P_BUSY: u32 = 0x8000_0000;
const E2P_LOADED: u32 = 0x0000_0200;
const E2P_ADDRESS: u32 = 0x0000_01ff;
const MII_BUSY: u32 = 0x1;
const MII_WRITE: u32 = 0x2;
const MAC_CR_PROMISCUOUS: u32 = 0x0004_0000;
const MAC_CR_RECEIVE: u32 = 0x0000_0004;
const CHECKSUM_RECEIVED: u32 = 0x0000_0001;
/// Of the second command word before a frame that is sent.
const LENGTH: u32 = 0x0000_07ff;
const CHECKSUM_WANTED: u32 = 0x0000_4000;

/// The vendor's requests: one register of 32 bits.
const WRITE_REGISTER: u8 = 0xa0;
const READ_REGISTER: u8 = 0xa1;
/// The standard ones that a device answers itself (USB 2.0 table 9-4).
const GET_STATUS: u8 = 0;
const CLEAR_FEATURE: u8 = 1;
const SET_FEATURE: u8 = 3;
const GET_DESCRIPTOR: u8 = 6;

/// Frames that wait for the machine to take them; a switch too drops what is over.
const WAITING_LIMIT: usize = 256;
/// A sent frame with its commands; more is a driver's fault.
const SENT_LIMIT: usize = 4_096;

/// The chip.
pub(super) struct Lan9514 {
    mac: Mac,
    registers: BTreeMap<u16, u32>,
    phy: [u16; 32],
    /// What was written of a frame that is not complete.
    sent: Vec<u8>,
    waiting: VecDeque<Vec<u8>>,
    wishes: VecDeque<(u32, usize)>,
    /// The last answer was a multiple of whole packets, and has to be ended by an empty one.
    endless: bool,
}

impl Lan9514 {
    /// A chip after its reset.
    pub(super) fn new(mac: Mac) -> Self {
        let mut phy = [0; 32];
        // Registers 0 to 6 and 31 of IEEE 802.3 clause 22 and the data sheet: 100 Mbit/s in both directions, agreed.
        phy[..7].copy_from_slice(&[0x3100, 0x782d, 0x0007, 0xc0c3, 0x01e1, 0x45e1, 0x0001]);
        phy[31] = 0x1018;
        Self {
            mac,
            registers: BTreeMap::from([(ID_REV, CHIP), (E2P_CMD, E2P_LOADED)]),
            phy,
            sent: Vec::new(),
            waiting: VecDeque::new(),
            wishes: VecDeque::new(),
            endless: false,
        }
    }

    /// Answers a control transfer with what is read.
    pub(super) fn control(&mut self, setup: Setup, data: &[u8]) -> (Status, Vec<u8>) {
        match (setup.kind & 0x60, setup.request) {
            (0x40, READ_REGISTER) => (Status::Success, self.register(setup.index).to_le_bytes().to_vec()),
            (0x40, WRITE_REGISTER) => {
                if let Some(value) = data.first_chunk() {
                    self.set_register(setup.index, u32::from_le_bytes(*value));
                }
                (Status::Success, Vec::new())
            }
            (0, GET_DESCRIPTOR) => match descriptor(setup.value) {
                Some(descriptor) => (Status::Success, descriptor),
                None => (Status::Stall, Vec::new()),
            },
            (0, GET_STATUS) => (Status::Success, vec![1, 0]),
            (0, CLEAR_FEATURE | SET_FEATURE) => (Status::Success, Vec::new()),
            _ => (Status::Stall, Vec::new()),
        }
    }

    fn register(&self, address: u16) -> u32 {
        self.registers.get(&address).copied().unwrap_or_default()
    }

    fn set_register(&mut self, address: u16, value: u32) {
        let kept = match address {
            ID_REV => CHIP,
            HW_CFG => value & !HW_CFG_RESETS,
            PM_CTRL => value & !PM_CTRL_PHY_RESET,
            E2P_CMD => {
                self.registers.insert(E2P_DATA, self.eeprom(value & E2P_ADDRESS));
                value & !E2P_BUSY | E2P_LOADED
            }
            MII_ADDR => {
                self.access_phy(value);
                value & !MII_BUSY
            }
            _ => value,
        };
        self.registers.insert(address, kept);
    }

    /// The mark of a valid EEPROM, and then the address.
    fn eeprom(&self, place: u32) -> u32 {
        match place {
            0 => 0xa5,
            1..=6 => u32::from(self.mac.0[place as usize - 1]),
            _ => 0xff,
        }
    }

    fn access_phy(&mut self, command: u32) {
        let (phy, register) = (command >> 11 & 31, (command >> 6 & 31) as usize);
        if command & MII_WRITE == 0 {
            // The chip's own is number 1; elsewhere nobody pulls the line down.
            let value = if phy == 1 { self.phy[register] } else { 0xffff };
            self.registers.insert(MII_DATA, u32::from(value));
        } else if phy == 1 && !matches!(register, 1..=3 | 5 | 6 | 31) {
            let value = self.register(MII_DATA) as u16;
            // A reset, and a negotiation that is begun anew, are done at once.
            self.phy[register] = if register == 0 { value & !0x8200 } else { value };
        }
    }

    /// Takes what the machine wrote, in whatever pieces. The frames that are complete with it.
    pub(super) fn written(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.sent.extend_from_slice(bytes);
        let mut frames = Vec::new();
        while let Some((frame, rest)) = sent_frame(&self.sent) {
            frames.push(frame);
            self.sent.drain(..self.sent.len() - rest);
        }
        // A short packet ends a transfer.
        if !bytes.len().is_multiple_of(usize::from(PACKET_BYTES)) || self.sent.len() > SENT_LIMIT {
            self.sent.clear();
        }
        frames
    }

    /// Takes a frame from the cable.
    pub(super) fn arrived(&mut self, frame: &[u8]) {
        let control = self.register(MAC_CR);
        let is_ours = frame.first().is_some_and(|first| first & 1 == 1) || frame.starts_with(&self.mac.0);
        let is_wanted = control & MAC_CR_RECEIVE != 0 && (is_ours || control & MAC_CR_PROMISCUOUS != 0);
        if is_wanted && self.waiting.len() < WAITING_LIMIT {
            let packed = self.packed(frame);
            self.waiting.push_back(packed);
        }
    }

    /// A frame as the machine reads it: a status word with its length, the wanted offset, the frame, its check sequence, which
    /// nobody looks at, and the sum of everything behind the Ethernet header.
    fn packed(&self, frame: &[u8]) -> Vec<u8> {
        let has_sum = self.register(COE_CR) & CHECKSUM_RECEIVED != 0;
        let length = frame.len() + 4 + if has_sum { 2 } else { 0 };
        let mut packed = ((length as u32) << 16).to_le_bytes().to_vec();
        packed.resize(4 + (self.register(HW_CFG) >> 9 & 3) as usize, 0);
        packed.extend_from_slice(frame);
        packed.extend([0; 4]);
        if has_sum {
            packed.extend(sum(frame.get(14..).unwrap_or_default()).to_le_bytes());
        }
        packed
    }

    /// Notes that the machine wants up to so many bytes of frames.
    pub(super) fn wished(&mut self, id: u32, bytes: usize) {
        self.wishes.push_back((id, bytes));
    }

    /// Forgets a wish. Whether it was there.
    pub(super) fn cancelled(&mut self, id: u32) -> bool {
        let before = self.wishes.len();
        self.wishes.retain(|(wish, _)| *wish != id);
        self.wishes.len() < before
    }

    /// What can be answered now: a wish, and as many frames as it has room for.
    pub(super) fn answer(&mut self) -> Option<(u32, Vec<u8>)> {
        if !self.endless && self.waiting.is_empty() {
            return None;
        }
        let (id, room) = self.wishes.pop_front()?;
        if std::mem::take(&mut self.endless) {
            return Some((id, Vec::new()));
        }
        let mut answer: Vec<u8> = Vec::new();
        while let Some(frame) = self.waiting.front() {
            let begin = answer.len().next_multiple_of(4);
            if begin + frame.len() > room {
                break;
            }
            answer.resize(begin, 0);
            answer.extend(self.waiting.pop_front().unwrap_or_default());
        }
        self.endless = answer.len() < room && answer.len().is_multiple_of(usize::from(PACKET_BYTES));
        Some((id, answer))
    }
}

/// The first frame of what was written, and how much is left behind it.
fn sent_frame(sent: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (head, body) = sent.split_at_checked(8)?;
    let command = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    let length = (command & LENGTH) as usize;
    if command & CHECKSUM_WANTED == 0 {
        let (frame, rest) = body.split_at_checked(length)?;
        return Some((frame.to_vec(), rest.len()));
    }
    // Where the sum begins and where it goes, four bytes that count as the frame's.
    let (places, body) = body.split_at_checked(4)?;
    let (frame, rest) = body.split_at_checked(length.checked_sub(4)?)?;
    let (begin, place) =
        (u16::from_le_bytes([places[0], places[1]]), u16::from_le_bytes([places[2], places[3]]));
    let mut frame = frame.to_vec();
    let total = !sum(frame.get(usize::from(begin)..).unwrap_or_default());
    if let Some(field) = frame.get_mut(usize::from(place)..usize::from(place) + 2) {
        field.copy_from_slice(&total.to_le_bytes());
    }
    Some((frame, rest.len()))
}

/// The sum of RFC 1071, in this machine's order of bytes as the driver's.
fn sum(bytes: &[u8]) -> u16 {
    let pairs = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) | u32::from(pair.get(1).copied().unwrap_or_default()) << 8);
    let mut total: u32 = pairs.sum();
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// Device and configuration (USB 2.0 tables 9-8 to 9-13). It has no strings.
fn descriptor(value: u16) -> Option<Vec<u8>> {
    let [vendor, product, version] =
        [IDENTITY.vendor, IDENTITY.product, IDENTITY.version].map(u16::to_le_bytes);
    match value >> 8 {
        1 => {
            let mut device = vec![18, 1, 0, 2, 0, 0, 0, 64];
            device.extend([vendor, product, version].concat());
            device.extend([0, 0, 0, 1]);
            Some(device)
        }
        2 => {
            let [class, subclass, protocol] = IDENTITY.interface;
            let ends = IDENTITY.endpoints;
            let mut configuration = vec![9, 2, (18 + 7 * ends.len()) as u8, 0, 1, 1, 0, 0xe0, 1];
            configuration.extend([9, 4, 0, 0, ends.len() as u8, class, subclass, protocol, 0]);
            for Endpoint { address, kind, packet_bytes, interval } in ends {
                let [low, high] = packet_bytes.to_le_bytes();
                configuration.extend([7, 5, *address, *kind, low, high, *interval]);
            }
            Some(configuration)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([0xb8, 0x27, 0xeb, 0, 1, 1]);

    fn chip() -> Lan9514 {
        let mut chip = Lan9514::new(MAC);
        write(&mut chip, MAC_CR, MAC_CR_RECEIVE);
        chip
    }

    fn write(chip: &mut Lan9514, address: u16, value: u32) {
        let setup = Setup { kind: 0x40, request: WRITE_REGISTER, value: 0, index: address, length: 4 };
        assert_eq!(chip.control(setup, &value.to_le_bytes()).0, Status::Success);
    }

    fn read(chip: &mut Lan9514, address: u16) -> u32 {
        let setup = Setup { kind: 0xc0, request: READ_REGISTER, value: 0, index: address, length: 4 };
        let (_, bytes) = chip.control(setup, &[]);
        u32::from_le_bytes(bytes.try_into().expect("a register"))
    }

    #[test]
    fn the_driver_finds_its_chip_its_address_and_a_cable() {
        let mut chip = chip();
        assert_eq!(read(&mut chip, ID_REV) >> 16, 0xec00);
        write(&mut chip, HW_CFG, 0x0000_0008);
        assert_eq!(read(&mut chip, HW_CFG), 0, "the reset is over");
        for (place, expected) in (1..).zip(MAC.0) {
            write(&mut chip, E2P_CMD, E2P_BUSY | place);
            assert_eq!(read(&mut chip, E2P_CMD) & (E2P_BUSY | E2P_LOADED), E2P_LOADED);
            assert_eq!(read(&mut chip, E2P_DATA), u32::from(expected));
        }
        write(&mut chip, MII_ADDR, 1 << 11 | 1 << 6 | MII_BUSY);
        assert_eq!(read(&mut chip, MII_ADDR) & MII_BUSY, 0);
        assert_eq!(read(&mut chip, MII_DATA) & 0x24, 0x24, "negotiated, and the link is there");
    }

    #[test]
    fn frames_for_the_machine_are_packed_into_one_answer_and_others_are_not_for_it() {
        let mut chip = chip();
        let mut ours = MAC.0.to_vec();
        ours.extend([7; 55]);
        chip.arrived(&ours);
        chip.arrived(&[2; 60]);
        chip.arrived(&[0xff; 60]);
        assert_eq!(chip.answer(), None, "nobody asked");
        chip.wished(5, 2_048);
        let (id, answer) = chip.answer().expect("an answer");
        assert_eq!((id, answer.len()), (5, 4 + 61 + 4 + 3 + 4 + 60 + 4));
        assert_eq!(answer[..4], (65_u32 << 16).to_le_bytes());
        assert_eq!(answer[4..65], ours);
        assert_eq!(answer[72..76], (64_u32 << 16).to_le_bytes());
        chip.wished(6, 2_048);
        assert_eq!(chip.answer(), None, "nothing is left");
        assert!(chip.cancelled(6));
        assert!(!chip.cancelled(6));
    }

    #[test]
    fn an_answer_of_whole_packets_is_ended_by_an_empty_one() {
        let mut chip = chip();
        chip.wished(1, 1_000);
        chip.wished(2, 1_000);
        chip.arrived(&[0xff; 120]);
        assert_eq!(chip.answer().expect("a frame").1.len(), 128);
        assert_eq!(chip.answer(), Some((2, Vec::new())));
    }

    #[test]
    fn a_frame_that_comes_in_pieces_is_put_together_and_summed() {
        let mut chip = chip();
        let frame: Vec<u8> = (0..121).collect();
        let mut written = [0_u32.to_le_bytes(), (125 | CHECKSUM_WANTED).to_le_bytes()].concat();
        written.extend([34, 0, 40, 0]);
        written.extend(&frame);
        let mut frames = Vec::new();
        for piece in written.chunks(64) {
            frames.extend(chip.written(piece));
        }
        let [sent] = frames.try_into().expect("one frame");
        let mut expected = frame.clone();
        let place = expected[40..42].to_vec();
        expected[40..42].copy_from_slice(&[sent[40], sent[41]]);
        assert_eq!(sent, expected);
        // A packet whose sum is in it sums up to what was there before, and nothing else (RFC 1071 section 1).
        let whole = sum(&sent[34..]);
        assert_eq!(whole, fold(!u32::from(sum(&place)) & 0xffff), "{whole:04x}");
        assert!(chip.written(&[]).is_empty());
    }

    fn fold(total: u32) -> u16 {
        ((total & 0xffff) + (total >> 16)) as u16
    }
}
