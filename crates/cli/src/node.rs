//! `fledermaus node …`: looking at nodes, and making one new.

use cluster::NodeName;
use cluster::view::{NodeDetail, NodeView, RivalView};
use server::client::Client;

use crate::arguments::Node;
use crate::{table, timeline};

/// Lists, shows or reboots.
///
/// # Errors
/// What the head says.
pub(crate) fn run(command: &Node, head: &Client, json: bool) -> anyhow::Result<()> {
    match command {
        Node::List => list(head, json),
        Node::Show { node } => show(head, node, json),
        Node::Reboot { node } => reboot(head, node),
    }
}

fn list(head: &Client, json: bool) -> anyhow::Result<()> {
    let nodes: Vec<NodeView> = head.get("/v1/nodes")?;
    if json {
        return table::json(&nodes);
    }
    table::print(&table::nodes(&nodes))?;
    let rivals: Vec<RivalView> = head.get("/v1/rivals")?;
    for RivalView { server, mac, .. } in rivals {
        let mac = mac.map(|mac| format!(" ({mac})")).unwrap_or_default();
        eprintln!("another DHCP server, {server}{mac}, answers on this network: see `fledermaus doctor`");
    }
    Ok(())
}

fn show(head: &Client, node: &NodeName, json: bool) -> anyhow::Result<()> {
    let detail: NodeDetail = head.get(&format!("/v1/nodes/{node}"))?;
    if json {
        return table::json(&detail);
    }
    table::print(&table::nodes(std::slice::from_ref(&detail.node)))?;
    table::print(&format_args!("\n{}", table::spans(&timeline::of_newest_boot(&detail))))
}

fn reboot(head: &Client, node: &NodeName) -> anyhow::Result<()> {
    head.post(&format!("/v1/nodes/{node}/reboot"))?;
    println!(
        "{node} reboots as soon as the swarm can spare it; `fledermaus node show {node}` tells how far it is"
    );
    Ok(())
}
