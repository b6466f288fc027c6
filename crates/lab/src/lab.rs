//! A lab in the hands of whoever wanted it: the verbs of the tests, the demo and `fledermaus lab`.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::Context;

use crate::console;
use crate::control::{self, Answer, CardDeed, CardView, Page, Power, Request, Status};
use crate::place::Place;
use crate::spec::Spec;
use crate::storm;
use crate::supervise::{Beginning, KEEP};

/// A running lab. Dropping one that was started here, and not kept, tears it down.
#[derive(Debug)]
pub struct Lab {
    place: Place,
    supervisor: Option<Supervisor>,
}

/// The lab's outer process, and the pipe whose end is the lab's end.
#[derive(Debug)]
struct Supervisor {
    process: Child,
    pipe: ChildStdin,
}

impl Lab {
    /// Starts a lab: network, head and boards. Its nodes have only just been powered on when this returns.
    ///
    /// # Errors
    /// Something is missing on this machine, the name is taken, or the head does not start; each is a sentence.
    pub fn up(spec: &Spec) -> anyhow::Result<Self> {
        spec.check()?;
        let mut process = Command::new(&spec.program)
            .args(["lab", "supervise", &serde_json::to_string(spec)?])
            // Away from the terminal's ^C: the lab ends by the pipe, and cleans up.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", spec.program.display()))?;
        let pipe = process.stdin.take().context("holding the lab's pipe")?;
        let output = process.stdout.take().context("hearing the lab")?;
        let lab = Self { place: spec.place.clone(), supervisor: Some(Supervisor { process, pipe }) };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).context("waiting for the lab to begin")?;
        match serde_json::from_str(&line).context("the lab ended before it began")? {
            Beginning::Up => Ok(lab),
            Beginning::Failed(error) => Err(anyhow::anyhow!(error).context("starting the lab")),
        }
    }

    /// The lab that runs at `place`.
    ///
    /// # Errors
    /// None runs there.
    pub fn attach(place: Place) -> anyhow::Result<Self> {
        let lab = Self { place, supervisor: None };
        lab.status().map(|_| lab)
    }

    /// Lets the lab live on without this process.
    ///
    /// # Errors
    /// The lab has ended.
    pub fn keep(mut self) -> anyhow::Result<()> {
        let Some(mut supervisor) = self.supervisor.take() else { return Ok(()) };
        writeln!(supervisor.pipe, "{KEEP}").context("telling the lab to live on")
    }

    /// Stops everything and waits until nothing is left.
    ///
    /// # Errors
    /// The lab does not answer.
    pub fn down(mut self) -> anyhow::Result<()> {
        match self.supervisor.take() {
            Some(supervisor) => supervisor.end(),
            None => {
                control::ask(&self.place.control_socket(), &Request::Down)?;
                self.place.wait_until_free()
            }
        }
    }

    /// How head and boards are.
    ///
    /// # Errors
    /// The lab has ended.
    pub fn status(&self) -> anyhow::Result<Status> {
        match self.ask(&Request::Status)? {
            Answer::Status(status) => Ok(status),
            other => Err(unexpected(&other)),
        }
    }

    /// Works the power switch of a node, or of the head ([`control::HEAD`]).
    ///
    /// # Errors
    /// There is no such node, its emulator does not obey, or the head does not start.
    pub fn power(&self, node: &str, power: Power) -> anyhow::Result<()> {
        self.ask(&Request::Power { node: node.to_owned(), power }).map(drop)
    }

    /// Does something with a node's card, and says what is on it then.
    ///
    /// # Errors
    /// There is no such node, or its power switch is not where it has to be for that.
    pub fn card(&self, node: &str, deed: CardDeed) -> anyhow::Result<CardView> {
        match self.ask(&Request::Card { node: node.to_owned(), deed })? {
            Answer::Card(view) => Ok(view),
            other => Err(unexpected(&other)),
        }
    }

    /// Loses packets on the bridge from now on: so many of a hundred, by chance. 0 ends it.
    ///
    /// # Errors
    /// `nft` is not installed, or the kernel has no filter for bridges.
    pub fn lose(&self, percent: u8) -> anyhow::Result<()> {
        self.ask(&Request::Loss { percent }).map(drop)
    }

    /// Puts another board in a node's place, with another hardware address and a blank card.
    ///
    /// # Errors
    /// There is no such node, it is on, or its kind cannot be replaced.
    pub fn replace(&self, node: &str) -> anyhow::Result<()> {
        self.ask(&Request::Replace { node: node.to_owned() }).map(drop)
    }

    /// Lets nothing pass between two nodes from now on; they go on to hear everybody else. `None` ends it for all.
    ///
    /// # Errors
    /// There is no such node, `nft` is not installed, or the kernel has no filter for bridges.
    pub fn part(&self, nodes: Option<[&str; 2]>) -> anyhow::Result<()> {
        self.ask(&Request::Part { nodes: nodes.map(|pair| pair.map(str::to_owned)) }).map(drop)
    }

    /// Gets a page from inside the lab's network.
    ///
    /// # Errors
    /// Nobody answers there.
    pub fn fetch(&self, url: &str) -> anyhow::Result<Page> {
        match self.ask(&Request::Fetch { url: url.to_owned() })? {
            Answer::Page(page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    /// A program that will run within the lab's network, with the files and processes of everybody else. It does not end with
    /// the lab.
    ///
    /// # Errors
    /// The lab was started by somebody else.
    pub fn inside(&self, program: &str) -> anyhow::Result<Command> {
        let supervisor = self.supervisor.as_ref().context("only who started a lab can enter it")?;
        let process = supervisor.process.id();
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={process}")).arg("--net");
        if !nix::unistd::Uid::effective().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg(program);
        Ok(command)
    }

    /// Has software clients boot, and waits until all have or nothing more is to be expected.
    ///
    /// # Errors
    /// Their network cannot be made.
    pub fn storm(&self, plan: storm::Plan) -> anyhow::Result<storm::Outcome> {
        match self.ask(&Request::Storm(plan))? {
            Answer::Storm(outcome) => Ok(outcome),
            other => Err(unexpected(&other)),
        }
    }

    /// The last `lines` lines that a node printed on its console.
    pub fn console(&self, node: &str, lines: usize) -> String {
        console::tail(&self.place.console(node), lines)
    }

    /// The last `lines` lines that the head printed.
    pub fn head_log(&self, lines: usize) -> String {
        console::tail(&self.place.head_log(), lines)
    }

    /// Where the lab's files are.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The socket of the head's operator API.
    pub fn head_socket(&self) -> PathBuf {
        self.place.head_socket()
    }

    fn ask(&self, request: &Request) -> anyhow::Result<Answer> {
        control::ask(&self.place.control_socket(), request)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(supervisor) = self.supervisor.take()
            && let Err(error) = supervisor.end()
        {
            eprintln!("{error:#}");
        }
    }
}

impl Supervisor {
    /// Breaks the pipe and waits until the outer process has cleaned up.
    fn end(self) -> anyhow::Result<()> {
        let Self { mut process, pipe } = self;
        drop(pipe);
        process.wait().context("waiting for the lab's end").map(drop)
    }
}

fn unexpected(answer: &Answer) -> anyhow::Error {
    anyhow::anyhow!("the lab answered something else: {answer:?}")
}
