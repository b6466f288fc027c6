//! What Docker says of the swarm, in the head's words, with as few questions as possible.

use std::collections::{BTreeMap, BTreeSet};

use cluster::swarm::{LocalState, ManagerFacts, Member, Service, SwarmFacts};
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
        let mut members = members(self.docker.get("/nodes")?);
        if members.iter().any(|member| member.drained) {
            let ending = ending(&self.docker.get(UNWANTED_TASKS)?);
            members.iter_mut().for_each(|member| member.ending = ending.contains(&member.id));
        }
        Ok(ManagerFacts {
            cluster_id: text(&swarm["ID"]),
            worker_token: text(&swarm["JoinTokens"]["Worker"]),
            manager_token: text(&swarm["JoinTokens"]["Manager"]),
            members,
            services: self.services()?,
        })
    }

    /// Tasks are asked for only where some are missing: there are many.
    fn services(&self) -> Result<Vec<Service>, DockerError> {
        let list = self.docker.get("/services?status=true")?;
        let (mut services, ids) = services(&list);
        if services.iter().any(|service| service.running < service.desired) {
            let starting = starting(&self.docker.get(WANTED_TASKS)?);
            for (service, id) in services.iter_mut().zip(ids) {
                service.starting = starting.contains(&id);
            }
        }
        Ok(services)
    }
}

/// The tasks that should run, those included that wait for the one that they replace.
const WANTED_TASKS: &str = "/tasks?filters=%7B%22desired-state%22%3A%5B%22running%22%2C%22ready%22%5D%7D";

/// The tasks that should end, with those that have.
const UNWANTED_TASKS: &str = "/tasks?filters=%7B%22desired-state%22%3A%5B%22shutdown%22%5D%7D";

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
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    engine: Engine,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Engine {
    #[serde(default)]
    engine_version: String,
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
        unheard: node.status.state == "unknown",
        manager: node.spec.role == "manager",
        reachable: manager.is_some_and(|status| status.reachability == "reachable"),
        leader: manager.is_some_and(|status| status.leader),
        drained: node.spec.availability == "drain",
        ending: false,
        engine: node.description.engine.engine_version,
        labels: Some(node.spec.labels.unwrap_or_default()),
        hostname: node.description.hostname,
        id: node.id,
    }
}

/// The services that can be read, in the order of their names, and their ids.
fn services(list: &Value) -> (Vec<Service>, Vec<String>) {
    let service = |service: &Value| {
        let read = Service {
            name: service["Spec"]["Name"].as_str()?.to_owned(),
            running: service["ServiceStatus"]["RunningTasks"].as_u64()?,
            desired: service["ServiceStatus"]["DesiredTasks"].as_u64()?,
            starting: false,
            ports: ports(&service["Endpoint"]["Ports"]),
        };
        Some((read, text(&service["ID"])))
    };
    let mut services: Vec<(Service, String)> =
        list.as_array().into_iter().flatten().filter_map(service).collect();
    services.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    services.truncate(ManagerFacts::SERVICES_LIMIT);
    services.into_iter().unzip()
}

/// The TCP ports that the routing mesh publishes.
fn ports(list: &Value) -> Vec<u16> {
    let is_meshed = |port: &&Value| port["Protocol"] == "tcp" && port["PublishMode"] == "ingress";
    let number = |port: &Value| u16::try_from(port["PublishedPort"].as_u64()?).ok();
    list.as_array().into_iter().flatten().filter(is_meshed).filter_map(number).collect()
}

/// The ids of the services one of whose tasks is on its way to run. One that fits on no node is pending with a reason.
fn starting(tasks: &Value) -> BTreeSet<String> {
    let is_starting = |task: &&Value| match task["Status"]["State"].as_str() {
        Some("pending") => task["Status"]["Err"].as_str().is_none_or(str::is_empty),
        Some("new" | "allocated" | "assigned" | "accepted" | "preparing" | "ready" | "starting") => true,
        _ => false,
    };
    tasks.as_array().into_iter().flatten().filter(is_starting).map(|task| text(&task["ServiceID"])).collect()
}

/// The ids of the nodes with tasks that were told to end and have not.
fn ending(tasks: &Value) -> BTreeSet<String> {
    let runs = |task: &&Value| matches!(task["Status"]["State"].as_str(), Some("starting" | "running"));
    tasks.as_array().into_iter().flatten().filter(runs).map(|task| text(&task["NodeID"])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn dockers_node_list_becomes_members() {
        let list = json!([
            {"ID": "b", "Version": {"Index": 9}, "Spec": {"Role": "worker", "Availability": "drain", "Labels": {"rack": "2"}},
             "Description": {"Hostname": "node2"}, "Status": {"State": "down", "Addr": "10.78.0.12"}},
            {"ID": "a", "Spec": {"Role": "manager", "Availability": "active"}, "Description": {"Hostname": "node1", "Engine": {"EngineVersion": "26.1.5"}},
             "Status": {"State": "ready"}, "ManagerStatus": {"Leader": true, "Reachability": "reachable"}},
            {"ID": "odd"}
        ]);
        let members = members(list);
        assert_eq!(members.len(), 2);
        assert!(members[0].ready && members[0].manager && members[0].leader && members[0].reachable);
        assert_eq!((members[0].engine.as_str(), members[1].engine.as_str()), ("26.1.5", ""));
        assert_eq!(members[1].hostname, "node2");
        assert_eq!(members[1].labels, Some([("rack".to_owned(), "2".to_owned())].into()));
        assert_eq!(members[0].labels, Some(BTreeMap::new()), "Docker leaves them out");
        assert!(!members[1].ready && !members[1].manager && members[1].drained);
    }

    #[test]
    fn dockers_service_list_becomes_counts() {
        let list = json!([
            {"ID": "s2", "Spec": {"Name": "web"}, "ServiceStatus": {"RunningTasks": 2, "DesiredTasks": 3},
             "Endpoint": {"Ports": [{"Protocol": "tcp", "PublishedPort": 80, "PublishMode": "ingress"},
                                    {"Protocol": "udp", "PublishedPort": 53, "PublishMode": "ingress"},
                                    {"Protocol": "tcp", "PublishedPort": 81, "PublishMode": "host"}]}},
            {"ID": "s1", "Spec": {"Name": "db"}, "ServiceStatus": {"RunningTasks": 1, "DesiredTasks": 1}},
            {"ID": "odd"}
        ]);
        let (services, ids) = services(&list);
        assert_eq!(services[1].ports, [80]);
        let counts: Vec<_> =
            services.into_iter().map(|service| (service.name, service.running, service.desired)).collect();
        assert_eq!(counts, [("db".to_owned(), 1, 1), ("web".to_owned(), 2, 3)]);
        assert_eq!(ids, ["s1", "s2"]);
    }

    #[test]
    fn a_task_that_was_told_to_end_is_ending_until_it_has() {
        let task = |node: &str, state: &str| json!({"NodeID": node, "DesiredState": "shutdown", "Status": {"State": state}});
        let tasks = json!([
            task("a", "running"),
            task("b", "shutdown"),
            task("c", "failed"),
            task("a", "complete"),
            {}
        ]);
        assert_eq!(ending(&tasks), ["a".to_owned()].into());
    }

    #[test]
    fn a_task_that_fits_nowhere_is_not_on_its_way() {
        let task = |service: &str, state: &str, error: &str| json!({"ServiceID": service, "DesiredState": "running", "Status": {"State": state, "Err": error}});
        let tasks = json!([
            task("full", "pending", "no suitable node (max replicas per node limit exceed)"),
            task("new", "pending", ""),
            task("slow", "preparing", ""),
            task("up", "running", ""),
        ]);
        assert_eq!(starting(&tasks).into_iter().collect::<Vec<_>>(), ["new", "slow"]);
    }
}
