//! Who is served at once and who waits, when more machines ask for large files than the wire or the processor can serve.
//!
//! With equal shares nobody would boot: a Pi 4 leaves a file that takes more than 30 s and begins again, and five hundred
//! of them share a gigabit for 58 s until all have the kernel. So who has to have a file by some time is served first,
//! the most urgent before the others, and then who came first. Who waits is sent a window now and then: to the least
//! patient of programs, a second without a block is the end of the transfer.

use netboot::tftp::Pace;

/// How many are served at once, by each thread. Few enough that each is soon done, and enough to fill a gigabit: two threads'
/// do with blocks of 1,468 bytes if an answer takes 0.8 ms, and with a Pi 3's 512 if it takes 0.28.
const AT_ONCE: usize = 32;
/// How long the ACK of one that waits is left unanswered, in milliseconds.
const PAUSE_MS: u64 = 250;
/// Who has said nothing for so long, in milliseconds, has most likely gone, and is in nobody's way.
const SILENCE_MS: u64 = 2_000;

/// The place of one transfer in the line.
#[derive(Debug)]
pub(super) struct Place {
    began_ms: u64,
    /// By when it has to be at its end.
    until_ms: u64,
    heard_ms: u64,
    waits: bool,
    /// The ACK that is not answered yet, and since when.
    held: Option<(u64, [u8; 4])>,
}

impl Place {
    /// At the end of the line. It does not wait before [`line_up`] has it wait.
    pub(super) fn new(pace: Pace, now_ms: u64) -> Self {
        let until_ms = pace.file_limit_ms().map_or(u64::MAX, |limit_ms| now_ms.saturating_add(limit_ms));
        Self { began_ms: now_ms, until_ms, heard_ms: now_ms, waits: false, held: None }
    }

    /// Takes what the client sent: true if it is an ACK that has to wait.
    pub(super) fn holds(&mut self, packet: &[u8], now_ms: u64) -> bool {
        self.heard_ms = now_ms;
        match *packet {
            [0, 4, high, low] if self.waits => {
                let since_ms = self.held.map_or(now_ms, |(since_ms, _)| since_ms);
                self.held = Some((since_ms, [0, 4, high, low]));
                true
            }
            _ => false,
        }
    }

    /// Whether an ACK is held. Until it is answered, nothing is missing that could be sent again.
    pub(super) fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// The ACK that is to be answered now.
    pub(super) fn release(&mut self, now_ms: u64) -> Option<[u8; 4]> {
        self.is_due(now_ms).then(|| self.held.take()).flatten().map(|(_, ack)| ack)
    }

    /// Whether an ACK is to be answered now.
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        self.held.is_some_and(|(since_ms, _)| !self.waits || now_ms >= since_ms + PAUSE_MS)
    }

    fn is_silent(&self, now_ms: u64) -> bool {
        now_ms >= self.heard_ms + SILENCE_MS
    }
}

/// Says who waits, in a line of all large transfers.
pub(super) fn line_up<'a>(places: impl Iterator<Item = &'a mut Place>, now_ms: u64) {
    let mut places: Vec<_> = places.collect();
    if places.len() > AT_ONCE {
        places.sort_by_key(|place| (place.is_silent(now_ms), place.until_ms, place.began_ms));
    }
    for (number, place) in places.into_iter().enumerate() {
        place.waits = number >= AT_ONCE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACK: [u8; 4] = [0, 4, 0, 7];

    /// A line of so many that began one after another, in the same order.
    fn line(count: usize, pace: Pace) -> Vec<Place> {
        (0..count as u64).map(|now_ms| Place::new(pace, now_ms)).collect()
    }

    fn waiting(places: &[Place]) -> Vec<usize> {
        (0..places.len()).filter(|number| places[*number].waits).collect()
    }

    #[test]
    fn nobody_waits_while_there_are_few() {
        let mut places = line(AT_ONCE, Pace::Quick);
        line_up(places.iter_mut(), 100);
        assert!(!places.iter_mut().any(|place| place.holds(&ACK, 100)));
    }

    #[test]
    fn who_came_first_is_served_first_and_who_has_a_limit_before() {
        let mut places = line(AT_ONCE + 2, Pace::Quick);
        line_up(places.iter_mut().rev(), 100);
        assert_eq!(waiting(&places), [AT_ONCE, AT_ONCE + 1]);
        // An EEPROM comes last, with 30 s for its file.
        places.push(Place::new(Pace::OnRequest, 100));
        line_up(places.iter_mut(), 150);
        assert_eq!(waiting(&places), [AT_ONCE - 1, AT_ONCE, AT_ONCE + 1]);
    }

    #[test]
    fn who_has_gone_is_in_nobodys_way() {
        let mut places = line(AT_ONCE + 1, Pace::OnRequest);
        for place in &mut places[1..] {
            place.holds(&ACK, SILENCE_MS);
        }
        line_up(places.iter_mut(), SILENCE_MS + 1);
        assert_eq!(waiting(&places), [0]);
    }

    #[test]
    fn who_waits_has_an_answer_now_and_then() {
        let mut places = line(AT_ONCE + 1, Pace::Quick);
        line_up(places.iter_mut(), 100);
        let last = &mut places[AT_ONCE];
        // What is no ACK does not wait: an ERROR ends the transfer.
        assert!(!last.holds(b"\0\x05\0\0gone\0", 900));
        assert!(last.holds(&[0, 4, 0, 6], 1_000));
        assert!(last.holds(&ACK, 1_100));
        assert_eq!(last.release(1_000 + PAUSE_MS - 1), None);
        assert_eq!(last.release(1_000 + PAUSE_MS), Some(ACK));
        assert!(!last.is_holding());
    }

    #[test]
    fn whose_turn_comes_has_an_answer_at_once() {
        let mut places = line(AT_ONCE + 1, Pace::Quick);
        line_up(places.iter_mut(), 100);
        assert!(places[AT_ONCE].holds(&ACK, 1_000));
        places.remove(0);
        line_up(places.iter_mut(), 1_050);
        assert_eq!(places[AT_ONCE - 1].release(1_050), Some(ACK));
    }
}
