//! `fledermaus-agent`: a node's resident. Waits for Docker, runs the user data once, reports to the head
//! and carries out its orders, for as long as the node runs.
//!
//! It decides nothing about the swarm and keeps nothing but what a restart of itself must remember.

mod card;
mod clock;
mod containers;
mod docker;
mod facts;
mod http;
mod ledger;
mod life;
mod logs;
mod machine;
mod orders;
mod outbox;
mod pass;
mod ports;
mod report;
mod restart;
mod services;
mod stack;
mod user_data;
mod vigil;
mod watchdog;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use anyhow::{Context, Result};
use cluster::plan::{NodePlan, feeds_watchdog};
use nix::sys::mman::{MlockAllFlags, mlockall};

use docker::Docker;
use ledger::Ledger;
use outbox::Outbox;
use pass::Pass;

/// Docker's API.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";
/// What a restarted agent must remember; memory, gone with the boot.
const RUN: &str = "/run/fledermaus";
/// The most orders that wait for their turn.
const ORDERS_LIMIT: usize = 64;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fledermaus-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    // The program lies on the card: without this it would end with the card, before it could tell (`card`). Before there
    // are threads, so that their stacks are not counted: a megabyte.
    if let Err(error) = mlockall(MlockAllFlags::MCL_CURRENT) {
        eprintln!("fledermaus-agent: staying in memory: {error}");
    }
    let command_line = std::fs::read_to_string("/proc/cmdline").context("reading the kernel command line")?;
    let plan = Arc::new(NodePlan::parse(&command_line)?);
    let folder = Path::new(RUN);
    std::fs::create_dir_all(folder).context("making the agent's folder")?;
    let docker = Docker::new(Path::new(DOCKER_SOCKET));
    let outbox = Arc::new(Outbox::with_events_of(&folder.join("events.jsonl")));
    let ledger = Arc::new(Ledger::open(&folder.join("orders"), &outbox)?);
    let heart = watchdog::feed(feeds_watchdog(&command_line));
    let own_outbox = outbox.clone();
    thread::spawn(move || card::watch(&own_outbox));

    let (order_sender, order_receiver) = sync_channel(ORDERS_LIMIT);
    let hands = orders::Hands { docker: docker.clone(), plan: plan.clone(), outbox: outbox.clone() };
    let own_ledger = ledger.clone();
    thread::spawn(move || hands.carry_out_all(&order_receiver, &own_ledger));
    let (own_docker, own_plan, own_outbox) = (docker.clone(), plan.clone(), outbox.clone());
    thread::spawn(move || services::start(&own_docker, &own_plan, &own_outbox, Path::new(RUN)));
    let loader = containers::Loader::new(docker.clone(), outbox.clone());
    thread::spawn(move || loader.run());
    let pass = Pass::open(plan.token.clone(), &folder.join("token"));
    report::Reporter::new(&plan, pass, docker, outbox, ledger, order_sender).run(&heart)
}
