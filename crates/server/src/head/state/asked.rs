//! What the head tells of its nodes: to the operator, and to a node of its user data.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use cluster::swarm::{LocalState, RoleWish};
use cluster::view::{NodeDetail, NodeView};
use cluster::{BootToken, NodeName};

use super::State;
use crate::head::UserData;
use crate::head::access::Refusal;
use crate::head::node::Node;
use crate::user_data::{Facts, Library, is_file_name};

/// Of how many nodes the user data is rendered to see whether a changed template breaks it.
const CHECKED_LIMIT: usize = 1_000;

/// A node's role in the swarm now, as [`State::roles`] knows it.
pub(super) fn role_in(roles: &HashMap<&str, &'static str>, node: &Node) -> &'static str {
    let facts = node.facts.as_ref().filter(|facts| facts.state == LocalState::Active);
    facts.and_then(|facts| roles.get(facts.node_id.as_str()).copied()).unwrap_or_default()
}

impl State {
    pub(in crate::head) fn user_data_of(&mut self, token: &BootToken, client: Ipv4Addr) -> Option<UserData> {
        let mac = self.bearer(token, client)?;
        let node = self.nodes.get(&mac)?;
        (!node.kept.user_data_done).then(|| self.user_data(node))
    }

    pub(in crate::head) fn user_data_named(&self, name: &str) -> Option<UserData> {
        self.named(name).map(|node| self.user_data(node))
    }

    pub(in crate::head) fn shared_user_data(&self, name: &str) -> Result<PathBuf, Refusal> {
        if !is_file_name(name) {
            let text = format!("`{name}` is no file name in the user data directory");
            return Err(Refusal::Wrong(text));
        }
        if let Some(node) = name.strip_suffix(".sh").filter(|node| self.named(node).is_some()) {
            let text =
                format!("{name} is {node}'s own: say {node}, as in `fledermaus user-data edit {node}`");
            return Err(Refusal::Conflict(text));
        }
        Ok(self.settings.user_data.directory.join(name))
    }

    /// Who gets user data, and which template is wished for them.
    pub(in crate::head) fn recipients(&self) -> (Library, Vec<(Facts, Option<String>)>) {
        let nodes = self.nodes.values().take(CHECKED_LIMIT);
        let nodes = nodes.map(|node| (self.facts(node), node.user_data.clone()));
        (self.settings.user_data.clone(), nodes.collect())
    }

    /// The same of all nodes, by their names alone.
    pub(in crate::head) fn names_of_templates(&self) -> (Library, Vec<(NodeName, Option<String>)>) {
        let nodes = self.nodes.values().map(|node| (node.kept.name.clone(), node.user_data.clone()));
        (self.settings.user_data.clone(), nodes.collect())
    }

    pub(super) fn user_data(&self, node: &Node) -> UserData {
        UserData::of(&self.settings.user_data, self.facts(node), node.user_data.as_deref())
    }

    fn facts(&self, node: &Node) -> Facts {
        Facts {
            name: node.kept.name.clone(),
            mac: node.kept.mac,
            address: self.address(node),
            role: match node.wish {
                RoleWish::Manager => "manager",
                RoleWish::Worker => "worker",
                RoleWish::Any => "any",
            },
            cluster: self.settings.name.clone(),
            domain: self.settings.domain.clone(),
            head: self.dhcp.settings.server,
        }
    }

    pub(in crate::head) fn named(&self, name: &str) -> Option<&Node> {
        let name = name.parse().ok()?;
        self.nodes.get(&self.index.named(&name)?).filter(|node| node.kept.name == name)
    }

    pub(in crate::head) fn views(&self) -> Vec<NodeView> {
        let roles = self.roles();
        let view = |node: &Node| node.view(self.address(node), role_in(&roles, node));
        let mut views: Vec<NodeView> = self.nodes.values().map(view).collect();
        views.sort_by(|one, other| one.name.cmp(&other.name));
        views
    }

    /// One node as the operator sees it.
    pub(in crate::head) fn view_of(&self, mac: cluster::Mac) -> Option<NodeView> {
        self.nodes.get(&mac).map(|node| self.view(node))
    }

    /// The roles of the swarm's members, by their ids.
    pub(super) fn roles(&self) -> HashMap<&str, &'static str> {
        let members = self.council().map(|(_, facts)| facts.members.as_slice()).unwrap_or_default();
        let role = |manager| if manager { "manager" } else { "worker" };
        members.iter().map(|member| (member.id.as_str(), role(member.manager))).collect()
    }

    pub(super) fn view(&self, node: &Node) -> NodeView {
        node.view(self.address(node), self.role(node))
    }

    pub(in crate::head) fn detail(&self, name: &str) -> Option<NodeDetail> {
        let node = self.named(name)?;
        Some(NodeDetail {
            node: self.view(node),
            timeline: node.timeline.clone(),
            wishes: node.kept.wishes.clone(),
        })
    }
}
