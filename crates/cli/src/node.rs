//! `fledermaus node …`: looking at nodes, and making one new.

use cluster::NodeName;
use cluster::report::Health;
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
    if let Some(health) = &detail.node.health {
        println!("\n{}", board(health));
    }
    table::print(&format_args!("\n{}", table::spans(&timeline::of_newest_boot(&detail))))
}

/// The board in one line; what it does not say is left out.
fn board(health: &Health) -> String {
    let megabytes = |bytes: u64| bytes / 1_000_000;
    let mut words = vec![health.model.clone()];
    if !health.serial.is_empty() {
        words.push(format!("serial {}", health.serial));
    }
    words.push(format!("{} MB of memory", megabytes(health.memory_bytes)));
    words.extend(health.temperature_mc.map(|celsius| format!("{:.1} °C", f64::from(celsius) / 1_000.0)));
    words.extend(health.written_bytes.map(|bytes| format!("{} MB written in this boot", megabytes(bytes))));
    if !health.card_life.is_empty() {
        words.push(format!("card {} worn {}", health.card_name, health.card_life));
    }
    if health.under_voltage == Some(true) {
        words.push("UNDER-VOLTAGE: use a stronger supply or a shorter cable".to_owned());
    }
    words.retain(|word| !word.is_empty());
    words.join(", ")
}

fn reboot(head: &Client, node: &NodeName) -> anyhow::Result<()> {
    head.post(&format!("/v1/nodes/{node}/reboot"))?;
    println!(
        "{node} reboots as soon as the swarm can spare it; `fledermaus node show {node}` tells how far it is"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_is_one_line_with_what_it_said() {
        let health = Health { memory_bytes: 1_000_000_000, ..Health::default() };
        assert_eq!(board(&health), "1000 MB of memory");
        let health = Health {
            model: "Raspberry Pi 3".to_owned(),
            temperature_mc: Some(48_312),
            under_voltage: Some(true),
            written_bytes: Some(12_345_678),
            ..health
        };
        let told = board(&health);
        assert!(told.starts_with("Raspberry Pi 3, 1000 MB of memory, 48.3 °C, 12 MB written"), "{told}");
        assert!(told.contains("UNDER-VOLTAGE"), "{told}");
    }
}
