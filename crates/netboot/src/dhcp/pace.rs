//! When a reply leaves: some clients must not be answered at once, and not all of a rack at the same moment.

use std::ops::RangeInclusive;

use super::profile::Profile;

/// When a reply to the Pi's ROM may leave, in milliseconds after its DISCOVER. Before, it can lock up (firmware issues
/// 764, 934); after, the reply could reach it just when it has asked again, which it does every 5 s: too soon.
const ROM_WINDOW_MS: RangeInclusive<u64> = 1_000..=4_000;
/// The least time between the replies to two ROMs, in milliseconds. Of 22 boards that were powered on together 3
/// booted when all were answered at once (firmware issue 764): each answer lets a board ask for its files.
const ROM_GAP_MS: u64 = 20;

/// When the next reply may leave.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    rom_free_ms: u64,
}

impl Pace {
    /// How long a reply waits, in milliseconds; `None` if its turn would come too late for this try of the client:
    /// it will ask again, and the others are through by then.
    pub(super) fn delay(&mut self, profile: Profile, now_ms: u64) -> Option<u64> {
        if profile != Profile::PiRom {
            return Some(0);
        }
        let at_ms = now_ms.saturating_add(*ROM_WINDOW_MS.start());
        // A clock that was set back must not hold everybody up.
        let longest_ms = now_ms.saturating_add(*ROM_WINDOW_MS.end());
        let turn_ms =
            if self.rom_free_ms > longest_ms + ROM_GAP_MS { at_ms } else { at_ms.max(self.rom_free_ms) };
        if turn_ms > longest_ms {
            return None;
        }
        self.rom_free_ms = turn_ms + ROM_GAP_MS;
        Some(turn_ms - now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roms_are_answered_one_after_another_inside_their_window() {
        let mut pace = Pace::default();
        let delays: Vec<_> = (0..500).map_while(|_| pace.delay(Profile::PiRom, 10_000)).collect();
        assert_eq!(delays.first(), Some(&1_000));
        assert!(delays.windows(2).all(|pair| pair[1] == pair[0] + ROM_GAP_MS));
        assert_eq!(delays.last(), Some(&4_000), "{} of 500", delays.len());
        // The others ask again 5 s later: another rack's worth is answered.
        let again = (0..500).map_while(|_| pace.delay(Profile::PiRom, 15_000)).count();
        assert_eq!(again, delays.len());
        assert_eq!(pace.delay(Profile::UBoot, 15_000), Some(0), "nobody else waits");
    }

    #[test]
    fn a_clock_that_is_set_back_holds_nobody_up() {
        let mut pace = Pace::default();
        pace.delay(Profile::PiRom, 1_000_000);
        assert_eq!(pace.delay(Profile::PiRom, 5_000), Some(1_000));
    }
}
