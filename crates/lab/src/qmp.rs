//! The QEMU machine protocol, as far as the lab needs it: one command, one answer.
//!
//! Knows nothing of events; a connection lives as long as one command.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

/// How long QEMU may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Lines that may come before the answer: the greeting, and events.
const LINES_LIMIT: usize = 100;

/// Resets the machine, as its reset button would.
///
/// # Errors
/// QEMU does not answer, or refuses.
pub(crate) fn reset(socket: &Path) -> anyhow::Result<()> {
    tell(socket, &json!({ "execute": "system_reset" })).map(drop)
}

/// Takes a drive's medium away for good: from then on the machine's reads and writes fail. Only QEMU's command line for people
/// can do that; what it answers is a complaint.
///
/// # Errors
/// QEMU does not answer, or has no such drive.
pub(crate) fn remove_drive(socket: &Path, drive: &str) -> anyhow::Result<()> {
    let line = format!("drive_del {drive}");
    let order = json!({ "execute": "human-monitor-command", "arguments": { "command-line": line } });
    let complaint = tell(socket, &order)?;
    let complaint = complaint.as_str().unwrap_or_default().trim();
    anyhow::ensure!(complaint.is_empty(), "QEMU refuses `{line}`: {complaint}");
    Ok(())
}

/// How many bytes the machine has written to a drive since it was switched on; `None` if it has no such drive.
///
/// # Errors
/// QEMU does not answer.
pub(crate) fn written_bytes(socket: &Path, drive: &str) -> anyhow::Result<Option<u64>> {
    let drives = tell(socket, &json!({ "execute": "query-blockstats" }))?;
    let named = drives.as_array().into_iter().flatten().find(|one| one["device"] == drive);
    Ok(named.and_then(|one| one["stats"]["wr_bytes"].as_u64()))
}

fn tell(socket: &Path, order: &Value) -> anyhow::Result<Value> {
    let stream =
        UnixStream::connect(socket).with_context(|| format!("connecting to {}", socket.display()))?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    command(&stream, &mut lines, &json!({ "execute": "qmp_capabilities" }))?;
    command(&stream, &mut lines, order)
}

fn command(
    mut stream: &UnixStream,
    lines: &mut impl Iterator<Item = std::io::Result<String>>,
    order: &Value,
) -> anyhow::Result<Value> {
    writeln!(stream, "{order}").context("writing to QEMU")?;
    for line in lines.by_ref().take(LINES_LIMIT) {
        let answer: Value = serde_json::from_str(&line.context("waiting for QEMU's answer")?)?;
        if let Some(value) = answer.get("return") {
            return Ok(value.clone());
        }
        if let Some(error) = answer.get("error") {
            anyhow::bail!("QEMU refuses {order}: {error}");
        }
    }
    anyhow::bail!("QEMU closed its socket without an answer to {order}")
}
