//! `fledermaus swarm …`: the swarm as its managers see it.

use cluster::view::SwarmView;
use server::client::Client;

use crate::arguments::Swarm;
use crate::table;

/// Shows the swarm.
///
/// # Errors
/// What the head says.
pub(crate) fn run(command: &Swarm, head: &Client, json: bool) -> anyhow::Result<()> {
    let Swarm::Status = command;
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
