//! The QEMU machine protocol, as far as the lab needs it: one command, one answer.
//!
//! Knows nothing of events; a connection lives as long as one command.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

/// How long QEMU may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Lines that may come before the answer: the greeting, and events.
const LINES_LIMIT: usize = 100;

/// Resets the machine, as its reset button would.
///
/// # Errors
/// QEMU does not answer, or refuses.
pub(crate) fn reset(socket: &Path) -> anyhow::Result<()> {
    let stream =
        UnixStream::connect(socket).with_context(|| format!("connecting to {}", socket.display()))?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    command(&stream, &mut lines, "qmp_capabilities")?;
    command(&stream, &mut lines, "system_reset")
}

fn command(
    mut stream: &UnixStream,
    lines: &mut impl Iterator<Item = std::io::Result<String>>,
    name: &str,
) -> anyhow::Result<()> {
    writeln!(stream, "{}", serde_json::json!({ "execute": name })).context("writing to QEMU")?;
    for line in lines.by_ref().take(LINES_LIMIT) {
        let answer: Value = serde_json::from_str(&line.context("waiting for QEMU's answer")?)?;
        if answer.get("return").is_some() {
            return Ok(());
        }
        if let Some(error) = answer.get("error") {
            anyhow::bail!("QEMU refuses `{name}`: {error}");
        }
    }
    anyhow::bail!("QEMU closed its socket without an answer to `{name}`")
}
