//! What the lab is told over its control socket: one request and one answer per connection, each a line of JSON.
//!
//! Types and the asking side; the lab's side is in `supervise`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use cluster::Mac;
use serde::{Deserialize, Serialize};

pub use crate::card::{CardDeed, CardKind, CardView, Slot};
pub use crate::fetch::Page;
use crate::storm;

/// The longest request or answer, in bytes: a page of 1 MiB, escaped.
pub(crate) const LINE_LIMIT: u64 = 8 << 20;
/// How long a lab may take to answer: a fetch waits for a node at most twice 5 s.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How long a storm may take.
const STORM_LIMIT: Duration = Duration::from_secs(2 * storm::PATIENCE_SECS);

/// What to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "verb")]
pub enum Request {
    /// Say how the lab is.
    Status,
    /// Work a power switch.
    Power {
        /// The node's name, or [`HEAD`].
        node: String,
        /// What to do with the switch.
        power: Power,
    },
    /// Do something with a node's card, and say what is on it.
    Card {
        /// The node's name.
        node: String,
        /// What to do.
        deed: CardDeed,
    },
    /// Lose packets on the bridge from now on.
    Loss {
        /// How many of a hundred, by chance; 0 ends it.
        percent: u8,
    },
    /// Put another board in a node's place: another hardware address, a blank card. It has to be off.
    Replace {
        /// The node's name.
        node: String,
    },
    /// Let nothing pass between two nodes from now on; they go on to hear everybody else.
    Part {
        /// The nodes' names; `None` ends it for all.
        nodes: Option<[String; 2]>,
    },
    /// Get a page from inside the lab.
    Fetch {
        /// `http://ADDRESS[:PORT]/PATH`.
        url: String,
    },
    /// Have software clients boot.
    Storm(storm::Plan),
    /// Stop everything.
    Down,
}

/// The head's name among the power switches.
pub const HEAD: &str = "head";

/// A power switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// Pull the plug.
    Cut,
    /// Plug it in.
    On,
    /// Press the reset button.
    Reset,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// To [`Request::Status`].
    Status(Status),
    /// To [`Request::Card`].
    Card(CardView),
    /// To [`Request::Fetch`].
    Page(Page),
    /// To [`Request::Storm`].
    Storm(storm::Outcome),
    /// It is done.
    Done,
    /// It could not be done, and why.
    Failed(String),
}

/// How a lab is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The lab's name.
    pub name: String,
    /// The directory of the image that it serves.
    pub image: PathBuf,
    /// When the first node was powered on, milliseconds since 1970.
    pub powered_on_ms: u64,
    /// Whether the head runs.
    pub head_runs: bool,
    /// The head's process, as the lab's own processes number it.
    pub head_process: u32,
    /// The socket of the head's operator API.
    pub head_socket: PathBuf,
    /// The nodes, by number.
    pub boards: Vec<BoardStatus>,
}

/// How one emulated board is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardStatus {
    /// The node's name.
    pub name: String,
    /// Its hardware address.
    pub mac: Mac,
    /// Its address.
    pub address: Ipv4Addr,
    /// Whether it has power.
    pub on: bool,
    /// Whether its emulator ended by itself.
    #[serde(default)]
    pub has_ended: bool,
    /// What its cable carried to it since the lab began, in bytes. Without what a Pi's firmware fetches.
    pub received_bytes: u64,
    /// The file with what it printed on its serial console.
    pub console: PathBuf,
}

/// Asks the lab behind `socket`.
///
/// # Errors
/// No lab runs there, it does not answer, or it could not do it.
pub(crate) fn ask(socket: &Path, request: &Request) -> anyhow::Result<Answer> {
    let mut stream = UnixStream::connect(socket)
        .context("no lab of that name runs (start one with `fledermaus lab up --keep`)")?;
    let limit = if matches!(request, Request::Storm(_)) { STORM_LIMIT } else { ANSWER_LIMIT };
    stream.set_read_timeout(Some(limit))?;
    writeln!(stream, "{}", serde_json::to_string(request)?).context("writing to the lab")?;
    match read_line(&stream).context("waiting for the lab's answer")? {
        Answer::Failed(error) => Err(anyhow::anyhow!(error)),
        answer => Ok(answer),
    }
}

/// Reads one line of JSON.
///
/// # Errors
/// The peer closed, was silent too long, or did not send what was expected.
pub(crate) fn read_line<T: serde::de::DeserializeOwned>(stream: &UnixStream) -> anyhow::Result<T> {
    let mut line = String::new();
    BufReader::new(stream.take(LINE_LIMIT)).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}
