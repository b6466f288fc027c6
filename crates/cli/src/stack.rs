//! `fledermaus stack …`: services for the swarm.

use std::time::{Duration, Instant};

use anyhow::Context;
use cluster::NodeName;
use serde::Deserialize;
use server::client::Client;

use crate::arguments::Stack;
use crate::exit::BadInput;

/// How long a deployment may take once the swarm is there.
const DEPLOY_LIMIT: Duration = Duration::from_secs(120);
/// How often the head is asked for it.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// A stack as the head has it.
#[derive(Debug, Deserialize)]
struct StackView {
    state: State,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Waiting,
    Deployed,
    Failed,
}

/// Deploys a stack.
///
/// # Errors
/// The file cannot be read, or the swarm refuses it.
pub(crate) fn run(command: &Stack, head: &Client) -> anyhow::Result<()> {
    let Stack::Deploy { name, file } = command;
    let compose = std::fs::read_to_string(file)
        .map_err(|error| BadInput(format!("reading {}: {error}", file.display())))?;
    deploy(head, name, &compose)?;
    println!("{name} is deployed");
    Ok(())
}

/// Hands a stack to the head and waits until the swarm has it.
///
/// # Errors
/// The head or the swarm refuses it, or it takes too long.
pub(crate) fn deploy(head: &Client, name: &NodeName, compose: &str) -> anyhow::Result<()> {
    let path = format!("/v1/stacks/{name}");
    head.put(&path, compose)?;
    let limit = Instant::now() + DEPLOY_LIMIT;
    loop {
        let view: StackView = head.get(&path)?;
        match view.state {
            State::Deployed => return Ok(()),
            State::Failed => {
                let reason = view.error.unwrap_or_default();
                return Err(anyhow::anyhow!(reason)).with_context(|| format!("deploying {name}"));
            }
            State::Waiting => {}
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
