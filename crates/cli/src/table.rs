//! Tables and JSON on standard output.

use std::fmt::Display;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use cluster::phase::Step;
use cluster::swarm::{Progress, Rollout, Service};
use cluster::view::{NodeView, StackState, StackView, SwarmView};
use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::timeline::Span;

/// Prints a value as JSON.
///
/// # Errors
/// It cannot be written as JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    print(&serde_json::to_string_pretty(value)?)
}

/// What a command did whose head answers nothing.
#[derive(Serialize)]
struct Done<'a> {
    /// The command's words.
    action: &'a str,
    /// To what it was done.
    subject: &'a str,
    /// The sentence for people.
    message: &'a str,
}

/// Prints what was done to what: as a sentence, or as an object with it.
///
/// # Errors
/// It cannot be written.
pub(crate) fn done(
    as_json: bool,
    action: &str,
    subject: &dyn Display,
    message: &dyn Display,
) -> anyhow::Result<()> {
    if !as_json {
        return print(message);
    }
    json(&Done { action, subject: &subject.to_string(), message: &message.to_string() })
}

/// Prints a text byte by byte, or an object with it and whose it is.
///
/// # Errors
/// It cannot be written.
pub(crate) fn text(as_json: bool, subject: &str, text: &str) -> anyhow::Result<()> {
    if as_json {
        return json(&serde_json::json!({ "subject": subject, "text": text }));
    }
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// Prints a line or a table. A reader that has seen enough (`| head`) is an error that `main` says nothing about.
///
/// # Errors
/// Standard output cannot be written.
pub(crate) fn print(text: &dyn Display) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

/// The table of nodes.
pub(crate) fn nodes(nodes: &[NodeView]) -> Table {
    let mut table = table(&["NODE", "ADDRESS", "ROLE", "PHASE", "BOOT", "SECONDS", "SEEN", ""]);
    for node in nodes {
        table.add_row([
            Cell::new(&node.name),
            Cell::new(node.address.map(|address| address.to_string()).unwrap_or_default()),
            Cell::new(&node.role),
            phase(node),
            Cell::new(node.boot),
            Cell::new(boot_seconds(node)),
            Cell::new(node.last_seen_ms.map(ago).unwrap_or_else(|| "never".to_owned())),
            Cell::new(&node.detail),
        ]);
    }
    table
}

/// Where the seconds of one boot went.
pub(crate) fn spans(spans: &[Span]) -> Table {
    let mut table = table(&["PHASE", "AT", "SECONDS", ""]);
    for span in spans {
        let took = span.took_ms.map(seconds).unwrap_or_else(|| "…".to_owned());
        let name = Cell::new(span.phase);
        let name = if span.failed { name.fg(Color::Red) } else { name };
        table.add_row([name, Cell::new(seconds(span.after_ms)), Cell::new(took), Cell::new(&span.detail)]);
    }
    table
}

/// The table of the swarm's members.
pub(crate) fn members(swarm: &SwarmView) -> Table {
    let mut table = table(&["NODE", "STATE", "ROLE", "DOCKER", "ID"]);
    for member in &swarm.members {
        let in_rotation = swarm.in_rotation.iter().any(|name| name.as_str() == member.hostname);
        let state = match member.ready {
            true if in_rotation => Cell::new("ready").fg(Color::Green),
            true if member.drained => Cell::new("drained").fg(Color::Yellow),
            // Its routing mesh is not up yet.
            true => Cell::new("comes up").fg(Color::Yellow),
            false => Cell::new("down").fg(Color::Red),
        };
        let role = match (member.leader, member.manager) {
            (true, _) => "leader",
            (_, true) => "manager",
            _ => "worker",
        };
        let (name, engine) = (Cell::new(&member.hostname), Cell::new(&member.engine));
        table.add_row([name, state, Cell::new(role), engine, Cell::new(&member.id)]);
    }
    table
}

/// The table of stacks.
pub(crate) fn stacks(stacks: &[StackView]) -> Table {
    let mut table = table(&["STACK", "STATE", "SERVICES", ""]);
    for stack in stacks {
        let running = stack.services.iter().filter(|service| service.running >= service.desired).count();
        let state = match stack.state {
            StackState::Deployed => Cell::new("deployed").fg(Color::Green),
            StackState::Failed => Cell::new("failed").fg(Color::Red),
            StackState::Waiting => Cell::new("waits").fg(Color::Yellow),
            StackState::Removing => Cell::new("goes").fg(Color::Yellow),
        };
        let services = format!("{running}/{}", stack.services.len());
        let error = stack.error.as_deref().unwrap_or_default();
        table.add_row([Cell::new(&stack.name), state, Cell::new(services), Cell::new(error)]);
    }
    table
}

/// The table of services.
pub(crate) fn services(services: &[Service]) -> Table {
    let mut table = table(&["SERVICE", "RUNNING", "PORTS"]);
    for service in services {
        let ports: Vec<String> = service.ports.iter().map(u16::to_string).collect();
        let running = format!("{}/{}", service.running, service.desired);
        table.add_row([service.name.clone(), running, ports.join(", ")]);
    }
    table
}

/// The table of a rollout's nodes.
pub(crate) fn rollout(rollout: &Rollout) -> Table {
    let mut table = table(&["NODE", "ROLLOUT", "SECONDS"]);
    for (name, progress) in &rollout.nodes {
        let (state, took) = match progress {
            Progress::Waiting => (Cell::new("waits"), String::new()),
            Progress::UnderWay { since_ms, .. } => {
                (Cell::new("under way").fg(Color::Yellow), seconds(now_ms().saturating_sub(*since_ms)))
            }
            Progress::Done { took_ms } => (Cell::new("new").fg(Color::Green), seconds(*took_ms)),
            Progress::Failed => (Cell::new("failed").fg(Color::Red), String::new()),
        };
        table.add_row([Cell::new(name), state, Cell::new(took)]);
    }
    table
}

/// Milliseconds as seconds with one place.
pub(crate) fn seconds(ms: u64) -> String {
    format!("{}.{}", ms / 1_000, ms % 1_000 / 100)
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// An empty table in the house's style.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    // What is wider than the terminal is broken into lines within its column.
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    table
}

fn phase(node: &NodeView) -> Cell {
    let Some(phase) = node.phase else { return Cell::new("-") };
    match node.step {
        _ if node.ready_at_ms.is_some() => Cell::new("ready").fg(Color::Green),
        Some(Step::Failed) => Cell::new(format!("{phase} failed")).fg(Color::Red),
        _ => Cell::new(phase).fg(Color::Yellow),
    }
}

fn boot_seconds(node: &NodeView) -> String {
    let took = node.boot_began_ms.zip(node.ready_at_ms);
    took.map(|(began, ready)| seconds(ready.saturating_sub(began))).unwrap_or_default()
}

/// How long ago a time was, in the largest unit that fits.
pub(crate) fn ago(ms: u64) -> String {
    format!("{} ago", rough(now_ms().saturating_sub(ms) / 1_000))
}

/// How far off a time is.
pub(crate) fn until(ms: u64) -> String {
    format!("in {}", rough(ms.saturating_sub(now_ms()) / 1_000))
}

fn rough(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
