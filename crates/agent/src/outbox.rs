//! What waits to be told to the head: events and outcomes. Every thread puts in, the reporter takes out.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cluster::Phase;
use cluster::phase::{Event, Step};
use cluster::report::{Outcome, Report};
use nix::time::{ClockId, clock_gettime};

/// The most events and outcomes that wait for a head that is away; the oldest go first.
const WAITING_LIMIT: usize = 1_000;

/// Time since the kernel started, in milliseconds.
pub(crate) fn uptime_ms() -> u64 {
    let Ok(now) = clock_gettime(ClockId::CLOCK_BOOTTIME) else { return 0 };
    now.tv_sec().unsigned_abs() * 1_000 + now.tv_nsec().unsigned_abs() / 1_000_000
}

/// The box.
#[derive(Default)]
pub(crate) struct Outbox {
    content: Mutex<Content>,
    changed: Condvar,
}

#[derive(Default)]
struct Content {
    events: VecDeque<Event>,
    outcomes: VecDeque<Outcome>,
    /// Told before, but the head asks again; wait for the next report without hurrying it: a head that
    /// never listens would otherwise be asked without pause.
    told_again: Vec<Outcome>,
    /// The user data has ended: from now on the head may order this node into a swarm.
    swarm_wanted: bool,
    /// Docker says that this node is in a swarm.
    in_swarm: bool,
}

impl Outbox {
    /// A box with the events that init could not report. The file goes: a restarted agent must not
    /// tell them twice.
    pub(crate) fn with_events_of(file: &Path) -> Self {
        let outbox = Self::default();
        let text = fs::read_to_string(file).unwrap_or_default();
        let events = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        outbox.content().events.extend(events.take(WAITING_LIMIT));
        let _ = fs::remove_file(file);
        outbox
    }

    /// Something happened to a phase.
    pub(crate) fn event(&self, phase: Phase, step: Step, detail: &str) {
        let detail = clip(detail, Event::DETAIL_LIMIT);
        let mut content = self.content();
        if content.events.len() == WAITING_LIMIT {
            content.events.pop_front();
        }
        content.events.push_back(Event { uptime_ms: uptime_ms(), phase, step, detail });
        self.changed.notify_all();
    }

    /// An order ended.
    pub(crate) fn outcome(&self, outcome: Outcome) {
        let mut content = self.content();
        if content.outcomes.iter().any(|waiting| waiting.order == outcome.order) {
            return;
        }
        if content.outcomes.len() == WAITING_LIMIT {
            content.outcomes.pop_front();
        }
        content.outcomes.push_back(outcome);
        self.changed.notify_all();
    }

    /// The head asks again for an order that ended like this.
    pub(crate) fn outcome_again(&self, outcome: Outcome) {
        let mut content = self.content();
        if content.told_again.len() < WAITING_LIMIT && !content.told_again.contains(&outcome) {
            content.told_again.push(outcome);
        }
    }

    /// The user data has ended, this way or that.
    pub(crate) fn want_swarm(&self) {
        self.content().swarm_wanted = true;
        self.changed.notify_all();
    }

    /// Whether the user data has ended.
    pub(crate) fn swarm_wanted(&self) -> bool {
        self.content().swarm_wanted
    }

    /// Says whether Docker is in a swarm.
    pub(crate) fn set_in_swarm(&self, in_swarm: bool) {
        let mut content = self.content();
        if content.in_swarm != in_swarm {
            content.in_swarm = in_swarm;
            self.changed.notify_all();
        }
    }

    /// Waits until this node is in a swarm or the time is over.
    pub(crate) fn wait_for_swarm(&self, limit: Duration) {
        let waiting = self.changed.wait_timeout_while(self.content(), limit, |content| !content.in_swarm);
        drop(waiting);
    }

    /// A report of what waits, which stays until [`Outbox::answered`].
    pub(crate) fn report(&self) -> Report {
        let content = self.content();
        Report {
            uptime_ms: uptime_ms(),
            events: content.events.iter().take(Report::EVENTS_LIMIT).cloned().collect(),
            answering: std::collections::BTreeSet::new(),
            swarm: None,
            health: None,
            logs: None,
            outcomes: content.outcomes.iter().chain(&content.told_again).cloned().collect(),
        }
    }

    /// The head has answered that report.
    pub(crate) fn answered(&self, report: &Report) {
        let mut content = self.content();
        // By value, not by count: the oldest may have been dropped meanwhile.
        content.events.retain(|event| !report.events.contains(event));
        content.outcomes.retain(|outcome| !report.outcomes.contains(outcome));
        content.told_again.clear();
        self.changed.notify_all();
    }

    /// Whether anything waits.
    pub(crate) fn is_empty(&self) -> bool {
        let content = self.content();
        content.events.is_empty() && content.outcomes.is_empty()
    }

    /// Waits until something is in the box or the time is over.
    pub(crate) fn wait_for_more(&self, limit: Duration) {
        let empty = |content: &mut Content| content.events.is_empty() && content.outcomes.is_empty();
        drop(self.changed.wait_timeout_while(self.content(), limit, empty));
    }

    /// Waits until the head has taken everything, or the time is over.
    pub(crate) fn wait_until_told(&self, limit: Duration) {
        let full = |content: &mut Content| !content.events.is_empty() || !content.outcomes.is_empty();
        drop(self.changed.wait_timeout_while(self.content(), limit, full));
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The start of a text, at most `limit` bytes, cut between letters.
pub(crate) fn clip(text: &str, limit: usize) -> String {
    text[..text.floor_char_boundary(limit)].to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Instant;

    /// A node whose card was pulled out started again before it had said why: only outcomes were waited for.
    #[test]
    fn what_happened_is_waited_for_until_the_head_has_it() {
        let outbox = Outbox::default();
        outbox.event(Phase::Disk, Step::Failed, "gone");
        let began = Instant::now();
        outbox.wait_until_told(Duration::from_millis(20));
        assert!(began.elapsed() >= Duration::from_millis(20), "nobody has heard of it");
        outbox.answered(&outbox.report());
        outbox.wait_until_told(Duration::from_secs(600));
        assert!(outbox.is_empty());
    }

    #[test]
    fn inits_events_come_first_and_only_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("events.jsonl");
        fs::write(&file, "{\"uptime_ms\":7,\"phase\":\"root\",\"step\":\"done\"}\nbroken\n").unwrap();
        let outbox = Outbox::with_events_of(&file);
        outbox.event(Phase::Docker, Step::Started, "");
        let phases: Vec<Phase> = outbox.report().events.iter().map(|event| event.phase).collect();
        assert_eq!(phases, [Phase::Root, Phase::Docker]);
        assert!(Outbox::with_events_of(&file).is_empty());
    }

    #[test]
    fn a_head_that_does_not_listen_is_not_asked_without_pause() {
        let outbox = Outbox::default();
        outbox.outcome_again(Outcome::of(1, None));
        assert!(outbox.is_empty(), "nothing hurries the next report");
        let report = outbox.report();
        assert_eq!(report.outcomes.len(), 1);
        outbox.answered(&report);
        assert!(outbox.report().outcomes.is_empty());
    }

    #[test]
    fn what_comes_during_a_report_stays() {
        let outbox = Outbox::default();
        outbox.event(Phase::Docker, Step::Started, "");
        outbox.outcome(Outcome::of(1, None));
        let report = outbox.report();
        outbox.event(Phase::Docker, Step::Done, &"ä".repeat(2_000));
        outbox.answered(&report);
        let left = outbox.report();
        assert!(left.outcomes.is_empty());
        assert_eq!(left.events.len(), 1);
        assert_eq!(left.events[0].detail.len(), Event::DETAIL_LIMIT);
    }
}
