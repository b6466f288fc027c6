//! The phases `docker` and `user-data`, once per boot: an agent that is restarted finds a mark and
//! does not run the user data again.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cluster::Phase;
use cluster::life::KEPT_FILE;
use cluster::phase::Step;
use cluster::plan::NodePlan;

use crate::docker::Docker;
use crate::life;
use crate::outbox::Outbox;
use crate::user_data::{self, Ending};

/// How often Docker is asked whether it answers, and after what time its silence is called a failure;
/// the agent then waits on.
const DOCKER_POLL: Duration = Duration::from_millis(100);
const DOCKER_LIMIT: Duration = Duration::from_secs(300);
/// In the agent's folder: the user data has been started; with a second line, it has ended.
const MARK: &str = "user-data.started";

/// Waits for Docker, runs the user data, and opens the way into the swarm.
pub(crate) fn start(docker: &Docker, plan: &NodePlan, outbox: &Outbox, folder: &Path) {
    let mark = folder.join(MARK);
    match fs::read_to_string(&mark) {
        Ok(text) if text.contains("ended") => wait_for_docker(docker, outbox),
        Ok(_) => {
            wait_for_docker(docker, outbox);
            let reason = "the agent was restarted while the user data ran; it does not run twice";
            outbox.event(Phase::UserData, Step::Failed, reason);
        }
        Err(_) => {
            outbox.event(Phase::Docker, Step::Started, "");
            wait_for_docker(docker, outbox);
            outbox.event(Phase::Docker, Step::Done, "");
            if Path::new(KEPT_FILE).exists() {
                tell_kept(outbox, &mark);
            } else {
                run_user_data(plan, outbox, folder, &mark);
            }
        }
    }
    outbox.want_swarm();
}

fn wait_for_docker(docker: &Docker, outbox: &Outbox) {
    let mut next_complaint = Instant::now() + DOCKER_LIMIT;
    while let Err(error) = docker.ping() {
        if Instant::now() > next_complaint {
            outbox.event(Phase::Docker, Step::Failed, &format!("{error}; see /var/log on the node"));
            next_complaint = Instant::now() + DOCKER_LIMIT;
        }
        thread::sleep(DOCKER_POLL);
    }
}

/// The data was kept: what the user data did is still there, and doing it twice is not what anybody wrote it for.
fn tell_kept(outbox: &Outbox, mark: &Path) {
    outbox.event(Phase::UserData, Step::Done, "not run again: the data of the life in which it ran is kept");
    let _ = fs::write(mark, "started\nended\n");
}

fn run_user_data(plan: &NodePlan, outbox: &Outbox, folder: &Path, mark: &Path) {
    outbox.event(Phase::UserData, Step::Started, "");
    match fetch_and_run(plan, outbox, folder, mark) {
        Ok(ending) => outbox.event(Phase::UserData, ending.step(), &ending.to_string()),
        Err(error) => outbox.event(Phase::UserData, Step::Failed, &format!("{error:#}")),
    }
    let _ = fs::write(mark, "started\nended\n");
}

fn fetch_and_run(plan: &NodePlan, outbox: &Outbox, folder: &Path, mark: &Path) -> Result<Ending> {
    let complain = |reason: &str| outbox.event(Phase::UserData, Step::Failed, reason);
    let text = user_data::fetch(&plan.user_data_url, complain)?;
    let script = user_data::save(&text, folder)?;
    // Before it runs: whatever happens now, it does not run a second time.
    if let Err(error) = fs::write(mark, "started\n") {
        bail!("not running the user data, for it could not be noted that it ran: {error}");
    }
    let facts = user_data::environment(plan);
    let limit = Duration::from_secs(plan.user_data_secs.into());
    let ending = user_data::run(&script, &text, Path::new(user_data::LOG_FILE), &facts, limit)
        .context("running the user data")?;
    if ending.step() == Step::Done
        && let Err(error) = life::stamp(plan, &text, Path::new(life::DATA))
    {
        eprintln!("fledermaus-agent: {error:#}; the next boot wipes the data");
    }
    Ok(ending)
}
