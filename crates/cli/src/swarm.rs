//! `fledermaus swarm …`: the swarm as its managers see it.

use cluster::view::{SwarmEvent, SwarmView};
use server::client::Client;

use crate::arguments::{Lines, Swarm};
use crate::table;

/// Shows the swarm, or what was decided about it.
///
/// # Errors
/// What the head says.
pub(crate) fn run(command: &Swarm, head: &Client, json: bool) -> anyhow::Result<()> {
    match command {
        Swarm::Status => status(head, json),
        Swarm::Events(lines) => events(lines, head, json),
    }
}

fn status(head: &Client, json: bool) -> anyhow::Result<()> {
    let swarm: SwarmView = head.get("/v1/swarm")?;
    if json {
        return table::json(&swarm);
    }
    if swarm.cluster_id.is_empty() {
        table::print(&"no swarm yet")?;
    } else {
        table::print(&table::members(&swarm))?;
    }
    swarm.held.iter().try_for_each(|sentence| table::print(&format_args!("held: {sentence}")))
}

fn events(lines: &Lines, head: &Client, json: bool) -> anyhow::Result<()> {
    let events: Vec<SwarmEvent> = head.get(&format!("/v1/swarm/events?{}", lines.query()))?;
    if json {
        return table::json(&events);
    }
    let mut table = table::table(&["NUMBER", "WHEN", "WHAT"]);
    for SwarmEvent { id, at_ms, text } in events {
        table.add_row([id.to_string(), table::ago(at_ms), text]);
    }
    table::print(&table)
}
