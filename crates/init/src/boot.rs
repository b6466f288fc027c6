//! The boot as a table of phases: runs them in order, retries what a retry can help, reboots when
//! nothing helps.

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use cluster::Phase;
use cluster::plan::{NodePlan, feeds_watchdog};
use cluster::report::Orders;

use crate::card::Card;
use crate::head::Head;
use crate::timeline::Timeline;
use crate::{card, console, data, hardware, network, root, system};

/// Pause before a phase is tried again; grows by itself with each try.
const RETRY_PAUSE: Duration = Duration::from_secs(2);
/// How long the last report before a reboot may take.
const LAST_REPORT_LIMIT: Duration = Duration::from_secs(2);

/// What the phases hand to each other.
pub(crate) struct Boot {
    /// What the head wants of this boot.
    pub(crate) plan: NodePlan,
    /// Whether the hardware watchdog is fed.
    pub(crate) watchdog: bool,
    /// Where steps are told.
    pub(crate) timeline: Timeline,
    /// The head's answer to the first report and when it came: the clock.
    pub(crate) answer: Option<(Orders, Instant)>,
    /// The node's own card, once found; none for a node that lives in memory.
    pub(crate) card: Option<Card>,
    /// The device with the verified system image, once there is one.
    pub(crate) system: Option<PathBuf>,
    /// Whether what no wipe reaches is mounted.
    pub(crate) is_keeping: bool,
}

struct Stage {
    phase: Phase,
    run: fn(&mut Boot) -> Result<String>,
    tries: u32,
}

const STAGES: [Stage; 7] = [
    Stage { phase: Phase::Hardware, run: hardware::run, tries: 1 },
    Stage { phase: Phase::Network, run: network::run, tries: 3 },
    Stage { phase: Phase::Clock, run: network::set_clock, tries: 1 },
    Stage { phase: Phase::Disk, run: card::run, tries: 2 },
    Stage { phase: Phase::System, run: system::run, tries: 3 },
    Stage { phase: Phase::Data, run: data::run, tries: 2 },
    Stage { phase: Phase::Root, run: root::assemble, tries: 1 },
];

impl Boot {
    /// The head of this boot.
    pub(crate) fn head(&self) -> Head {
        Head::new(&self.plan)
    }
}

/// Boots the node. Ends in the system's own init, or in a reboot.
pub(crate) fn run() -> ExitCode {
    std::panic::set_hook(Box::new(console::reboot_on_panic));
    let mut boot = match begin() {
        Ok(boot) => boot,
        Err(error) => {
            console::say(&format!("fledermaus: {error:#}"));
            console::reboot_now();
        }
    };
    for stage in &STAGES {
        if !finish(&mut boot, stage) {
            give_up(&boot);
        }
    }
    let error = root::enter(&boot);
    boot.timeline.failed(Phase::Root, &format!("{error:#}"));
    give_up(&boot);
}

/// What has to be there before a phase can be told of: the kernel's file systems and the plan.
fn begin() -> Result<Boot> {
    hardware::mount_kernel_file_systems()?;
    let command_line = std::fs::read_to_string("/proc/cmdline").context("reading the kernel command line")?;
    let plan = NodePlan::parse(&command_line)?;
    let watchdog = feeds_watchdog(&command_line);
    Ok(Boot {
        plan,
        watchdog,
        timeline: Timeline::new(),
        answer: None,
        card: None,
        system: None,
        is_keeping: false,
    })
}

/// Runs one phase, again if need be. False: it failed for good.
fn finish(boot: &mut Boot, stage: &Stage) -> bool {
    for attempt in 1..=stage.tries {
        boot.timeline.started(stage.phase);
        let began = Instant::now();
        match (stage.run)(boot) {
            Ok(detail) => {
                boot.timeline.done(stage.phase, began.elapsed(), &detail);
                return true;
            }
            Err(error) => boot.timeline.failed(stage.phase, &format!("{error:#}")),
        }
        if attempt < stage.tries {
            thread::sleep(RETRY_PAUSE * attempt);
        }
    }
    false
}

fn give_up(boot: &Boot) -> ! {
    console::say("fledermaus: this boot cannot go on, rebooting");
    boot.timeline.stop(LAST_REPORT_LIMIT);
    console::reboot_now();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_are_the_phases_that_are_inits_in_their_order() {
        let own: Vec<Phase> =
            Phase::ALL.into_iter().filter(|phase| (Phase::Hardware..=Phase::Root).contains(phase)).collect();
        assert_eq!(STAGES.map(|stage| stage.phase).to_vec(), own);
    }
}
