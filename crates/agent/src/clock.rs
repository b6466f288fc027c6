//! Keeps the node's clock with the head's: a Pi has no better one, its crystal loses seconds a day, and certificates are read
//! by it. Steps and does not slew: what measures time uses the monotonic clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cluster::Phase;
use cluster::phase::Step;
use cluster::report::Orders;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};

use crate::outbox::Outbox;

/// How far the clock may be from the head's, in milliseconds.
const TOLERANCE_MS: u64 = 500;
/// An answer that took longer says too little of when the head wrote it.
const ROUND_TRIP_LIMIT: Duration = Duration::from_millis(200);
/// So many answers in a row have to agree that the clock is wrong: a single one may have been held up.
const AGREEING: u32 = 3;

/// What is remembered between two answers.
#[derive(Default)]
pub(crate) struct Clock {
    /// How many answers in a row said that the clock is wrong.
    agreeing: u32,
}

impl Clock {
    /// The head answered a report that was sent then: sets the clock if that is due, and tells by how much it was wrong.
    pub(crate) fn answered(&mut self, orders: &Orders, sent: Instant, outbox: &Outbox) {
        let Ok(own) = SystemTime::now().duration_since(UNIX_EPOCH) else { return };
        let own_ms = u64::try_from(own.as_millis()).unwrap_or(u64::MAX);
        let Some(right_ms) = self.correction(own_ms, orders.now_ms, sent.elapsed()) else { return };
        let off = Duration::from_millis(right_ms.abs_diff(own_ms)).as_secs_f64();
        let place = if right_ms > own_ms { "behind" } else { "before" };
        match clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::from_duration(Duration::from_millis(right_ms)))
        {
            Ok(()) => {
                outbox.event(Phase::Clock, Step::Done, &format!("was {off:.1}s {place} the head's: set"));
            }
            Err(error) => eprintln!("fledermaus-agent: setting the clock: {error}"),
        }
    }

    /// What the clock should show, if it has to be set: milliseconds since 1970.
    fn correction(&mut self, own_ms: u64, head_ms: u64, round_trip: Duration) -> Option<u64> {
        if round_trip > ROUND_TRIP_LIMIT || head_ms < Orders::EARLIEST_MS {
            return None;
        }
        let right_ms = head_ms + u64::try_from(round_trip.as_millis()).ok()? / 2;
        if right_ms.abs_diff(own_ms) <= TOLERANCE_MS {
            self.agreeing = 0;
            return None;
        }
        self.agreeing += 1;
        (self.agreeing >= AGREEING).then(|| {
            self.agreeing = 0;
            right_ms
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = Orders::EARLIEST_MS + 1_000_000;
    const QUICK: Duration = Duration::from_millis(20);

    #[test]
    fn a_clock_that_drifted_is_set_when_three_answers_agree() {
        for off in [-700_i64, 700, 3_600_000] {
            let mut clock = Clock::default();
            let mut ask = |own_ms: u64| clock.correction(own_ms, NOW_MS, QUICK);
            let wrong_ms = NOW_MS.saturating_add_signed(off);
            assert_eq!([ask(wrong_ms), ask(wrong_ms), ask(wrong_ms)], [None, None, Some(NOW_MS + 10)]);
            assert_eq!(ask(NOW_MS), None);
            assert_eq!([ask(wrong_ms), ask(NOW_MS), ask(wrong_ms), ask(wrong_ms)], [None; 4], "not in a row");
        }
    }

    #[test]
    fn slow_answers_and_a_head_without_a_clock_say_nothing() {
        let mut clock = Clock::default();
        for _ in 0..10 {
            assert_eq!(clock.correction(NOW_MS + 60_000, NOW_MS, Duration::from_secs(2)), None);
            assert_eq!(clock.correction(NOW_MS, 5_000, QUICK), None);
            assert_eq!(clock.correction(NOW_MS + TOLERANCE_MS, NOW_MS, Duration::ZERO), None);
        }
    }
}
