//! What nodes say, made harmless once, where it comes in: no control characters that could steer a terminal or begin a line of
//! a log, and nothing longer than somebody wants to read. Says nothing of whether it is true.

use cluster::phase::Event;
use cluster::report::{Health, Outcome, Report};
use cluster::swarm::{ManagerFacts, SwarmFacts};

/// The longest of Docker's names, ids and versions that is kept, in bytes; labels' keys and values too.
const WORD_LIMIT: usize = 256;

/// A report whose texts can be kept, shown and logged.
pub(super) fn harmless(mut report: Report) -> Report {
    report.events.truncate(Report::EVENTS_LIMIT);
    for event in &mut report.events {
        event.detail = within(&event.detail, Event::DETAIL_LIMIT);
    }
    for Outcome { error, .. } in &mut report.outcomes {
        *error = error.take().map(|error| within(&error, Event::DETAIL_LIMIT));
    }
    if let Some(Health { model, serial, card_name, card_life, .. }) = &mut report.health {
        for text in [model, serial, card_name, card_life] {
            *text = one_line(&within(text, Event::DETAIL_LIMIT)).chars().take(Health::TEXT_LIMIT).collect();
        }
    }
    if let Some(facts) = &mut report.swarm {
        tame(facts);
    }
    report.answering = report.answering.into_iter().take(ManagerFacts::PORTS_LIMIT).collect();
    report.logs = report.logs.map(|logs| within(&logs, Report::LOGS_LIMIT));
    report
}

/// The join tokens are left as they are: they are never shown, and Docker alone reads them.
fn tame(facts: &mut SwarmFacts) {
    let word = |text: &mut String| *text = one_line(&within(text, WORD_LIMIT));
    word(&mut facts.node_id);
    let Some(manager) = &mut facts.manager else { return };
    word(&mut manager.cluster_id);
    for member in &mut manager.members {
        [&mut member.id, &mut member.hostname, &mut member.engine].into_iter().for_each(word);
        let tamed = |(mut key, mut text): (String, String)| {
            [&mut key, &mut text].into_iter().for_each(word);
            (key, text)
        };
        member.labels = member.labels.take().map(|labels| labels.into_iter().map(tamed).collect());
    }
    manager.services.truncate(ManagerFacts::SERVICES_LIMIT);
    manager.services.iter_mut().for_each(|service| word(&mut service.name));
}

/// Text from a node, without what could steer a terminal, and not longer than `limit` bytes. Its lines stay lines.
fn within(text: &str, limit: usize) -> String {
    let printable =
        text.chars().map(|letter| if letter.is_control() && letter != '\n' { '\u{fffd}' } else { letter });
    let mut kept = String::new();
    for letter in printable {
        if kept.len() + letter.len_utf8() > limit {
            break;
        }
        kept.push(letter);
    }
    kept
}

/// The same on one line, for a log: a second line could pretend to be the log's own.
pub(super) fn one_line(text: &str) -> String {
    text.replace('\n', " ⏎ ")
}

#[cfg(test)]
mod tests {
    use cluster::phase::{Phase, Step};
    use cluster::swarm::{LocalState, Member, Service};

    use super::*;

    /// Clears the screen, and then is a line of our log.
    const EVIL: &str = "\u{1b}[2J\n2026-11-27T06:00:00Z  INFO audit: root logged in\u{9b}1m\0";

    #[test]
    fn no_text_of_a_report_steers_a_terminal_or_begins_a_line() {
        let member = Member {
            id: EVIL.into(),
            hostname: EVIL.into(),
            ready: true,
            manager: true,
            reachable: true,
            leader: true,
            engine: EVIL.into(),
            labels: Some([(EVIL.to_owned(), EVIL.to_owned())].into()),
            ..Member::default()
        };
        let service =
            Service { name: EVIL.repeat(100), running: 1, desired: 1, starting: false, ports: vec![] };
        let manager = ManagerFacts {
            cluster_id: EVIL.into(),
            worker_token: "SWMTKN-1".into(),
            manager_token: "SWMTKN-2".into(),
            members: vec![member],
            services: vec![service; 1_000],
        };
        let facts = SwarmFacts { state: LocalState::Active, node_id: EVIL.into(), manager: Some(manager) };
        let health = Health { model: EVIL.into(), card_name: EVIL.repeat(100), ..Health::default() };
        let event =
            Event { uptime_ms: 1, phase: Phase::Disk, step: Step::Failed, detail: EVIL.repeat(1_000) };
        let report = Report {
            events: vec![event; 1_000],
            outcomes: vec![Outcome::of(1, Some(EVIL.repeat(1_000)))],
            health: Some(health),
            swarm: Some(facts),
            logs: Some(EVIL.repeat(10_000)),
            ..Report::default()
        };
        let tamed = harmless(report);
        assert_eq!(tamed.events.len(), Report::EVENTS_LIMIT);
        let error = tamed.outcomes[0].error.as_ref().expect("an error");
        assert!(error.len() <= Event::DETAIL_LIMIT && tamed.events[0].detail.len() <= Event::DETAIL_LIMIT);
        let manager = tamed.swarm.as_ref().and_then(|facts| facts.manager.as_ref()).expect("a manager");
        assert_eq!(manager.worker_token, "SWMTKN-1");
        assert_eq!(manager.services.len(), ManagerFacts::SERVICES_LIMIT);
        assert!(manager.services[0].name.len() <= 2 * WORD_LIMIT);
        let texts = serde_json::to_string(&(&tamed.health, &tamed.swarm)).expect("written");
        assert!(!texts.contains("\\n") && !texts.contains('\u{9b}') && !texts.contains("\\u00"), "{texts}");
        for text in [error, &tamed.events[0].detail, tamed.logs.as_ref().expect("logs")] {
            assert!(text.chars().all(|letter| letter == '\n' || !letter.is_control()));
            assert!(!one_line(text).contains('\n'));
        }
    }
}
