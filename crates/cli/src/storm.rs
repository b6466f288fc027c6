//! `fledermaus lab storm`: the power comes back, and everybody boots at once.

use std::collections::BTreeMap;
use std::time::Duration;

use cluster::Phase;
use indicatif::{ProgressBar, ProgressStyle};
use lab::Lab;
use lab::storm::{Load, Outcome, Plan, Protocol};

use crate::arguments::{LabLoad, LabStorm};
use crate::surroundings::Surroundings;
use crate::{laboratory, table};

/// How often the progress is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a person has to do for a Pi 3 whose ROM does not ask any more.
const SILENT: &str = "they are silent until their power is cut. Cut it once the head runs (a switch with PoE can do \
                      that), or give them a card with bootcode.bin alone, or with U-Boot: both ask for ever";

/// Starts a lab without boards, has the clients boot, and tells how it went.
///
/// # Errors
/// What is missing on this machine, or that not all clients booted.
pub(crate) fn run(arguments: &LabStorm, surroundings: &Surroundings, json: bool) -> anyhow::Result<()> {
    if let Some((seen, remedy)) = server::neighbours::lack(arguments.clients.into()) {
        eprintln!("fledermaus: {seen}: {remedy}");
    }
    let lab = Lab::up(&laboratory::empty("storm".parse()?, arguments.image.as_deref(), surroundings)?)?;
    let plan = Plan {
        clients: arguments.clients,
        profile: arguments.profile.into(),
        spread_ms: arguments.spread * 1_000,
        head_late_ms: arguments.head_late * 1_000,
    };
    let outcome = watch(&lab, plan)?;
    lab.down()?;
    if json {
        table::json(&outcome)?
    } else {
        tell(&outcome)?
    }
    let missing = usize::from(outcome.clients) - outcome.booted;
    anyhow::ensure!(missing == 0, "{missing} of {} clients did not boot", outcome.clients);
    Ok(())
}

/// Loads a server, and prints bytes and seconds.
///
/// # Errors
/// A transfer failed.
pub(crate) fn load(arguments: &LabLoad) -> anyhow::Result<()> {
    let LabLoad { first, server, path, clients, window, http, seconds } = arguments;
    let protocol = match *http {
        Some(port) => Protocol::Http { port },
        None => Protocol::Tftp { window: *window },
    };
    let load = Load {
        first: *first,
        server: *server,
        protocol,
        path: path.clone(),
        clients: *clients,
        seconds: *seconds,
    };
    let (bytes, took) = load.run()?;
    table::print(&format_args!("{bytes} {took:.3}"))
}

fn watch(lab: &Lab, plan: Plan) -> anyhow::Result<Outcome> {
    let bar = ProgressBar::new(plan.clients.into());
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos} of {len} booted, {msg} {elapsed}")?);
    std::thread::scope(|threads| {
        let storm = threads.spawn(|| lab.storm(plan));
        while !storm.is_finished() {
            std::thread::sleep(LOOK_EVERY);
            // A head that is busy is asked again.
            let Ok(nodes) = lab.nodes() else { continue };
            let mut phases = BTreeMap::<Phase, u64>::new();
            for phase in nodes.iter().filter_map(|node| node.phase) {
                *phases.entry(phase).or_default() += 1;
            }
            let fetching =
                phases.iter().filter(|(phase, _)| **phase < Phase::UserData).map(|(_, count)| count);
            bar.set_message(format!("{} on their way,", fetching.sum::<u64>()));
            bar.set_position(phases.get(&Phase::UserData).copied().unwrap_or_default());
        }
        bar.finish_and_clear();
        storm.join().map_err(|_| anyhow::anyhow!("the storm's thread panicked"))?
    })
}

fn tell(outcome: &Outcome) -> anyhow::Result<()> {
    let Outcome { clients, booted, seconds, seconds_total, bytes, .. } = outcome;
    let gigabytes = *bytes as f64 / 1e9;
    table::print(&format_args!(
        "{booted} of {clients} clients booted, {gigabytes:.1} GB in {seconds_total:.1} s"
    ))?;
    table::print(&format_args!(
        "seconds from power-on to the last byte: p50 {:.1}, p95 {:.1}, p99 {:.1}",
        seconds.p50, seconds.p95, seconds.p99
    ))?;
    table::print(&format_args!(
        "the head: at most {:.1} MiB, {:.1} s of processor time",
        outcome.head_memory_mib, outcome.head_cpu_seconds
    ))?;
    if outcome.asleep > 0 {
        table::print(&format_args!("{} ROMs gave up before the head answered: {SILENT}", outcome.asleep))?;
    }
    if outcome.locked_up > 0 {
        table::print(&format_args!(
            "{} ROMs were answered too soon and locked up: {SILENT}",
            outcome.locked_up
        ))?;
    }
    for (why, count) in &outcome.restarts {
        table::print(&format_args!("started over {count} times: {why}"))?;
    }
    Ok(())
}
