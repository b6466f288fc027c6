//! The lab's head: `fledermaus serve`, the same program as on a real network, on the lab's bridge.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::control::Power;
use crate::place::Place;
use crate::spec::Spec;
use crate::{configuration, network};

/// How long the head may take until its operator socket answers.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long the head may take to end by itself.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// How often both are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The head: its process, and what starts it again.
pub(crate) struct Head {
    program: PathBuf,
    image: PathBuf,
    place: Place,
    process: Child,
}

impl Head {
    /// Writes the head's configuration, starts it and waits until it answers.
    ///
    /// # Errors
    /// The head ends or does not answer; what it printed last is in the error.
    pub(crate) fn start(spec: &Spec) -> anyhow::Result<Self> {
        configuration::write(spec)?;
        let (program, image, place) = (spec.program.clone(), spec.image.clone(), spec.place.clone());
        let process = launch(&program, &image, &place)?;
        let mut head = Self { program, image, place, process };
        head.wait_for_answer()?;
        Ok(head)
    }

    /// Works its power switch: what was not on its disk is lost.
    ///
    /// # Errors
    /// As of [`Head::start`].
    pub(crate) fn power(&mut self, power: Power) -> anyhow::Result<()> {
        if power != Power::On {
            self.process.kill().context("killing the head")?;
            self.process.wait().context("waiting for the head's end")?;
        }
        if power != Power::Cut && !self.runs() {
            self.process = launch(&self.program, &self.image, &self.place)?;
            self.wait_for_answer()?;
        }
        Ok(())
    }

    /// Asks it to end; kills it if it does not.
    pub(crate) fn stop(&mut self) {
        let _ = kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGTERM);
        let limit = Instant::now() + STOP_LIMIT;
        while self.runs() && Instant::now() < limit {
            std::thread::sleep(LOOK_EVERY);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Whether the process runs.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// Its number among the lab's processes.
    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }

    /// The socket of its operator API.
    pub(crate) fn socket(&self) -> PathBuf {
        self.place.head_socket()
    }

    fn wait_for_answer(&mut self) -> anyhow::Result<()> {
        let limit = Instant::now() + START_LIMIT;
        while UnixStream::connect(self.socket()).is_err() {
            let log = self.place.head_log();
            let printed = || crate::console::tail(&log, 20);
            anyhow::ensure!(self.runs(), "the head ended at once; it printed:\n{}", printed());
            anyhow::ensure!(Instant::now() < limit, "the head does not answer; it printed:\n{}", printed());
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }
}

/// Its log is one, however often it starts.
fn launch(program: &Path, image: &Path, place: &Place) -> anyhow::Result<Child> {
    let log = File::options().create(true).append(true).open(place.head_log()).context("making head.log")?;
    Command::new(program)
        .arg("serve")
        .args(["--interface", network::BRIDGE])
        .args([Path::new("--config"), &place.configuration()])
        .args([Path::new("--state-dir"), &place.head_state()])
        .args([Path::new("--image-dir"), image])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("starting the head")
}
