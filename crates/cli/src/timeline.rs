//! From a timeline's lines to seconds per phase.

use cluster::Phase;
use cluster::phase::Step;
use cluster::view::{NodeDetail, TimelineLine};
use serde::Serialize;

/// One phase of one boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Span {
    /// Which phase.
    pub(crate) phase: Phase,
    /// When it began, milliseconds after the boot's first line.
    pub(crate) after_ms: u64,
    /// How long it took in milliseconds; absent while it goes on. Phases may overlap.
    pub(crate) took_ms: Option<u64>,
    /// Whether it failed the last time it was tried.
    pub(crate) failed: bool,
    /// What was last said about it.
    pub(crate) detail: String,
}

/// The phases of a node's newest boot, in the order in which they began.
pub(crate) fn of_newest_boot(detail: &NodeDetail) -> Vec<Span> {
    let newest = detail.timeline.iter().map(|line| line.boot).max();
    let lines: Vec<_> = detail.timeline.iter().filter(|line| Some(line.boot) == newest).collect();
    spans(&lines)
}

fn spans(lines: &[&TimelineLine]) -> Vec<Span> {
    let began = lines.iter().map(|line| line.at_ms).min().unwrap_or_default();
    let mut spans: Vec<Span> = Vec::new();
    for phase in Phase::ALL {
        let own: Vec<_> = lines.iter().filter(|line| line.phase == phase).collect();
        let (Some(first), Some(last)) = (own.first(), own.last()) else { continue };
        let ended = matches!(last.step, Step::Done | Step::Failed);
        spans.push(Span {
            phase,
            after_ms: first.at_ms.saturating_sub(began),
            took_ms: ended.then(|| last.at_ms.saturating_sub(first.at_ms)),
            failed: last.step == Step::Failed,
            detail: own
                .iter()
                .rev()
                .find(|line| !line.detail.is_empty())
                .map(|line| line.detail.clone())
                .unwrap_or_default(),
        });
    }
    spans.sort_by_key(|span| (span.after_ms, span.phase));
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at_ms: u64, phase: Phase, step: Step, detail: &str) -> TimelineLine {
        TimelineLine { at_ms, boot: 2, phase, step, detail: detail.to_owned() }
    }

    #[test]
    fn a_phase_lasts_from_its_first_line_to_its_last() {
        let lines = [
            line(1_000, Phase::Address, Step::Done, ""),
            line(1_500, Phase::System, Step::Started, ""),
            line(1_600, Phase::System, Step::Failed, "connection lost"),
            line(1_700, Phase::Docker, Step::Started, ""),
            line(2_500, Phase::System, Step::Done, "61 MB"),
        ];
        let spans = spans(&lines.iter().collect::<Vec<_>>());
        let told: Vec<_> =
            spans.iter().map(|span| (span.phase, span.after_ms, span.took_ms, span.failed)).collect();
        assert_eq!(
            told,
            [
                (Phase::Address, 0, Some(0), false),
                (Phase::System, 500, Some(1_000), false),
                (Phase::Docker, 700, None, false),
            ]
        );
        assert_eq!(spans[1].detail, "61 MB");
    }
}
