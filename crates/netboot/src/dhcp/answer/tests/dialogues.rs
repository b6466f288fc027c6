//! A rack is powered on: clients of every profile, each with the timers of its source, on a wire that loses, doubles,
//! delays and reorders packets. The clock is stepped from one event to the next.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::dhcp::Profile;

/// The longest that a packet is on its way, in milliseconds.
const WIRE_MS: u64 = 40;
/// When the patience of a rack's owner ends, in milliseconds.
const END_MS: u64 = 1_800_000;

/// What a client is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// An OFFER.
    Offer,
    /// The ACK of this address.
    Ack(Ipv4Addr),
    /// Nothing: it has this address.
    Has(Ipv4Addr),
    /// Nothing: it gave up, or hangs, until its power is cut.
    Dead(&'static str),
}

/// A boot loader's or a system's DHCP client.
struct Board {
    client: Client,
    profile: Profile,
    /// How long it waits after each try, in milliseconds; the last is repeated.
    waits_ms: &'static [u64],
    tries: usize,
    /// After so many tries it is silent.
    tries_limit: usize,
    asked_ms: u64,
    wake_ms: u64,
    stage: Stage,
}

impl Board {
    /// Every profile by turns.
    fn new(last: u8) -> Self {
        let (profile, waits_ms, tries_limit, class): (_, &[u64], _, Option<&'static [u8]>) = match last % 7 {
            0 => (Profile::PiRom, &[5_000], 5, Some(b"PXEClient:Arch:00000:UNDI:002001")),
            1 => (Profile::PiEeprom, &[4_000], 100, Some(b"PXEClient:Arch:00000:UNDI:002001")),
            2 => (Profile::UBoot, &[250, 500, 1_000, 2_000], 1_000, Some(b"U-Boot.armv8")),
            3 => (Profile::System, &[2_000, 4_000, 8_000, 16_000], 100, None),
            4 => (
                Profile::UefiArm64,
                &[4_000, 8_000, 16_000, 32_000],
                100,
                Some(b"PXEClient:Arch:00011:UNDI:003016"),
            ),
            5 => (
                Profile::HttpX64,
                &[4_000, 8_000, 16_000, 32_000],
                100,
                Some(b"HTTPClient:Arch:00016:UNDI:003001"),
            ),
            _ => {
                (Profile::Bios, &[1_000, 2_000, 4_000, 8_000], 100, Some(b"PXEClient:Arch:00000:UNDI:002001"))
            }
        };
        let oui = match profile {
            Profile::PiRom | Profile::UBoot | Profile::System => [0xb8, 0x27, 0xeb],
            Profile::PiEeprom => [0xdc, 0xa6, 0x32],
            _ => [0x52, 0x54, 0x00],
        };
        let client = Client { mac: Mac([oui[0], oui[1], oui[2], 1, 2, last]), class };
        let (tries, asked_ms, wake_ms, stage) = (0, 0, 0, Stage::Offer);
        Self { client, profile, waits_ms, tries, tries_limit, asked_ms, wake_ms, stage }
    }

    /// The timer rings: what it sends.
    fn wake(&mut self, now_ms: u64) -> Option<Message> {
        if self.tries == self.tries_limit {
            self.stage = Stage::Dead("gave up");
        }
        if matches!(self.stage, Stage::Has(_) | Stage::Dead(_)) {
            self.wake_ms = u64::MAX;
            return None;
        }
        let wait_ms = self.waits_ms[self.tries.min(self.waits_ms.len() - 1)];
        self.tries += 1;
        (self.asked_ms, self.wake_ms) = (now_ms, now_ms + wait_ms);
        // A REQUEST that is not answered is given up: it asks anew.
        self.stage = Stage::Offer;
        Some(self.client.message(MessageType::Discover, vec![]))
    }

    /// A reply arrives: what it sends.
    fn hear(&mut self, message: &Message, now_ms: u64) -> Option<Message> {
        let kind = message.opts().msg_type().expect("option 53");
        match (self.stage, kind) {
            (Stage::Offer, MessageType::Offer) if self.profile == Profile::PiRom => {
                let answered_in_ms = now_ms - self.asked_ms;
                let option = message.opts().get(OptionCode::VendorExtensions);
                self.stage = match option {
                    _ if answered_in_ms < 1_000 => Stage::Dead("locked up: answered at once"),
                    Some(_) => Stage::Has(message.yiaddr()),
                    None => Stage::Dead("no option 43"),
                };
                None
            }
            (Stage::Offer, MessageType::Offer) => {
                self.stage = Stage::Ack(message.yiaddr());
                Some(select(&self.client, message.yiaddr(), SERVER))
            }
            (Stage::Ack(address), MessageType::Ack) if message.yiaddr() == address => {
                self.stage = Stage::Has(address);
                None
            }
            _ => None,
        }
    }
}

/// What happens next, by time and then in the order in which it was thought of.
enum Event {
    ToServer(usize, Message),
    ToClient(usize, Message),
}

/// The wire. Its numbers are the test's.
struct Wire {
    numbers: Vec<u8>,
    at: usize,
    loss_percent: u8,
}

impl Wire {
    fn number(&mut self) -> u8 {
        self.at = (self.at + 1) % self.numbers.len();
        self.numbers[self.at]
    }

    /// When the copies of one packet arrive: none, one or two.
    fn carry(&mut self, now_ms: u64) -> Vec<u64> {
        if u16::from(self.number()) * 100 < u16::from(self.loss_percent) * 256 {
            return Vec::new();
        }
        let copies = if self.number() < 25 { 2 } else { 1 };
        (0..copies).map(|_| now_ms + 1 + u64::from(self.number()) * WIRE_MS / 256).collect()
    }
}

/// Powers so many boards on together; gives what became of them.
fn power_on(boards: u8, numbers: Vec<u8>, loss_percent: u8) -> Vec<Board> {
    let mut head = Head::new();
    let mut wire = Wire { numbers, at: 0, loss_percent };
    let mut boards: Vec<Board> = (0..boards).map(Board::new).collect();
    let mut queue: BTreeMap<(u64, usize), Event> = BTreeMap::new();
    let mut count = 0;
    let mut now_ms = 0;
    while now_ms < END_MS {
        let timer = boards.iter().map(|board| board.wake_ms).enumerate().min_by_key(|(_, at_ms)| *at_ms);
        let (board, timer_ms) = timer.expect("there are boards");
        let event_ms = queue.first_key_value().map_or(u64::MAX, |((at_ms, _), _)| *at_ms);
        now_ms = timer_ms.min(event_ms);
        let mut send = |queue: &mut BTreeMap<_, _>, at_ms, event: &dyn Fn() -> Event| {
            for at_ms in wire.carry(at_ms) {
                count += 1;
                queue.insert((at_ms, count), event());
            }
        };
        if timer_ms <= event_ms {
            if timer_ms == u64::MAX {
                break;
            }
            if let Some(message) = boards[board].wake(now_ms) {
                send(&mut queue, now_ms, &|| Event::ToServer(board, message.clone()));
            }
            continue;
        }
        match queue.pop_first().expect("an event").1 {
            Event::ToServer(board, message) => {
                head.now_ms = 1_000_000 + now_ms;
                let Ok(packet) = head.ask(&message, NODE).reply else { continue };
                let message = v4::Message::from_bytes(&packet.bytes).expect("reads");
                send(&mut queue, now_ms + packet.delay_ms, &|| Event::ToClient(board, message.clone()));
            }
            Event::ToClient(board, message) => {
                if let Some(message) = boards[board].hear(&message, now_ms) {
                    send(&mut queue, now_ms, &|| Event::ToServer(board, message.clone()));
                }
            }
        }
    }
    boards
}

fn addresses(boards: &[Board]) -> Vec<Ipv4Addr> {
    let has = |board: &Board| match board.stage {
        Stage::Has(address) => Some(address),
        _ => None,
    };
    boards.iter().filter_map(has).collect()
}

#[test]
fn on_a_good_wire_a_rack_of_every_kind_has_its_addresses_at_the_first_try() {
    // 98: neither lost nor doubled, half the way's time.
    let boards = power_on(98, vec![98], 0);
    let has = addresses(&boards);
    assert_eq!(has.iter().collect::<BTreeSet<_>>().len(), 98, "one address for each");
    for board in &boards {
        assert_eq!(board.tries, 1, "{:?} {:?}", board.profile, board.stage);
    }
}

proptest! {
    /// Whatever the wire does to a fifth of the packets: two machines never share an address, no ROM is answered at once,
    /// and all that ask for ever get through.
    #[test]
    fn on_a_bad_wire_all_that_do_not_give_up_get_through(
        numbers in proptest::collection::vec(any::<u8>(), 997),
        loss_percent in 0..20_u8,
    ) {
        let boards = power_on(70, numbers, loss_percent);
        let has = addresses(&boards);
        prop_assert_eq!(has.iter().collect::<BTreeSet<_>>().len(), has.len());
        for board in &boards {
            match board.stage {
                Stage::Has(_) => {}
                Stage::Dead(why) => prop_assert_eq!((board.profile, why), (Profile::PiRom, "gave up")),
                stage => prop_assert!(false, "{:?} {:?} after {} tries", board.profile, stage, board.tries),
            }
        }
    }
}
