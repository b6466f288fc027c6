//! `fledermaus lab torture`: the plug is pulled at random moments, and the node has to come up each time.

use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use lab::torture::{self, Survived};
use lab::{Lab, Spec};
use serde::Serialize;

use crate::arguments::LabTorture;
use crate::surroundings::Surroundings;
use crate::{laboratory, table};

/// How long the first boot may take.
const FIRST_LIMIT: Duration = Duration::from_secs(300);
/// What the node writes in its boot, so that there is something to lose.
const USER_DATA: &str = "#!/bin/sh\nset -e\nhead -c 20000000 /dev/urandom > /data/work\n\
                         tar -c -f - /etc | docker import - work:1\nsync\n";

/// What came of it.
#[derive(Debug, Serialize)]
struct Outcome {
    /// Which cuts those were; the same number makes the same again.
    seed: u64,
    /// How many were to be.
    cuts: u16,
    /// How many the node came up after.
    survived: usize,
    /// Unflushed writes that were lost or torn.
    lost_writes: usize,
    /// From power to Ready after a cut, seconds: the median and the longest.
    seconds_to_ready: Span,
    /// Each cut.
    each: Vec<Survived>,
    /// What the last one broke.
    failure: Option<String>,
}

#[derive(Debug, Default, Serialize)]
struct Span {
    p50: f64,
    max: f64,
}

/// Tortures a node, and tells how it went.
///
/// # Errors
/// What is missing on this machine, or what a cut broke.
pub(crate) fn run(arguments: &LabTorture, surroundings: &Surroundings, json: bool) -> anyhow::Result<()> {
    let LabTorture { cuts, seed, wipe, .. } = *arguments;
    let seed = seed.unwrap_or_else(|| table::now_ms() % 1_000_000);
    let empty = laboratory::empty("torture".parse()?, arguments.image.as_deref(), surroundings)?;
    let cores = lab::spec::default_cores();
    let spec =
        Spec { nodes: 1, cores, wipe, user_data: USER_DATA.to_owned(), torn_writes: Some(seed), ..empty };
    let image = spec.system_image()?;
    eprintln!("seed {seed}");
    let lab = Lab::up(&spec)?;
    lab.wait_ready(1, FIRST_LIMIT)?;
    let bar = ProgressBar::new(cuts.into());
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos} of {len} cuts survived, {msg} {elapsed}")?);
    let (mut each, mut failure) = (Vec::new(), None);
    for cut in torture::cuts(seed).take(cuts.into()) {
        bar.set_message(format!("now in phase {},", cut.phase));
        match torture::cut(&lab, cut, image).with_context(|| format!("cut {} of seed {seed}", cut.number)) {
            Ok(survived) => each.push(survived),
            Err(error) => {
                failure = Some(format!("{error:#}"));
                break;
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    lab.down()?;
    let outcome = sum_up(seed, cuts, each, failure);
    if json {
        table::json(&outcome)?
    } else {
        tell(&outcome)?
    }
    outcome.failure.map_or(Ok(()), |failure| Err(anyhow::anyhow!(failure)))
}

fn sum_up(seed: u64, cuts: u16, each: Vec<Survived>, failure: Option<String>) -> Outcome {
    let mut seconds: Vec<_> = each.iter().map(|survived| survived.seconds_to_ready).collect();
    seconds.sort_by(f64::total_cmp);
    let at = |index: usize| seconds.get(index).copied().unwrap_or_default();
    Outcome {
        seed,
        cuts,
        survived: each.len(),
        lost_writes: each.iter().map(|survived| survived.lost_writes).sum(),
        seconds_to_ready: Span { p50: at(seconds.len() / 2), max: at(seconds.len().saturating_sub(1)) },
        each,
        failure,
    }
}

fn tell(outcome: &Outcome) -> anyhow::Result<()> {
    for survived in &outcome.each {
        let Survived { cut, cut_in, lost_writes, seconds_to_ready } = survived;
        let before = match cut.before {
            torture::Before::Nothing => "",
            torture::Before::Blank => ", on a blank card",
            torture::Before::Garbage => ", on a card with noise",
            torture::Before::Flip => ", a bit flipped before",
        };
        table::print(&format_args!(
            "{:4}  cut in {cut_in:10} {lost_writes:5} writes lost, Ready after {seconds_to_ready:5.1} s{before}",
            cut.number
        ))?;
    }
    let Outcome { seed, cuts, survived, lost_writes, seconds_to_ready, .. } = outcome;
    table::print(&format_args!(
        "{survived} of {cuts} cuts survived; seed {seed}, {lost_writes} writes lost, Ready after {:.1} s (median), {:.1} s at most",
        seconds_to_ready.p50, seconds_to_ready.max
    ))
}
