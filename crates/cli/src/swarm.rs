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
        table::print(&quorum(&swarm))?;
    }
    swarm.held.iter().try_for_each(|sentence| table::print(&format_args!("held: {sentence}")))
}

/// How many managers there are, and how many of them may be lost.
fn quorum(swarm: &SwarmView) -> String {
    let managers: Vec<_> = swarm.members.iter().filter(|member| member.manager).collect();
    let reachable = managers.iter().filter(|member| member.reachable).count();
    let needed = managers.len() / 2 + 1;
    let state = match reachable.checked_sub(needed) {
        _ if managers.is_empty() => return "quorum: no manager answers".to_owned(),
        None => "lost".to_owned(),
        Some(spare) => format!("{spare} more may be lost"),
    };
    format!(
        "quorum: {reachable} of {} managers hear each other, {needed} are needed: {state}",
        managers.len()
    )
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

#[cfg(test)]
mod tests {
    use cluster::swarm::Member;

    use super::*;

    #[test]
    fn the_quorum_is_counted_among_managers_alone() {
        let member = |manager, reachable| Member {
            id: String::new(),
            hostname: String::new(),
            ready: true,
            unheard: false,
            manager,
            reachable,
            leader: false,
            drained: false,
            ending: false,
            engine: String::new(),
            labels: None,
        };
        let said = |members| quorum(&SwarmView { members, ..SwarmView::default() });
        let three = vec![member(true, true), member(true, true), member(true, true), member(false, false)];
        assert_eq!(
            said(three.clone()),
            "quorum: 3 of 3 managers hear each other, 2 are needed: 1 more may be lost"
        );
        let mut two = three.clone();
        two[0].reachable = false;
        assert!(
            said(two.clone()).ends_with("2 of 3 managers hear each other, 2 are needed: 0 more may be lost")
        );
        two[1].reachable = false;
        assert!(said(two).ends_with(": lost"));
        assert_eq!(said(vec![]), "quorum: no manager answers");
    }
}
