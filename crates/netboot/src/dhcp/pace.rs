//! When a reply leaves: some clients must not be answered at once, and not all of a rack at the same moment.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use cluster::Mac;

use super::profile::Profile;

/// When a reply to the Pi's ROM may leave, in milliseconds after its DISCOVER. Before, it can lock up (firmware issues
/// 764, 934); after, the reply could reach it just when it has asked again, which it does every 5 s: too soon.
const ROM_WINDOW_MS: RangeInclusive<u64> = 1_000..=4_000;
/// The least time between the replies to two ROMs, in milliseconds. Of 22 boards that were powered on together 3
/// booted when all were answered at once (firmware issue 764): each answer lets a board ask for its files.
const ROM_GAP_MS: u64 = 20;

/// When replies may leave.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    rom_free_ms: u64,
    /// The turns that are still to come. No more than the window has.
    rom_turns: BTreeMap<Mac, u64>,
}

impl Pace {
    /// How long a reply waits, in milliseconds; `None` if its turn would come too late for this try of the client:
    /// it will ask again, and the others are through by then. A client that asks again before its turn keeps that: its
    /// repetitions, or a flood in its name, take nobody else's.
    pub(super) fn delay(&mut self, mac: Mac, profile: Profile, now_ms: u64) -> Option<u64> {
        if profile != Profile::PiRom {
            return Some(0);
        }
        let at_ms = now_ms.saturating_add(*ROM_WINDOW_MS.start());
        // A clock that was set back must not hold everybody up.
        let longest_ms = now_ms.saturating_add(*ROM_WINDOW_MS.end());
        self.rom_turns.retain(|_, turn_ms| (now_ms..=longest_ms).contains(turn_ms));
        if let Some(turn_ms) = self.rom_turns.get(&mac) {
            // Not at once, when its turn is about to come: see the window.
            return Some((turn_ms - now_ms).max(*ROM_WINDOW_MS.start()));
        }
        let turn_ms =
            if self.rom_free_ms > longest_ms + ROM_GAP_MS { at_ms } else { at_ms.max(self.rom_free_ms) };
        if turn_ms > longest_ms {
            return None;
        }
        self.rom_free_ms = turn_ms + ROM_GAP_MS;
        self.rom_turns.insert(mac, turn_ms);
        Some(turn_ms - now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(number: u16) -> Mac {
        let [a, b] = number.to_be_bytes();
        Mac([0xb8, 0x27, 0xeb, 0, a, b])
    }

    /// So many ROMs ask at once: how long each has to wait that is answered at this try.
    fn ask(pace: &mut Pace, count: u16, now_ms: u64) -> Vec<u64> {
        (0..count).map_while(|number| pace.delay(mac(number), Profile::PiRom, now_ms)).collect()
    }

    #[test]
    fn roms_are_answered_one_after_another_inside_their_window() {
        let mut pace = Pace::default();
        let delays = ask(&mut pace, 500, 10_000);
        assert_eq!(delays.first(), Some(&1_000));
        assert!(delays.windows(2).all(|pair| pair[1] == pair[0] + ROM_GAP_MS));
        assert_eq!(delays.last(), Some(&4_000), "{} of 500", delays.len());
        // The others ask again 5 s later: another rack's worth is answered.
        assert_eq!(ask(&mut pace, 500, 15_000).len(), delays.len());
        assert_eq!(pace.delay(mac(1), Profile::UBoot, 15_000), Some(0), "nobody else waits");
    }

    /// A thousand DISCOVERs with one hardware address once took the turns of all others.
    #[test]
    fn a_rom_that_asks_again_keeps_its_turn_and_takes_no_others() {
        let mut pace = Pace::default();
        assert_eq!(ask(&mut pace, 10, 10_000).last(), Some(&1_180));
        for now_ms in (10_000..10_150).flat_map(|now_ms| [now_ms; 10]) {
            assert_eq!(pace.delay(mac(9), Profile::PiRom, now_ms), Some((11_180 - now_ms).max(1_000)));
        }
        assert_eq!(pace.delay(mac(10), Profile::PiRom, 10_150), Some(1_050), "the next turn");
        assert!(ask(&mut pace, 500, 20_000).len() > 100 && pace.rom_turns.len() <= 151);
    }

    #[test]
    fn a_clock_that_is_set_back_holds_nobody_up() {
        let mut pace = Pace::default();
        pace.delay(mac(1), Profile::PiRom, 1_000_000);
        assert_eq!(pace.delay(mac(1), Profile::PiRom, 5_000), Some(1_000));
    }
}
