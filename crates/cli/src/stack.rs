//! `fledermaus stack …`: services for the swarm.

use std::time::{Duration, Instant};

use anyhow::Context;
use cluster::NodeName;
use cluster::stack::StackWish;
use cluster::view::{StackState, StackView};
use server::client::Client;

use crate::arguments::Stack;
use crate::{compose, table};

/// How long a deployment may take once the swarm is there.
const DEPLOY_LIMIT: Duration = Duration::from_secs(120);
/// How often the head is asked for it.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// Deploys, lists, shows or removes.
///
/// # Errors
/// The file cannot be read, or the swarm refuses it.
pub(crate) fn run(command: &Stack, head: &Client, json: bool) -> anyhow::Result<()> {
    match command {
        Stack::Deploy { name, file } => {
            let deployed = deploy(head, name, &compose::read(file)?)?;
            if json { table::json(&deployed) } else { table::print(&format_args!("{name} is deployed")) }
        }
        Stack::List => {
            let stacks: Vec<StackView> = head.get("/v1/stacks")?;
            if json { table::json(&stacks) } else { table::print(&table::stacks(&stacks)) }
        }
        Stack::Show { name } => {
            let stack: StackView = head.get(&format!("/v1/stacks/{name}"))?;
            if json {
                return table::json(&stack);
            }
            table::print(&table::stacks(std::slice::from_ref(&stack)))?;
            table::print(&format_args!("\n{}", table::services(&stack.services)))?;
            for (what, keys) in [("configs", &stack.configs), ("secrets", &stack.secrets)] {
                if !keys.is_empty() {
                    table::print(&format_args!("{what} that the head holds: {}", keys.join(", ")))?;
                }
            }
            Ok(())
        }
        Stack::Remove { name } => {
            head.delete(&format!("/v1/stacks/{name}"))?;
            wait_until_gone(head, name)?;
            table::done(json, "stack remove", name, &format_args!("{name} is removed"))
        }
    }
}

fn wait_until_gone(head: &Client, name: &NodeName) -> anyhow::Result<()> {
    let limit = Instant::now() + DEPLOY_LIMIT;
    loop {
        let stacks: Vec<StackView> = head.get("/v1/stacks")?;
        let Some(stack) = stacks.into_iter().find(|stack| stack.name == name.as_str()) else { return Ok(()) };
        if stack.state == StackState::Failed {
            let reason = stack.error.unwrap_or_default();
            return Err(anyhow::anyhow!(reason)).with_context(|| format!("removing {name}"));
        }
        let seconds = DEPLOY_LIMIT.as_secs();
        anyhow::ensure!(
            Instant::now() < limit,
            "the stack `{name}` still waits for a manager after {seconds} s"
        );
        std::thread::sleep(ASK_EVERY);
    }
}

/// Hands a stack to the head and waits until the swarm has it. Tells how it is then.
///
/// # Errors
/// The head or the swarm refuses it, or it takes too long.
pub(crate) fn deploy(head: &Client, name: &NodeName, wish: &StackWish) -> anyhow::Result<StackView> {
    let path = format!("/v1/stacks/{name}");
    head.put(&path, &serde_json::to_string(wish)?)?;
    let limit = Instant::now() + DEPLOY_LIMIT;
    loop {
        let view: StackView = head.get(&path)?;
        match view.state {
            StackState::Deployed => return Ok(view),
            StackState::Failed => {
                let reason = view.error.unwrap_or_default();
                return Err(anyhow::anyhow!(reason)).with_context(|| format!("deploying {name}"));
            }
            StackState::Waiting | StackState::Removing => {}
        }
        let waited = Instant::now() < limit;
        anyhow::ensure!(
            waited,
            "the stack `{name}` still waits for a manager after {} s",
            DEPLOY_LIMIT.as_secs()
        );
        std::thread::sleep(ASK_EVERY);
    }
}
