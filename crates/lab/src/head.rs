//! The lab's head: `fledermaus serve`, the same program as on a real network, on the lab's bridge; a process, or an emulated
//! machine of its own.

pub(crate) mod emulated;

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use server::client::Client;

use self::emulated::Emulated;
use crate::control::Power;
use crate::place::Place;
use crate::spec::{HeadKind, Spec};
use crate::{configuration, network};

/// How long the head may take until its operator socket answers: as a process, and as a machine, which boots first.
const START_LIMIT: Duration = Duration::from_secs(30);
const BOOT_LIMIT: Duration = Duration::from_secs(180);
/// How long the head may take to end by itself.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// How often both are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The head: its process, and what starts it again.
pub(crate) struct Head {
    make: Make,
    place: Place,
    process: Child,
}

/// What starts a head.
enum Make {
    /// `fledermaus serve` with this image.
    Process { program: PathBuf, image: PathBuf },
    /// An emulator.
    Machine(Emulated),
}

impl Head {
    /// Writes the head's configuration, gives it its place in the network, starts it and waits until it answers.
    ///
    /// # Errors
    /// The head ends or does not answer; what it printed last is in the error.
    pub(crate) fn start(spec: &Spec) -> anyhow::Result<Self> {
        let place = spec.place.clone();
        let make = match &spec.head {
            HeadKind::Process => {
                network::seat_head()?;
                configuration::write(spec, &place.directory())?;
                Make::Process { program: spec.program.clone(), image: spec.image.clone() }
            }
            HeadKind::Arm64 { program } => {
                network::cable_head()?;
                Make::Machine(Emulated::new(spec, program)?)
            }
        };
        let process = make.launch(&place)?;
        let mut head = Self { make, place, process };
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
            self.process = self.make.launch(&self.place)?;
            self.wait_for_answer()?;
        }
        Ok(())
    }

    /// Asks it to end; kills it if it does not. An emulator ends at once.
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

    /// Its number among the lab's processes; its emulator's, if it is a machine.
    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }

    /// The socket of its operator API.
    pub(crate) fn socket(&self) -> PathBuf {
        self.place.head_socket()
    }

    fn wait_for_answer(&mut self) -> anyhow::Result<()> {
        let patience = match self.make {
            Make::Process { .. } => START_LIMIT,
            Make::Machine(_) => BOOT_LIMIT,
        };
        let (client, limit) = (Client::new(&self.socket()), Instant::now() + patience);
        while client.get_text("/healthz").is_err() {
            let log = self.place.head_log();
            let printed = || crate::console::tail(&log, 20);
            anyhow::ensure!(self.runs(), "the head ended at once; it printed:\n{}", printed());
            anyhow::ensure!(Instant::now() < limit, "the head does not answer; it printed:\n{}", printed());
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }
}

impl Make {
    /// Its log is one, however often it starts.
    fn launch(&self, place: &Place) -> anyhow::Result<Child> {
        let log =
            File::options().create(true).append(true).open(place.head_log()).context("making head.log")?;
        let mut command = match self {
            Self::Process { program, image } => {
                let mut command = Command::new(program);
                command.args(["serve", "--interface", network::BRIDGE]);
                command.arg("--config").arg(place.configuration());
                command.arg("--state-dir").arg(place.head_state()).arg("--image-dir").arg(image);
                command
            }
            Self::Machine(emulated) => emulated.command(),
        };
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.spawn().context("starting the head")
    }
}
