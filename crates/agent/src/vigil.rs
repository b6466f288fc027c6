//! Watches over a Docker that has answered once: when it falls silent, the timeline says so with dockerd's last complaints, and
//! again when it is back. Starting it again is the business of the system's init, which does so at once.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

use cluster::Phase;
use cluster::phase::Step;

use crate::outbox::Outbox;

/// What dockerd prints.
const LOG_FILE: &str = "/var/log/dockerd.log";
/// How much of its end is read, in bytes, how many lines of that are told, and how many letters of each.
const TAIL_BYTES: u64 = 64 * 1024;
const LINES_LIMIT: usize = 2;
const LETTERS_LIMIT: usize = 200;
/// What a line has to hold to be told. Others have secrets in them: dockerd notes the keys of the swarm's gossip as
/// information.
const COMPLAINTS: [&str; 4] = ["level=error", "level=fatal", "panic: ", "fatal error: "];
/// How long Docker may be silent before it is worth a word: longer than one question that met a busy moment.
const SILENCE_LIMIT: Duration = Duration::from_secs(3);

/// What is known of Docker's silence.
#[derive(Default)]
pub(crate) struct Vigil {
    answered: bool,
    silent_since: Option<Instant>,
    told: bool,
}

/// What is worth telling.
#[derive(Debug, PartialEq, Eq)]
enum Notice {
    Silent,
    Back(Duration),
}

impl Vigil {
    /// Docker was asked; tells the head if that changes what it should know.
    pub(crate) fn saw(&mut self, answers: bool, outbox: &Outbox) {
        match self.step(answers, Instant::now()) {
            None => {}
            Some(Notice::Silent) => {
                let reason = "Docker does not answer any more; it is started again";
                outbox.event(Phase::Docker, Step::Failed, &with_last_words(reason, Path::new(LOG_FILE)));
            }
            Some(Notice::Back(after)) => {
                let detail = format!("Docker answers again after {:.1}s", after.as_secs_f32());
                outbox.event(Phase::Docker, Step::Done, &detail);
            }
        }
    }

    fn step(&mut self, answers: bool, now: Instant) -> Option<Notice> {
        if answers {
            let since = self.silent_since.take();
            let told = std::mem::take(&mut self.told);
            self.answered = true;
            return since.filter(|_| told).map(|since| Notice::Back(now - since));
        }
        if !self.answered || self.told {
            return None;
        }
        let since = *self.silent_since.get_or_insert(now);
        self.told = now - since >= SILENCE_LIMIT;
        self.told.then_some(Notice::Silent)
    }
}

fn with_last_words(reason: &str, log: &Path) -> String {
    let words = complaints(&read_end(log, TAIL_BYTES).unwrap_or_default());
    if words.is_empty() { reason.to_owned() } else { format!("{reason}; its last complaints: {words}") }
}

/// The last bytes of a log, as text.
///
/// # Errors
/// It cannot be read.
pub(crate) fn read_end(log: &Path, bytes: u64) -> std::io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
    let mut read = Vec::new();
    file.take(bytes).read_to_end(&mut read)?;
    Ok(String::from_utf8_lossy(&read).into_owned())
}

/// The last lines that complain, each cut.
fn complaints(text: &str) -> String {
    let complains = |line: &&str| COMPLAINTS.iter().any(|word| line.contains(word));
    let all: Vec<String> =
        text.lines().filter(complains).map(|line| line.chars().take(LETTERS_LIMIT).collect()).collect();
    all[all.len().saturating_sub(LINES_LIMIT)..].join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_silence_is_told_once_and_its_end_too() {
        let (mut vigil, began) = (Vigil::default(), Instant::now());
        let mut at = |secs: u64, answers: bool| vigil.step(answers, began + Duration::from_secs(secs));
        assert_eq!([at(0, false), at(10, false)], [None, None], "it has never answered");
        assert_eq!(at(11, true), None);
        // One busy moment.
        assert_eq!([at(12, false), at(13, true)], [None, None]);
        assert_eq!([at(20, false), at(22, false), at(23, false)], [None, None, Some(Notice::Silent)]);
        assert_eq!([at(24, false), at(90, false)], [None, None]);
        assert_eq!(at(91, true), Some(Notice::Back(Duration::from_secs(71))));
        assert_eq!([at(92, true), at(93, false)], [None, None]);
    }

    /// In the lab the keys of the swarm's gossip came to the timeline this way.
    #[test]
    fn keys_in_dockerd_s_log_are_not_told() {
        let text = "time=\"t\" level=info msg=\"New memberlist node with config:&{Keys:[[103 163 183 8]]\"\n\
                    time=\"t\" level=error msg=\"first\"\nlevel=error second\nlevel=fatal third\n";
        assert_eq!(complaints(text), "level=error second\nlevel=fatal third");
        let long = format!("level=error {}", "x".repeat(1_000));
        assert_eq!(complaints(&long).len(), LETTERS_LIMIT);
    }

    #[test]
    fn the_last_words_are_told_if_there_are_any() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        assert_eq!(with_last_words("gone", &log), "gone");
        std::fs::write(&log, "one\npanic: no more\ntwo\n").unwrap();
        assert_eq!(with_last_words("gone", &log), "gone; its last complaints: panic: no more");
    }
}
