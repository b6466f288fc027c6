//! Nodes' logs: asked for when an operator wants to read them, kept in memory until they are asked for again.

use std::sync::Arc;
use std::time::Duration;

use cluster::view::LogsView;
use tokio::time::{Instant, sleep};

use super::Head;
use super::node::Node;
use super::state::State;

/// How long a node may take: it hears of the wish in the answer to its next report.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// A node that was not heard for so long is not waited for, in milliseconds.
const SILENCE_MS: u64 = 60_000;
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The node has never sent its logs, and does not now.
#[derive(Debug)]
pub(crate) struct NoLogs;

impl Node {
    /// It has sent its logs.
    pub(super) fn keep_logs(&mut self, now_ms: u64, text: &str) {
        self.logs = Some((now_ms, text.into()));
        self.logs_wanted = false;
    }
}

impl State {
    /// Asks a node for its logs. Now, and how long it is worth waiting; `None`: there is no such node.
    fn want_logs(&mut self, name: &str) -> Option<(u64, Duration)> {
        let mac = self.named(name)?.kept.mac;
        let node = self.nodes.get_mut(&mac)?;
        node.logs_wanted = true;
        let patience = if self.now_ms < node.heard_ms + SILENCE_MS { ANSWER_LIMIT } else { Duration::ZERO };
        Some((self.now_ms, patience))
    }

    fn logs(&self, name: &str) -> Option<(u64, Arc<str>)> {
        self.named(name)?.logs.clone()
    }
}

impl Head {
    /// A node's logs as of now, or, if it does not answer, as it sent them when it was asked before. `None`: there is no such
    /// node.
    pub(crate) async fn logs(&self, name: String) -> Option<Result<LogsView, NoLogs>> {
        let wanted = name.clone();
        let (asked_ms, patience) = self.ask(move |state| state.want_logs(&wanted)).await.flatten()?;
        let limit = Instant::now() + patience;
        loop {
            let wanted = name.clone();
            let logs = self.ask(move |state| state.logs(&wanted)).await.flatten();
            let is_new = logs.as_ref().is_some_and(|(at_ms, _)| *at_ms >= asked_ms);
            if is_new || Instant::now() >= limit {
                let view =
                    |(at_ms, text): (u64, Arc<str>)| LogsView { at_ms, old: !is_new, text: text.to_string() };
                return Some(logs.map(view).ok_or(NoLogs));
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use cluster::report::Report;

    use super::super::state::tests::{ADDRESS, MAC, boot, report, state};
    use super::*;

    #[test]
    fn logs_are_asked_for_until_they_come_and_their_words_are_made_harmless() {
        let mut state = state();
        let token = boot(&mut state, MAC, ADDRESS);
        let says = |state: &mut State, logs: Option<&str>| {
            let report = Report { logs: logs.map(str::to_owned), ..report(vec![]) };
            state.report(&token, ADDRESS, report).expect("orders").logs
        };
        assert!(!says(&mut state, None), "nobody wants them");
        assert_eq!(state.want_logs("nobody"), None);
        assert_eq!(state.want_logs("node1"), Some((state.now_ms, ANSWER_LIMIT)));
        assert!(says(&mut state, None) && says(&mut state, None));
        let long = format!("==> kernel <==\n\u{1b}[2J{}", "x".repeat(Report::LOGS_LIMIT));
        assert!(!says(&mut state, Some(&long)), "they have come");
        let (at_ms, text) = state.logs("node1").expect("logs");
        assert_eq!((at_ms, text.len() <= Report::LOGS_LIMIT), (state.now_ms, true));
        assert!(text.starts_with("==> kernel <==\n\u{fffd}[2Jxx"), "{}", &text[..40]);
        boot(&mut state, MAC, ADDRESS);
        state.now_ms += SILENCE_MS;
        assert_eq!(
            state.want_logs("node1"),
            Some((state.now_ms, Duration::ZERO)),
            "nobody is there to wait for"
        );
        assert!(state.logs("node1").is_some(), "the last words of a life are worth most when it is over");
    }
}
