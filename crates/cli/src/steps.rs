//! The kitchen's steps on standard error: a bar on a terminal, a line per step elsewhere.

use std::io::IsTerminal;

use image::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// Shows the kitchen's steps on standard error.
pub(crate) struct Steps {
    bar: Option<ProgressBar>,
}

impl Steps {
    pub(crate) fn new() -> Self {
        let style =
            ProgressStyle::with_template("{prefix:28} {bar:30} {bytes:>10} of {total_bytes} {bytes_per_sec}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(0).with_style(style));
        Self { bar }
    }

    pub(crate) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }

    /// Prints above the bar.
    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }
}

impl Progress for Steps {
    fn step(&mut self, name: &str) {
        match &self.bar {
            Some(bar) => {
                bar.reset();
                bar.set_length(0);
                bar.set_prefix(name.to_owned());
            }
            None => eprintln!("{name}"),
        }
    }

    fn bytes(&mut self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
        }
    }

    fn notice(&mut self, text: &str) {
        self.line(text);
    }
}
