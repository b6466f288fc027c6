//! A stack: a compose file that the head holds, with its configs and secrets, and a manager deploys; and the stacks' part of
//! the state.

use cluster::Mac;
use cluster::report::{Action, Outcome};
use cluster::stack::{FileKind, NAME_LIMIT, StackFile, StackWish};
use cluster::swarm::Reboot;
use cluster::view::{StackState, StackView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::state;
use crate::access::{hex, random_salt};
use crate::store::Write;

/// How many letters of a digest tell one content of a config or secret from another.
const DIGEST_LETTERS: usize = 12;

/// One stack.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stack {
    pub(crate) name: String,
    pub(crate) compose: String,
    #[serde(default)]
    version: Option<String>,
    /// Each with its name in the swarm.
    #[serde(default)]
    files: Vec<StackFile>,
    /// What goes into the digests beside the contents: without it, whoever sees the name of a secret could try passwords.
    #[serde(default)]
    salt: String,
    pub(crate) state: StackState,
    pub(crate) error: Option<String>,
    /// The swarm it was deployed to: a swarm that is formed anew gets it again.
    pub(crate) cluster_id: String,
    /// Which node's which order deploys it now.
    #[serde(skip)]
    pub(crate) order: Option<(Mac, u64)>,
}

impl Stack {
    fn keys(&self, kind: FileKind) -> Vec<String> {
        self.files.iter().filter(|file| file.kind == kind).map(|file| file.key.clone()).collect()
    }
}

/// The name of a config or secret in the swarm: another for another content.
fn name_of(stack: &str, salt: &str, file: &StackFile) -> String {
    let mut digest = Sha256::new();
    for part in [salt.as_bytes(), file.kind.section().as_bytes(), file.key.as_bytes(), &file.content.0] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let digest = hex(&digest.finalize());
    let mut name = format!("{stack}_{}", file.key);
    // Both are ASCII.
    name.truncate(NAME_LIMIT - DIGEST_LETTERS - 1);
    format!("{name}-{}", &digest[..DIGEST_LETTERS])
}

impl state::State {
    /// Keeps a stack and has it deployed.
    ///
    /// # Errors
    /// A sentence: the machine has no random bytes.
    pub(super) fn put_stack(&mut self, name: String, wish: StackWish) -> Result<(), String> {
        let kept = self.stacks.get(&name).map(|stack| stack.salt.clone()).filter(|salt| !salt.is_empty());
        let salt = kept.or_else(random_salt).ok_or("the head has no random bytes: see its log")?;
        let named = |file: StackFile| {
            let own = file.name.clone().unwrap_or_else(|| name_of(&name, &salt, &file));
            StackFile { name: Some(own), ..file }
        };
        let stack = Stack {
            name: name.clone(),
            compose: wish.compose,
            version: wish.version,
            files: wish.files.into_iter().map(named).collect(),
            salt,
            state: StackState::Waiting,
            error: None,
            cluster_id: String::new(),
            order: None,
        };
        self.writes.push(Write::Stack(stack.clone()));
        self.stacks.insert(name, stack);
        self.deploy_stacks();
        Ok(())
    }

    /// Has a stack removed. Whether there is such a stack.
    pub(super) fn remove_stack(&mut self, name: &str) -> bool {
        let Some(stack) = self.stacks.get_mut(name) else { return false };
        stack.state = StackState::Removing;
        stack.error = None;
        stack.order = None;
        self.writes.push(Write::Stack(stack.clone()));
        if stack.cluster_id.is_empty() {
            // No swarm ever had it.
            self.forget_stack(name);
        }
        self.deploy_stacks();
        true
    }

    fn forget_stack(&mut self, name: &str) {
        self.stacks.remove(name);
        self.writes.push(Write::NoStack(name.to_owned()));
    }

    /// All stacks with their services, by their names.
    pub(super) fn stack_views(&self) -> Vec<StackView> {
        let services = self.council().map(|(_, facts)| facts.services.as_slice()).unwrap_or_default();
        let view = |stack: &Stack| {
            // Docker puts the stack's name before its services'.
            let prefix = format!("{}_", stack.name);
            let own = services.iter().filter(|service| service.name.starts_with(&prefix));
            StackView {
                name: stack.name.clone(),
                state: stack.state,
                error: stack.error.clone(),
                services: own.cloned().collect(),
                configs: stack.keys(FileKind::Config),
                secrets: stack.keys(FileKind::Secret),
            }
        };
        self.stacks.values().map(view).collect()
    }

    /// An order about a stack ended, if the order is one.
    pub(super) fn stack_outcome(&mut self, mac: Mac, Outcome { order, error, unled }: Outcome) {
        let of_order = |stack: &&mut Stack| stack.order == Some((mac, order));
        let Some(stack) = self.stacks.values_mut().find(of_order) else { return };
        if unled {
            // Due as before: it goes to a manager that has a leader.
            stack.order = None;
            return;
        }
        if stack.state == StackState::Removing && error.is_none() {
            let name = stack.name.clone();
            return self.forget_stack(&name);
        }
        stack.state = if error.is_none() { StackState::Deployed } else { StackState::Failed };
        stack.error = error;
        stack.order = None;
        self.writes.push(Write::Stack(stack.clone()));
    }

    /// Gives the stacks that this swarm does not have yet, or should not have any more, to a manager, one at a time.
    pub(super) fn deploy_stacks(&mut self) {
        let Some((node, facts)) = self.council() else { return };
        let busy = !node.orders.is_empty() || self.now_ms < node.rest_until_ms;
        let (mac, cluster_id) = (node.kept.mac, facts.cluster_id.clone());
        if busy || node.kept.reboot != Reboot::No {
            return;
        }
        let is_gone = |stack: &&Stack| stack.state == StackState::Removing && stack.cluster_id != cluster_id;
        let gone: Vec<String> =
            self.stacks.values().filter(is_gone).map(|stack| stack.name.clone()).collect();
        // The swarm that had them is no more.
        gone.iter().for_each(|name| self.forget_stack(name));
        // An order that went down with its node is given again.
        let orders: Vec<(Mac, u64)> = self
            .nodes
            .values()
            .flat_map(|node| node.orders.iter().map(|order| (node.kept.mac, order.number)))
            .collect();
        let next = self.stacks.values_mut().find(|stack| {
            let under_way = stack.order.is_some_and(|order| orders.contains(&order));
            let is_due = matches!(stack.state, StackState::Waiting | StackState::Removing);
            !under_way && (is_due || stack.cluster_id != cluster_id)
        });
        let (Some(stack), Some(node)) = (next, self.nodes.get_mut(&mac)) else { return };
        let name = stack.name.clone();
        let action = if stack.state == StackState::Removing {
            Action::RemoveStack { name }
        } else {
            stack.state = StackState::Waiting;
            let Stack { compose, version, files, .. } = stack.clone();
            Action::DeployStack { name, compose, version, files }
        };
        tracing::info!(node = %node.kept.name, "order: {action:?}");
        let by = node.kept.name.clone();
        stack.order = Some((mac, node.order(action.clone())));
        stack.cluster_id = cluster_id;
        self.writes.push(Write::Stack(stack.clone()));
        let event = self.sentence(&by, &action);
        self.tell_event(&event);
        self.remember(mac);
    }
}

#[cfg(test)]
mod tests;
