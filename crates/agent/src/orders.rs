//! Carries out the head's orders, one after another, in a thread of its own: each is one call to
//! Docker, or a reboot. An order that is fulfilled already is done.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use cluster::Phase;
use cluster::phase::Step;
use cluster::plan::NodePlan;
use cluster::report::{Action, Order, Outcome};
use serde_json::{Value, json};

use crate::docker::{Docker, DockerError};
use crate::ledger::Ledger;
use crate::outbox::{Outbox, clip};
use crate::restart;
use crate::stack::{self, Stack};

/// Docker's port for managers.
const SWARM_LISTEN: &str = "0.0.0.0:2377";
/// How long a node may take to become active after Docker took the order.
const ACTIVE_LIMIT: Duration = Duration::from_secs(60);
const ACTIVE_POLL: Duration = Duration::from_millis(100);
/// How often a node's entry is changed when another change comes in between.
const UPDATE_TRIES: u32 = 5;

/// How SwarmKit says that its managers are choosing a leader, or are too busy to follow the one they have.
const UNLED: [&str; 2] = ["does not have a leader", "DeadlineExceeded"];

/// What it takes to carry out orders.
pub(crate) struct Hands {
    /// The node's Docker.
    pub(crate) docker: Docker,
    /// The node's plan: its address.
    pub(crate) plan: Arc<NodePlan>,
    /// Where the swarm's steps are told.
    pub(crate) outbox: Arc<Outbox>,
}

impl Hands {
    /// Carries out what comes, for as long as somebody can send.
    pub(crate) fn carry_out_all(&self, orders: &Receiver<Order>, ledger: &Ledger) {
        for order in orders {
            let reboot = order.action == Action::Reboot;
            let error = self.carry_out(&order.action).err().map(|error| format!("{error:#}"));
            if let Some(error) = &error {
                eprintln!("fledermaus-agent: {:?}: {error}", order.action);
            }
            let unled = error.as_deref().is_some_and(|error| self.is_unled(&order.action, error));
            ledger.end(Outcome { order: order.number, error, unled }, &self.outbox);
            if reboot {
                restart::with_disks_synced(&self.outbox);
            }
        }
    }

    fn carry_out(&self, action: &Action) -> Result<()> {
        match action {
            Action::Init => self.enter_swarm("forming a swarm", "/swarm/init", &self.init_body()),
            Action::Join { token, manager } => {
                let detail = format!("joining at {manager}");
                self.enter_swarm(&detail, "/swarm/join", &self.join_body(token, manager))
            }
            Action::Leave => self.leave(),
            Action::Promote { id } => self.update(id, "Role", &json!("manager")),
            Action::Demote { id } => self.update(id, "Role", &json!("worker")),
            Action::Drain { id } => self.update(id, "Availability", &json!("drain")),
            Action::Label { id, labels } => self.update(id, "Labels", &json!(labels)),
            Action::Remove { id } => self.remove(id),
            Action::RotateTokens => Ok(self.rotate_tokens()?),
            Action::DeployStack { name, compose, version, files } => {
                let version = version.as_deref();
                stack::deploy(&self.docker, &Stack { name, compose, version, files })
            }
            Action::RemoveStack { name } => stack::remove(name),
            // After its outcome is told.
            Action::Reboot => Ok(()),
        }
    }

    /// Whether a stack's order failed for want of a manager with a leader. Of the other orders the head thinks anew anyway.
    fn is_unled(&self, action: &Action, error: &str) -> bool {
        let is_of_stack = matches!(action, Action::DeployStack { .. } | Action::RemoveStack { .. });
        // Who is no manager, or has no leader, refuses the question. The words are of an election that is over already.
        is_of_stack && (UNLED.iter().any(|words| error.contains(words)) || self.docker.get("/swarm").is_err())
    }

    fn init_body(&self) -> Value {
        json!({"ListenAddr": SWARM_LISTEN, "AdvertiseAddr": self.plan.address.to_string()})
    }

    fn join_body(&self, token: &str, manager: &str) -> Value {
        let own = self.plan.address.to_string();
        json!({"ListenAddr": SWARM_LISTEN, "AdvertiseAddr": own, "RemoteAddrs": [manager], "JoinToken": token})
    }

    /// Init and join: the phase `swarm`.
    fn enter_swarm(&self, detail: &str, path: &str, body: &Value) -> Result<()> {
        self.outbox.event(Phase::Swarm, Step::Started, detail);
        let result = self.enter_swarm_once(path, body);
        match &result {
            Ok(()) => self.outbox.event(Phase::Swarm, Step::Done, detail),
            Err(error) => self.outbox.event(Phase::Swarm, Step::Failed, &format!("{detail}: {error:#}")),
        }
        result
    }

    fn enter_swarm_once(&self, path: &str, body: &Value) -> Result<()> {
        match self.docker.post(path, body) {
            Ok(()) => {}
            // It may be in the swarm already, or Docker goes on trying in the background.
            Err(error @ DockerError::Refused { status: 503, .. }) if !self.is_inactive()? => {
                eprintln!("fledermaus-agent: {error}; waiting");
            }
            Err(error) => return Err(error.into()),
        }
        self.wait_until_active()
    }

    fn is_inactive(&self) -> Result<bool> {
        Ok(matches!(self.swarm_word()?.as_str(), "" | "inactive" | "error"))
    }

    fn swarm_word(&self) -> Result<String> {
        let word = self.docker.ping()?;
        Ok(word.split('/').next().unwrap_or_default().to_owned())
    }

    fn wait_until_active(&self) -> Result<()> {
        let end = Instant::now() + ACTIVE_LIMIT;
        loop {
            let word = self.swarm_word()?;
            if word == "active" {
                return Ok(());
            }
            if Instant::now() > end {
                bail!("Docker still says `{word}` after {} s", ACTIVE_LIMIT.as_secs());
            }
            thread::sleep(ACTIVE_POLL);
        }
    }

    fn leave(&self) -> Result<()> {
        if self.swarm_word()? == "inactive" {
            return Ok(());
        }
        Ok(self.docker.post("/swarm/leave?force=true", &Value::Null)?)
    }

    /// Sets one field of a node's specification; Docker wants the version that was changed.
    fn update(&self, id: &str, field: &str, value: &Value) -> Result<()> {
        let path = node_path(id)?;
        for _ in 1..UPDATE_TRIES {
            match self.update_once(&path, field, value) {
                Err(DockerError::Refused { status: 400.., message })
                    if message.contains("out of sequence") => {}
                result => return Ok(result?),
            }
        }
        Ok(self.update_once(&path, field, value)?)
    }

    fn update_once(&self, path: &str, field: &str, value: &Value) -> Result<(), DockerError> {
        let node = self.docker.get(path)?;
        let mut specification = node["Spec"].clone();
        if specification[field] == *value {
            return Ok(());
        }
        specification[field] = value.clone();
        self.docker.post(&format!("{path}/update?version={}", node["Version"]["Index"]), &specification)
    }

    /// Changes nothing else of the swarm: Docker wants its whole specification, in the version that is there.
    fn rotate_tokens(&self) -> Result<(), DockerError> {
        let swarm = self.docker.get("/swarm")?;
        let version = &swarm["Version"]["Index"];
        let path = format!("/swarm/update?version={version}&rotateWorkerToken=true&rotateManagerToken=true");
        self.docker.post(&path, &swarm["Spec"])
    }

    fn remove(&self, id: &str) -> Result<()> {
        match self.docker.delete(&format!("{}?force=true", node_path(id)?)) {
            Err(DockerError::Refused { status: 404, .. }) => Ok(()),
            result => Ok(result?),
        }
    }
}

/// The API's path of a node. What the head sends is checked all the same: it becomes part of a path.
fn node_path(id: &str) -> Result<String> {
    let valid = (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    ensure!(valid, "`{}` is no id of a node", clip(id, 64));
    Ok(format!("/nodes/{id}"))
}

#[cfg(test)]
pub(crate) mod tests;
