//! What Docker says of the swarm, in the head's words, with as few questions as possible.

use cluster::swarm::{LocalState, ManagerFacts, Member, SwarmFacts};
use serde::Deserialize;
use serde_json::Value;

use crate::docker::{Docker, DockerError};

/// Looks at the swarm; remembers what cannot change between two looks.
pub(crate) struct Look {
    docker: Docker,
    node_id: String,
}

impl Look {
    /// A first look is yet to come.
    pub(crate) fn new(docker: Docker) -> Self {
        Self { docker, node_id: String::new() }
    }

    /// What Docker says now.
    ///
    /// # Errors
    /// Docker does not answer.
    pub(crate) fn now(&mut self) -> Result<SwarmFacts, DockerError> {
        let word = self.docker.ping()?;
        let (state, role) = word.split_once('/').unwrap_or((&word, ""));
        let state = local_state(state);
        if state == LocalState::Inactive {
            self.node_id.clear();
        } else if self.node_id.is_empty() {
            self.node_id = text(&self.docker.get("/info")?["Swarm"]["NodeID"]);
        }
        // A manager without a leader refuses both questions: then it has nothing to say as a manager.
        let manager = if role == "manager" { self.manager_facts().ok() } else { None };
        Ok(SwarmFacts { state, node_id: self.node_id.clone(), manager })
    }

    fn manager_facts(&self) -> Result<ManagerFacts, DockerError> {
        let swarm = self.docker.get("/swarm")?;
        let nodes = self.docker.get("/nodes")?;
        Ok(ManagerFacts {
            cluster_id: text(&swarm["ID"]),
            worker_token: text(&swarm["JoinTokens"]["Worker"]),
            manager_token: text(&swarm["JoinTokens"]["Manager"]),
            members: members(nodes),
        })
    }
}

/// Docker's `LocalNodeState`.
fn local_state(word: &str) -> LocalState {
    match word {
        "active" => LocalState::Active,
        "pending" => LocalState::Pending,
        "locked" => LocalState::Locked,
        "error" => LocalState::Error,
        _ => LocalState::Inactive,
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// One of `GET /nodes`, as far as the head wants to know it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    #[serde(rename = "ID")]
    id: String,
    spec: Spec,
    #[serde(default)]
    description: Description,
    status: Status,
    manager_status: Option<ManagerStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    role: String,
    availability: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    #[serde(default)]
    hostname: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Status {
    state: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ManagerStatus {
    #[serde(default)]
    leader: bool,
    #[serde(default)]
    reachability: String,
}

/// The entries that can be read, in the order of their ids: equal lists compare equal.
fn members(nodes: Value) -> Vec<Member> {
    let Value::Array(nodes) = nodes else { return Vec::new() };
    let readable = nodes.into_iter().filter_map(|node| serde_json::from_value(node).ok());
    let mut members: Vec<Member> = readable.map(member).collect();
    members.sort_by(|one, other| one.id.cmp(&other.id));
    members
}

fn member(node: Node) -> Member {
    let manager = node.manager_status.as_ref();
    Member {
        ready: node.status.state == "ready",
        manager: node.spec.role == "manager",
        reachable: manager.is_some_and(|status| status.reachability == "reachable"),
        leader: manager.is_some_and(|status| status.leader),
        drained: node.spec.availability == "drain",
        hostname: node.description.hostname,
        id: node.id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn dockers_node_list_becomes_members() {
        let list = json!([
            {"ID": "b", "Version": {"Index": 9}, "Spec": {"Role": "worker", "Availability": "drain", "Labels": {}},
             "Description": {"Hostname": "node2"}, "Status": {"State": "down", "Addr": "10.78.0.12"}},
            {"ID": "a", "Spec": {"Role": "manager", "Availability": "active"}, "Description": {"Hostname": "node1"},
             "Status": {"State": "ready"}, "ManagerStatus": {"Leader": true, "Reachability": "reachable"}},
            {"ID": "odd"}
        ]);
        let members = members(list);
        assert_eq!(members.len(), 2);
        assert!(members[0].ready && members[0].manager && members[0].leader && members[0].reachable);
        assert_eq!(members[1].hostname, "node2");
        assert!(!members[1].ready && !members[1].manager && members[1].drained);
    }
}
