//! What was decided about the swarm, in words: kept, for whoever asks later why a node went or waits.

use cluster::NodeName;
use cluster::report::Action;
use cluster::view::SwarmEvent;

use super::super::state::State;
use crate::store::Write;

/// The longest event, in letters: Docker's own errors are in some.
const TEXT_LIMIT: usize = 400;

impl State {
    /// Notes an event.
    pub(in crate::head) fn tell_event(&mut self, text: &str) {
        self.events += 1;
        let text = text.chars().filter(|letter| !letter.is_control()).take(TEXT_LIMIT).collect();
        let event = SwarmEvent { id: self.events, at_ms: self.now_ms, text };
        self.writes.push(Write::Event(Box::new(event)));
    }

    /// An order as a sentence; `name` is who carries it out.
    pub(in crate::head) fn sentence(&self, name: &NodeName, action: &Action) -> String {
        let whose = |id: &str| {
            let members = self.council().map(|(_, facts)| facts.members.as_slice()).unwrap_or_default();
            let found = members.iter().find(|member| member.id == id && !member.hostname.is_empty());
            found.map_or_else(|| format!("the entry {id}"), |member| member.hostname.clone())
        };
        match action {
            Action::Init => format!("{name} forms a new swarm"),
            Action::Join { manager, .. } => format!("{name} joins at {manager}"),
            Action::Leave => format!("{name} leaves a swarm that is not this one"),
            Action::Promote { id } => format!("{} becomes a manager, by {name}", whose(id)),
            Action::Demote { id } => format!("{} becomes a worker, by {name}", whose(id)),
            Action::Drain { id } => format!("{} is drained: its tasks move elsewhere, by {name}", whose(id)),
            Action::Label { id, labels } => {
                let labels: Vec<String> = labels.iter().map(|(key, text)| format!("{key}={text}")).collect();
                format!("{} has the labels [{}], by {name}", whose(id), labels.join(" "))
            }
            Action::Remove { id } => format!("{} is taken out of the swarm, by {name}", whose(id)),
            Action::RotateTokens => format!("the join tokens are made anew, by {name}"),
            Action::DeployStack { name: stack, .. } => format!("the stack {stack} is deployed, by {name}"),
            Action::RemoveStack { name: stack } => format!("the stack {stack} is removed, by {name}"),
            Action::Reboot => format!("{name} reboots"),
        }
    }
}
