//! The nodes' power: a program of the operator's or a web address works it, for there are as many switches with PoE and smart
//! plugs as makers of them.

mod hook;
mod webhook;

use std::path::PathBuf;
use std::time::Duration;

use cluster::view::{NodeView, PowerDeed};

pub(crate) use self::webhook::{Method, Webhook};

/// How long it may take in all: less than an operator's request (`http::operator::door`), whose answer tells how it went.
const LIMIT: Duration = Duration::from_secs(20);
/// The most that is read of what it says, in bytes, and that is told of its last line, in letters.
const OUTPUT_BYTES: u64 = 64 * 1024;
const LETTERS: usize = 200;

/// What works the power.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A program is started.
    Hook(PathBuf),
    /// A web address is called.
    Webhook(Webhook),
}

impl Way {
    /// Works a node's power.
    ///
    /// # Errors
    /// It could not be started or called, took longer than 20 s, or failed; with the last line of what it said.
    pub(crate) async fn work(&self, deed: PowerDeed, node: &NodeView) -> anyhow::Result<()> {
        match self {
            Self::Hook(program) => hook::work(program, deed, node).await,
            Self::Webhook(webhook) => webhook.work(deed, node).await,
        }
    }
}

/// The last line of what it said that is one, for a message.
fn last_line(told: &[u8]) -> String {
    let text = String::from_utf8_lossy(told);
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
    last.chars().filter(|letter| !letter.is_control()).take(LETTERS).collect()
}

#[cfg(test)]
fn node() -> NodeView {
    NodeView {
        name: "node1".parse().expect("a name"),
        mac: cluster::Mac([2, 0, 0, 0, 0, 1]),
        address: None,
        role: String::new(),
        phase: None,
        step: None,
        boot: 0,
        boot_began_ms: None,
        ready_at_ms: None,
        last_seen_ms: None,
        detail: String::new(),
        health: None,
        labels: [("poe-port".to_owned(), "ge 7; rm -rf /".to_owned())].into(),
        group: None,
        image: None,
    }
}
