//! Init's side of the timeline: every step goes to the console at once and to the head from a thread of
//! its own, so that no phase waits for a report. Until the head can be reached, events are kept.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use cluster::Phase;
use cluster::phase::{Event, Step};
use cluster::report::{Orders, Report};

use crate::console::{say, uptime_ms};
use crate::head::Head;

/// The most events that wait for the head; the oldest go first.
const WAITING_LIMIT: usize = 500;
/// Pause after a report that failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Takes events from any thread.
#[derive(Clone)]
pub(crate) struct Timeline {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Event>,
    /// How many of the first are in a report that is under way.
    under_way: usize,
    stopped: bool,
    /// When the last event came, in milliseconds since the kernel started.
    last_ms: u64,
}

impl Timeline {
    /// An empty timeline that keeps what it is told.
    pub(crate) fn new() -> Self {
        Self { shared: Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new() }) }
    }

    /// A phase begins.
    pub(crate) fn started(&self, phase: Phase) {
        say(&format!("{} {phase}", place(phase)));
        self.record(phase, Step::Started, String::new());
    }

    /// A phase ended well.
    pub(crate) fn done(&self, phase: Phase, took: Duration, detail: &str) {
        let line = format!("{} {phase} done, {:.1}s {detail}", place(phase), took.as_secs_f32());
        say(line.trim_end());
        self.record(phase, Step::Done, detail.to_owned());
    }

    /// A phase failed; `reason` is a sentence for people.
    pub(crate) fn failed(&self, phase: Phase, reason: &str) {
        say(&format!("{} {phase} failed: {reason}", place(phase)));
        self.record(phase, Step::Failed, reason.chars().take(Event::DETAIL_LIMIT / 4).collect());
    }

    /// So many bytes of so many. Replaces an older progress that still waits.
    pub(crate) fn progress(&self, phase: Phase, done: u64, total: u64) {
        let mut queue = self.queue();
        let newest_is_free = queue.waiting.len() > queue.under_way;
        if newest_is_free && matches!(queue.waiting.back(), Some(Event { step: Step::Progress { .. }, .. })) {
            queue.waiting.pop_back();
        }
        drop(queue);
        self.record(phase, Step::Progress { done, total }, String::new());
    }

    /// Reports what waits, in this thread: the proof that the head answers.
    ///
    /// # Errors
    /// Those of [`Head::report`]; the events then wait on.
    pub(crate) fn report_now(&self, head: &Head) -> Result<Orders> {
        let events = self.take_some();
        let result = head.report(&Report { uptime_ms: uptime_ms(), events, ..Report::default() });
        self.settle(result.is_ok());
        result
    }

    /// From now on a thread reports whatever comes.
    pub(crate) fn report_from_now_on(&self, head: Head) {
        let timeline = self.clone();
        thread::spawn(move || {
            while timeline.wait_for_events() {
                if timeline.report_now(&head).is_err() {
                    thread::sleep(RETRY_PAUSE);
                }
            }
        });
    }

    /// Ends the reports; what the head has not answered after `limit` is returned.
    pub(crate) fn stop(&self, limit: Duration) -> Vec<Event> {
        let end = Instant::now() + limit;
        let mut queue = self.queue();
        while !queue.waiting.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = self.shared.changed.wait_timeout(queue, left);
            queue = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.stopped = true;
        queue.waiting.drain(..).collect()
    }

    /// How long nothing has happened, in milliseconds.
    pub(crate) fn still_ms(&self) -> u64 {
        uptime_ms().saturating_sub(self.queue().last_ms)
    }

    fn record(&self, phase: Phase, step: Step, detail: String) {
        let mut queue = self.queue();
        queue.last_ms = uptime_ms();
        if queue.waiting.len() >= WAITING_LIMIT {
            let oldest_free = queue.under_way;
            queue.waiting.remove(oldest_free);
        }
        queue.waiting.push_back(Event { uptime_ms: uptime_ms(), phase, step, detail });
        self.shared.changed.notify_all();
    }

    fn take_some(&self) -> Vec<Event> {
        let mut queue = self.queue();
        queue.under_way = queue.waiting.len().min(Report::EVENTS_LIMIT);
        queue.waiting.iter().take(queue.under_way).cloned().collect()
    }

    fn settle(&self, answered: bool) {
        let mut queue = self.queue();
        let count = std::mem::take(&mut queue.under_way).min(queue.waiting.len());
        if answered {
            queue.waiting.drain(..count);
        }
        self.shared.changed.notify_all();
    }

    /// Waits until there is something to report; false once the timeline has stopped.
    fn wait_for_events(&self) -> bool {
        let idle = |queue: &mut Queue| queue.waiting.is_empty() && !queue.stopped;
        let queue = self.shared.changed.wait_while(self.queue(), idle);
        !queue.unwrap_or_else(PoisonError::into_inner).stopped
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(phase: Phase) -> String {
    format!("phase {}/{}", phase.number(), Phase::ALL.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unanswered_report_keeps_its_events_and_an_answered_one_does_not() {
        let timeline = Timeline::new();
        timeline.started(Phase::Hardware);
        assert!(timeline.still_ms() < 60_000, "an event just came");
        assert_eq!(timeline.take_some().len(), 1);
        timeline.done(Phase::Hardware, Duration::ZERO, "");
        timeline.settle(false);
        assert_eq!(timeline.take_some().len(), 2);
        timeline.settle(true);
        assert!(timeline.stop(Duration::ZERO).is_empty());
    }

    #[test]
    fn only_the_newest_progress_waits_and_one_under_way_is_not_changed() {
        let timeline = Timeline::new();
        timeline.progress(Phase::System, 1, 9);
        timeline.progress(Phase::System, 2, 9);
        assert_eq!(timeline.take_some().len(), 1);
        timeline.progress(Phase::System, 3, 9);
        timeline.settle(true);
        let left = timeline.stop(Duration::ZERO);
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].step, Step::Progress { done: 3, total: 9 });
    }
}
