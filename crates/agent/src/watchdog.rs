//! Feeds the watchdog for as long as the report loop turns: a node that hangs reboots, and is new.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::outbox::uptime_ms;

/// How often the watchdog is fed.
const FEED_INTERVAL: Duration = Duration::from_secs(5);
/// How long the report loop may take for one turn, in milliseconds: all its waits together.
const TURN_LIMIT_MS: u64 = 180_000;

/// Beats once per turn of the report loop.
#[derive(Default)]
pub(crate) struct Heart(AtomicU64);

impl Heart {
    /// The loop turns.
    pub(crate) fn beat(&self) {
        self.0.store(uptime_ms(), Ordering::Relaxed);
    }

    fn is_beating(&self) -> bool {
        uptime_ms().saturating_sub(self.0.load(Ordering::Relaxed)) < TURN_LIMIT_MS
    }
}

/// Takes over the watchdog that init has started, if the board has one and is to feed it.
pub(crate) fn feed(wanted: bool) -> Arc<Heart> {
    let heart = Arc::new(Heart::default());
    heart.beat();
    if !wanted {
        return heart;
    }
    if let Ok(mut watchdog) = File::options().write(true).open("/dev/watchdog") {
        let heart = heart.clone();
        thread::spawn(move || {
            while heart.is_beating() {
                let _ = watchdog.write_all(b"\0");
                thread::sleep(FEED_INTERVAL);
            }
        });
    }
    heart
}
