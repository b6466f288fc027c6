//! `fledermaus rollout …`: nodes are made new one after another.

use std::time::Duration;

use cluster::NodeName;
use cluster::swarm::{Progress, Rollout, RolloutState};
use cluster::view::RolloutWish;
use server::client::Client;

use crate::arguments::Rollout as Command;
use crate::table;

/// How often the head is asked how it goes.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Begins, shows, resumes or stops.
///
/// # Errors
/// What the head says, or why the rollout stopped.
pub(crate) fn run(command: &Command, head: &Client, json: bool) -> anyhow::Result<()> {
    let (rollout, detach) = match command {
        Command::Start { nodes, label, group, image, user_data, pause, max_unavailable, detach } => {
            let wish = RolloutWish {
                nodes: nodes.clone(),
                label: label.clone(),
                group: group.as_ref().map(ToString::to_string),
                image: image.as_ref().map(ToString::to_string),
                user_data: user_data.clone(),
                pause_secs: *pause,
                max_unavailable: Some(*max_unavailable),
            };
            (head.ask("/v1/rollout", &wish)?, *detach)
        }
        Command::Resume { detach } => (head.ask("/v1/rollout/resume", &())?, *detach),
        Command::Back { detach } => (head.ask("/v1/rollout/back", &())?, *detach),
        Command::Stop => (head.ask("/v1/rollout/stop", &())?, true),
        Command::Status => (head.get::<Rollout>("/v1/rollout")?, true),
    };
    if detach {
        return show(&rollout, json);
    }
    let ended = follow(head, rollout)?;
    show(&ended, json)?;
    match &ended.state {
        RolloutState::Stopped { reason } => Err(anyhow::anyhow!(
            "the rollout stopped: {reason}. `fledermaus rollout resume` goes on, and tries that node again{}",
            if ended.had.is_empty() { "" } else { "; `fledermaus rollout back` takes it back" }
        )),
        _ => Ok(()),
    }
}

/// Tells on standard error what changes, until it ends.
fn follow(head: &Client, mut rollout: Rollout) -> anyhow::Result<Rollout> {
    let mut told = String::new();
    loop {
        let news = news(&rollout);
        if news != told {
            eprintln!("{news}");
            told = news;
        }
        if rollout.state != RolloutState::Running {
            return Ok(rollout);
        }
        std::thread::sleep(ASK_EVERY);
        rollout = head.get("/v1/rollout")?;
    }
}

/// One line: how many are new, which is under way, what is waited for.
fn news(rollout: &Rollout) -> String {
    let is_done = |(_, progress): &&(NodeName, Progress)| matches!(progress, Progress::Done { .. });
    let done = rollout.nodes.iter().filter(is_done).count();
    let is_under_way = |(_, progress): &&(NodeName, Progress)| matches!(progress, Progress::UnderWay { .. });
    let now: Vec<&str> = rollout.nodes.iter().filter(is_under_way).map(|(name, _)| name.as_str()).collect();
    let what = match (&rollout.state, &now[..]) {
        (RolloutState::Done, _) => "done".to_owned(),
        (RolloutState::Stopped { .. }, _) => "stopped".to_owned(),
        (RolloutState::Running, [name]) => format!("{name} is made new"),
        (RolloutState::Running, []) if rollout.waits_for.is_empty() => "goes on".to_owned(),
        (RolloutState::Running, []) => format!("waits for {}", rollout.waits_for),
        (RolloutState::Running, names) => format!("{} are made new", names.join(", ")),
    };
    format!("{done} of {} nodes are new: {what}", rollout.nodes.len())
}

fn show(rollout: &Rollout, json: bool) -> anyhow::Result<()> {
    if json {
        return table::json(rollout);
    }
    table::print(&table::rollout(rollout))?;
    if let RolloutState::Stopped { reason } = &rollout.state {
        table::print(&format_args!("stopped: {reason}"))?;
    } else if !rollout.waits_for.is_empty() {
        table::print(&format_args!("waits for {}", rollout.waits_for))?;
    }
    Ok(())
}
