//! How long a client takes to answer, as RFC 6298 estimates it; and so how soon silence means a loss.

/// The least timeout, in milliseconds: a client also writes what it got somewhere. (Linux has 200 ms for TCP.)
const TIMEOUT_MIN_MS: u64 = 50;

/// The timeout before the first answer, in milliseconds: not RFC 6298's second, for a client's own timer rings by then
/// (U-Boot's 1 s at the soonest), and what it says then would pass for an answer.
const TIMEOUT_FIRST_MS: u64 = 250;

/// The smoothed round-trip time and its variation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoundTrip {
    /// Both in milliseconds, the first times eight, the second times four; none before the first answer.
    smoothed: Option<(u64, u64)>,
}

impl RoundTrip {
    /// An answer to something that was sent once came after so long (RFC 6298 section 2; Karn's rule is the caller's).
    pub(super) fn measured(&mut self, ms: u64) {
        self.smoothed = Some(match self.smoothed {
            None => (ms * 8, ms * 2),
            Some((mean, variation)) => {
                let off = (mean / 8).abs_diff(ms);
                (mean - mean / 8 + ms, variation - variation / 4 + off)
            }
        });
    }

    /// How long an answer is awaited.
    pub(super) fn timeout_ms(&self) -> u64 {
        self.smoothed.map_or(TIMEOUT_FIRST_MS, |(mean, variation)| (mean / 8 + variation).max(TIMEOUT_MIN_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_a_client_that_becomes_slow_and_quick_again() {
        let mut round_trip = RoundTrip::default();
        assert_eq!(round_trip.timeout_ms(), TIMEOUT_FIRST_MS);
        round_trip.measured(1);
        assert_eq!(round_trip.timeout_ms(), TIMEOUT_MIN_MS);
        (0..30).for_each(|_| round_trip.measured(400));
        let slow = round_trip.timeout_ms();
        assert!((400..900).contains(&slow), "{slow}");
        (0..60).for_each(|_| round_trip.measured(1));
        assert_eq!(round_trip.timeout_ms(), TIMEOUT_MIN_MS);
    }

    #[test]
    fn the_first_answer_counts_thrice() {
        let mut round_trip = RoundTrip::default();
        round_trip.measured(200);
        assert_eq!(round_trip.timeout_ms(), 600);
    }
}
