//! `fledermaus node …`: looking at nodes, and making one new.

use cluster::NodeName;
use cluster::report::Health;
use cluster::view::{LogsView, NodeDetail, NodePage, NodeView, PowerDeed, RivalView, WaitingView};
use server::client::Client;

use crate::arguments::Node;
use crate::{inventory, table, timeline};

/// Lists, shows or reboots.
///
/// # Errors
/// What the head says.
pub(crate) fn run(command: &Node, head: &Client, json: bool) -> anyhow::Result<()> {
    match command {
        Node::List { filter, state } => list(head, filter, state.as_deref().unwrap_or_default(), json),
        Node::Waiting => inventory::waiting(head, json),
        Node::Approve { mac } => inventory::approve(head, *mac, json),
        Node::Rename { node, name } => {
            inventory::set(head, node, [("name".to_owned(), Some(name.to_string()))].into(), json)
        }
        Node::Set { node, wishes } => inventory::set(head, node, inventory::wishes(wishes, "")?, json),
        Node::Label { node, labels } => {
            inventory::set(head, node, inventory::wishes(labels, "label.")?, json)
        }
        Node::Forget { node } => inventory::forget(head, node, json),
        Node::Show { node } => show(head, node, json),
        Node::Logs { node } => logs(head, node, json),
        Node::Power { node, deed } => power(head, node, (*deed).into(), json),
        Node::Reboot { node } => reboot(head, node, json),
    }
}

/// How many nodes are asked for at a time.
const PAGE: usize = 1_000;

fn list(head: &Client, filter: &str, state: &str, json: bool) -> anyhow::Result<()> {
    let mut nodes: Vec<NodeView> = Vec::new();
    loop {
        let (filter, offset) = (escaped(filter), nodes.len());
        let path = format!("/v1/node-list?q={filter}&state={state}&offset={offset}&limit={PAGE}");
        let page: NodePage = head.get(&path)?;
        let is_last = page.nodes.len() < PAGE;
        nodes.extend(page.nodes);
        if is_last {
            break;
        }
    }
    if json {
        return table::json(&nodes);
    }
    table::print(&table::nodes(&nodes))?;
    let rivals: Vec<RivalView> = head.get("/v1/rivals")?;
    for RivalView { server, mac, adds_only, .. } in rivals {
        let mac = mac.map(|mac| format!(" ({mac})")).unwrap_or_default();
        let does = if adds_only { "adds boot information to DHCP" } else { "answers DHCP" };
        eprintln!("another server, {server}{mac}, {does} on this network: see `fledermaus doctor`");
    }
    let waiting: Vec<WaitingView> = head.get("/v1/waiting")?;
    if !waiting.is_empty() {
        eprintln!("{} machines wait for approval: `fledermaus node waiting` lists them", waiting.len());
    }
    Ok(())
}

/// A word as a part of an address (RFC 3986 section 2.1).
fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
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
    if !detail.wishes.is_empty() {
        let wishes = detail.wishes.iter().map(|(key, text)| format!("{key}={text}"));
        table::print(&format_args!("\nwished: {}", wishes.collect::<Vec<_>>().join(" ")))?;
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
    if let (Some(whole), Some(free)) = (health.storage_bytes, health.storage_free_bytes) {
        words.push(format!("{} of {} MB of storage free", megabytes(free), megabytes(whole)));
    }
    if !health.card_life.is_empty() {
        words.push(format!("card {} worn {}", health.card_name, health.card_life));
    }
    if health.under_voltage == Some(true) {
        words.push("UNDER-VOLTAGE: use a stronger supply or a shorter cable".to_owned());
    }
    words.retain(|word| !word.is_empty());
    words.join(", ")
}

fn logs(head: &Client, node: &NodeName, json: bool) -> anyhow::Result<()> {
    let logs: LogsView = head.get(&format!("/v1/nodes/{node}/logs"))?;
    if json {
        return table::json(&logs);
    }
    if logs.old {
        eprintln!("{node} does not answer; it sent these when it was asked {}", table::ago(logs.at_ms));
    }
    table::print(&logs.text.trim_end())
}

fn power(head: &Client, node: &NodeName, deed: PowerDeed, json: bool) -> anyhow::Result<()> {
    let deed = deed.word();
    head.post(&format!("/v1/nodes/{node}/power/{deed}"))?;
    table::done(json, "node power", node, &format_args!("{node}: power {deed}"))
}

fn reboot(head: &Client, node: &NodeName, json: bool) -> anyhow::Result<()> {
    head.post(&format!("/v1/nodes/{node}/reboot"))?;
    let message = format_args!(
        "{node} reboots as soon as the swarm can spare it; `fledermaus node show {node}` tells how far it is"
    );
    table::done(json, "node reboot", node, &message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_one_word_of_an_address() {
        assert_eq!(escaped("rack=north 3&state=ready"), "rack%3Dnorth%203%26state%3Dready");
    }

    #[test]
    fn a_board_is_one_line_with_what_it_said() {
        let health = Health { memory_bytes: 1_000_000_000, ..Health::default() };
        assert_eq!(board(&health), "1000 MB of memory");
        let health = Health {
            model: "Raspberry Pi 3".to_owned(),
            temperature_mc: Some(48_312),
            under_voltage: Some(true),
            written_bytes: Some(12_345_678),
            storage_bytes: Some(14_000_000_000),
            storage_free_bytes: Some(13_500_000_000),
            ..health
        };
        let told = board(&health);
        assert!(told.starts_with("Raspberry Pi 3, 1000 MB of memory, 48.3 °C, 12 MB written"), "{told}");
        assert!(told.contains(", 13500 of 14000 MB of storage free, "), "{told}");
        assert!(told.contains("UNDER-VOLTAGE"), "{told}");
    }
}
