//! One line per node while it boots: a bar on a terminal, a line per phase elsewhere. On standard error.

use std::collections::BTreeMap;
use std::io::IsTerminal;

use cluster::phase::{Phase, Step};
use cluster::view::NodeView;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::table;

/// Shows how far the nodes are.
pub(crate) struct Watch {
    powered_on_ms: u64,
    display: Display,
}

enum Display {
    Bars {
        all: MultiProgress,
        bars: BTreeMap<String, ProgressBar>,
    },
    /// What was last printed of each node.
    Lines(BTreeMap<String, String>),
}

impl Watch {
    /// Begins to watch nodes that were powered on at that time.
    pub(crate) fn new(powered_on_ms: u64) -> Self {
        let display = if std::io::stderr().is_terminal() {
            Display::Bars { all: MultiProgress::new(), bars: BTreeMap::new() }
        } else {
            Display::Lines(BTreeMap::new())
        };
        Self { powered_on_ms, display }
    }

    /// Shows the nodes as they are now.
    pub(crate) fn show(&mut self, nodes: &[NodeView]) {
        for node in nodes {
            let until = node.ready_at_ms.unwrap_or_else(table::now_ms);
            let elapsed = table::seconds(until.saturating_sub(self.powered_on_ms));
            match &mut self.display {
                Display::Bars { all, bars } => draw(all, bars, node, &elapsed),
                Display::Lines(printed) => print(printed, node, &elapsed),
            }
        }
    }

    /// Leaves the bars as they are.
    pub(crate) fn end(self) {
        if let Display::Bars { bars, .. } = self.display {
            bars.values().for_each(ProgressBar::abandon);
        }
    }
}

fn draw(all: &MultiProgress, bars: &mut BTreeMap<String, ProgressBar>, node: &NodeView, elapsed: &str) {
    let bar = bars.entry(node.name.to_string()).or_insert_with(|| {
        let style = ProgressStyle::with_template("{prefix:10} {bar:30} {msg}");
        let bar = ProgressBar::new(Phase::ALL.len() as u64).with_prefix(node.name.to_string());
        all.add(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    });
    bar.set_position(node.phase.map_or(0, |phase| phase.number() as u64));
    bar.set_message(format!("{elapsed:>6}s  {}", told(node)));
}

fn print(printed: &mut BTreeMap<String, String>, node: &NodeView, elapsed: &str) {
    let phase = told_without_progress(node);
    let last = printed.insert(node.name.to_string(), phase.clone());
    if last.as_ref() != Some(&phase) {
        eprintln!("{elapsed:>6}s  {:10} {phase}", node.name);
    }
}

fn told(node: &NodeView) -> String {
    match node.step {
        Some(Step::Progress { done, total }) if total > 0 => {
            format!("{} {} %", told_without_progress(node), done.saturating_mul(100) / total)
        }
        _ => told_without_progress(node),
    }
}

fn told_without_progress(node: &NodeView) -> String {
    let Some(phase) = node.phase else { return "power".to_owned() };
    match node.step {
        Some(Step::Failed) => format!("{phase} failed: {}", node.detail),
        _ => phase.to_string(),
    }
}
