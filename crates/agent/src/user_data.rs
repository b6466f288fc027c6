//! The user data: fetched whole or not at all, run once with a time limit, its output kept in a file.
//!
//! Any server that answers the URL with a length or in chunks will do. No TLS.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::ToSocketAddrs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cluster::phase::Step;
use cluster::plan::NodePlan;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::http::{Request, exchange};
use crate::machine::Machine;
use crate::outbox::clip;
use crate::report::connect;

/// Where the output goes.
pub(crate) const LOG_FILE: &str = "/var/log/fledermaus/user-data.log";
/// The largest user data, in bytes.
const BYTES_LIMIT: usize = 10 * 1024 * 1024;
/// How often it is looked whether it has ended.
const RUN_POLL: Duration = Duration::from_millis(20);
/// How often it is tried to fetch, and the first and the longest pause in between: ten minutes in all.
const FETCH_TRIES: u32 = 125;
const FETCH_PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// How long one try may take: a server that sends a byte now and then must not hold a node up for ever.
const FETCH_LIMIT: Duration = Duration::from_secs(5 * 60);
/// A server's refusal that will not change by asking again is believed after so many tries.
const REFUSALS_LIMIT: u32 = 3;
/// How much of the output's end goes into the timeline: lines and bytes.
const TAIL_LINES: usize = 5;
const TAIL_BYTES: u64 = 1_000;
/// The interpreter of user data without a first line that names one.
const SHELL: &str = "/bin/sh";

/// How the user data ended.
pub(crate) struct Ending {
    /// `None`: it was stopped at its limit.
    status: Option<ExitStatus>,
    limit: Duration,
    took: Duration,
    tail: String,
}

impl Ending {
    /// Done if it said so itself.
    pub(crate) fn step(&self) -> Step {
        if self.status.is_some_and(|status| status.success()) { Step::Done } else { Step::Failed }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => match status.code() {
                Some(code) => write!(f, "exit {code}")?,
                None => write!(f, "{status}")?,
            },
            None => write!(f, "stopped at its limit of {} s", self.limit.as_secs())?,
        }
        write!(f, " after {:.1}s", self.took.as_secs_f32())?;
        if self.tail.is_empty() { Ok(()) } else { write!(f, ": {}", self.tail) }
    }
}

/// Fetches the user data, again and again if need be; `complain` hears the first failure.
///
/// # Errors
/// The URL cannot be used, the server refuses for good, or does not answer for ten minutes.
pub(crate) fn fetch(url: &str, complain: impl Fn(&str)) -> Result<Vec<u8>> {
    let (host, target) = split_url(url)?;
    let (mut pause, mut refusals) = (FETCH_PAUSES.0, 0);
    for attempt in 1..=FETCH_TRIES {
        let error = match fetch_once(&host, &target) {
            Ok((200, body)) => return Ok(body),
            Ok((status, _)) => {
                refusals += u32::from((400..500).contains(&status));
                anyhow::anyhow!("the server answers with status {status}")
            }
            Err(error) => {
                // Too large, or no HTTP: that is an answer, and the next one will be the same. A cut one is not.
                let cause = error.downcast_ref::<io::Error>().map(io::Error::kind);
                refusals += u32::from(cause == Some(io::ErrorKind::InvalidData));
                error
            }
        };
        let error = error.context("fetching the user data");
        if refusals >= REFUSALS_LIMIT || attempt == FETCH_TRIES {
            return Err(error);
        }
        if attempt == 1 {
            complain(&format!("{error:#}; trying again"));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(FETCH_PAUSES.1);
    }
    bail!("fetching the user data: no try was made")
}

fn fetch_once(host: &str, target: &str) -> Result<(u16, Vec<u8>)> {
    let with_port = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let address = with_port.to_socket_addrs().context("looking up its server")?.find(|found| found.is_ipv4());
    let stream = connect(address.context("its server has no IPv4 address")?)?;
    let mut stream = Patient { stream, end: Instant::now() + FETCH_LIMIT };
    let request = Request { method: "GET", target, host, content_type: "", length: 0 };
    let answer = exchange(&mut stream, &request, &mut std::io::empty(), BYTES_LIMIT)?;
    Ok((answer.status, answer.body))
}

/// A connection that ends at a given time, whatever still comes.
struct Patient<S> {
    stream: S,
    end: Instant,
}

impl<S: Read> Read for Patient<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if Instant::now() >= self.end {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.read(buffer)
    }
}

impl<S: Write> Write for Patient<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// `http://host:port/path?query` into `host:port` and `/path?query`. The error does not repeat the URL:
/// it may hold the boot token.
fn split_url(url: &str) -> Result<(String, String)> {
    let Some(rest) = url.strip_prefix("http://") else {
        bail!("foreman_user_data_url= has to begin with http://");
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if host.is_empty() || host.contains('@') {
        bail!("foreman_user_data_url= names no server");
    }
    Ok((host.to_owned(), format!("/{path}")))
}

/// Saves the user data where only root can read it.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn save(text: &[u8], folder: &Path) -> Result<PathBuf> {
    let script = folder.join("user-data");
    let _ = fs::remove_file(&script);
    let mut file = File::options().write(true).create_new(true).mode(0o700).open(&script)?;
    std::io::Write::write_all(&mut file, text).context("saving the user data")?;
    file.set_permissions(fs::Permissions::from_mode(0o700))?;
    Ok(script)
}

/// What the user data can know of its node without asking, as environment variables.
pub(crate) fn environment(plan: &NodePlan) -> Vec<(&'static str, String)> {
    let machine = Machine::of_this_node();
    let gateway = plan.gateway.map(|gateway| gateway.to_string()).unwrap_or_default();
    vec![
        ("FLEDERMAUS_NODE", plan.name.to_string()),
        ("FLEDERMAUS_ADDRESS", plan.address.to_string()),
        ("FLEDERMAUS_PREFIX", plan.prefix.to_string()),
        ("FLEDERMAUS_GATEWAY", gateway),
        ("FLEDERMAUS_HEAD", plan.head.to_string()),
        ("FLEDERMAUS_IMAGE", plan.system.to_string()),
        ("FLEDERMAUS_MODEL", machine.model),
        ("FLEDERMAUS_SERIAL", machine.serial),
        ("FLEDERMAUS_MEMORY_BYTES", machine.memory_bytes.to_string()),
    ]
}

/// Runs it with the interpreter that its first line names, with these variables in its environment, and kills it with all
/// that it started at the limit.
///
/// # Errors
/// The interpreter or the log cannot be opened.
pub(crate) fn run(
    script: &Path,
    text: &[u8],
    log: &Path,
    environment: &[(&'static str, String)],
    limit: Duration,
) -> Result<Ending> {
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder).context("making the log's folder")?;
    }
    let mut output = File::options().read(true).write(true).create(true).truncate(true).open(log)?;
    let (program, argument) = interpreter(text);
    let began = Instant::now();
    let child = Command::new(&program)
        .args(argument)
        .arg(script)
        .envs(environment.iter().map(|(name, value)| (*name, value)))
        .env("HOME", "/root")
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .process_group(0)
        .spawn()
        .with_context(|| format!("starting {program}"))?;
    let status = wait(child, limit)?;
    Ok(Ending { status, limit, took: began.elapsed(), tail: tail(&mut output)? })
}

/// The program and at most one argument, as the kernel reads `#!` (the rest of the line is one argument).
fn interpreter(text: &[u8]) -> (String, Option<String>) {
    let first = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(first.strip_prefix(b"#!").unwrap_or_default()).trim().to_owned();
    match line.split_once(char::is_whitespace) {
        Some((program, argument)) => (program.to_owned(), Some(argument.trim().to_owned())),
        None if line.is_empty() => (SHELL.to_owned(), None),
        None => (line, None),
    }
}

/// Waits for a process; at the limit it is killed with all it started. `None`: it was.
pub(crate) fn wait(mut child: Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() > end {
            let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(RUN_POLL);
    }
}

/// The last lines of a log.
fn tail(log: &mut File) -> Result<String> {
    let length = log.seek(SeekFrom::End(0))?;
    log.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    log.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
    Ok(clip(&last, TAIL_BYTES as usize))
}

#[cfg(test)]
mod tests;
