//! Power cuts at random moments, again and again: after each the node has to come up by itself, and its card must at no time
//! claim to hold an image that it does not hold.
//!
//! A moment is a phase of the boot and a delay after its begin, not a time since power-on: so that a seed means the same on a
//! slower machine. What the node had not flushed is lost as chance wills ([`Spec::torn_writes`](crate::Spec)), which the
//! emulator alone would never do. Before some boots the card is another, or damaged: a card that holds the
//! image is seldom written to.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use cluster::view::{NodeView, SwarmView};
use cluster::{Digest, Phase};
use serde::{Deserialize, Serialize};

use crate::control::{CardDeed, CardKind, Power, Slot};
use crate::lab::Lab;

/// The node that is tortured.
const NODE: &str = "node1";
/// How long a boot may take, and a phase may let wait for it.
const BOOT_LIMIT: Duration = Duration::from_secs(300);
/// The longest delay after the begin of a phase, in milliseconds; Docker's start is the longest phase.
const DELAY_LIMIT_MS: u64 = 2_500;
const DOCKER_DELAY_LIMIT_MS: u64 = 8_000;
/// How often the head is asked for the node's phase: this is how exact a moment is.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Lines of the console that go into an error.
const CONSOLE_LINES: usize = 40;

/// What the torturer does before a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Before {
    /// Leaves the card as it is.
    Nothing,
    /// Puts in a blank one.
    Blank,
    /// Puts in one with noise in it.
    Garbage,
    /// Flips one bit of the system image.
    Flip,
}

/// One power cut to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Its number, from 1.
    pub number: u16,
    /// What happened to the card before the boot.
    pub before: Before,
    /// The phase whose begin is waited for.
    pub phase: Phase,
    /// How long after that, in milliseconds.
    pub delay_ms: u64,
}

/// What became of one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Survived {
    /// The cut.
    #[serde(flatten)]
    pub cut: Cut,
    /// The phase that the node was in by then.
    pub cut_in: Phase,
    /// How many unflushed writes were lost or torn.
    pub lost_writes: usize,
    /// From power to Ready in the boot after it.
    pub seconds_to_ready: f64,
}

/// All cuts of a seed, in their order.
pub fn cuts(seed: u64) -> impl Iterator<Item = Cut> {
    let mut chance = fastrand::Rng::with_seed(seed);
    (1..).map(move |number| {
        let before = match chance.u8(..8) {
            0 => Before::Blank,
            1 => Before::Garbage,
            2 => Before::Flip,
            _ => Before::Nothing,
        };
        let phase = Phase::ALL[chance.usize(..Phase::ALL.len())];
        let limit = if phase == Phase::Docker { DOCKER_DELAY_LIMIT_MS } else { DELAY_LIMIT_MS };
        Cut { number, before, phase, delay_ms: chance.u64(..limit) }
    })
}

/// Makes one cut, and waits until the node has come up by itself. The node has to be Ready, with `image` on its card.
///
/// # Errors
/// What the cut broke: a sentence, with the end of the node's console.
pub fn cut(lab: &Lab, cut: Cut, image: Digest) -> anyhow::Result<Survived> {
    let survived = endure(lab, cut, image);
    survived.with_context(|| format!("the node's console ends:\n{}", lab.console(NODE, CONSOLE_LINES)))
}

fn endure(lab: &Lab, cut: Cut, image: Digest) -> anyhow::Result<Survived> {
    let before = node(lab)?.boot;
    lab.power(NODE, Power::Cut)?;
    match cut.before {
        Before::Nothing => {}
        Before::Blank => lab.card(NODE, CardDeed::Insert(CardKind::Blank)).map(drop)?,
        Before::Garbage => lab.card(NODE, CardDeed::Insert(CardKind::Garbage)).map(drop)?,
        Before::Flip => lab.card(NODE, CardDeed::Flip).map(drop)?,
    }
    lab.power(NODE, Power::On)?;
    let begun = wait(lab, &format!("phase {}", cut.phase), |node| {
        node.boot > before && node.phase >= Some(cut.phase)
    })?;
    std::thread::sleep(Duration::from_millis(cut.delay_ms));
    let cut_in = node(lab)?.phase.or(begun.phase).unwrap_or(cut.phase);
    lab.power(NODE, Power::Cut)?;

    let card = lab.card(NODE, CardDeed::Look)?;
    // The bit that was flipped here stays until the node has seen it.
    let flipped = cut.before == Before::Flip && card.slot == Slot::Broken(image);
    ensure!(
        flipped || matches!(card.slot, Slot::Void) || card.slot == Slot::Whole(image),
        "cut in phase {cut_in}, the card claims to hold an image that it does not hold: {:?}",
        card.slot
    );
    let before = node(lab)?.boot;
    let powered_on = Instant::now();
    lab.power(NODE, Power::On)?;
    wait(lab, "Ready", |node| node.boot > before && node.ready_at_ms.is_some())?;
    let seconds_to_ready = powered_on.elapsed().as_secs_f64();
    let slot = lab.card(NODE, CardDeed::Look)?.slot;
    ensure!(slot == Slot::Whole(image), "the node is Ready, but its card says {slot:?}");
    let swarm: SwarmView = lab.client().get("/v1/swarm")?;
    ensure!(swarm.members.len() == 1, "the swarm of one node has other members: {:?}", swarm.members);
    Ok(Survived { cut, cut_in, lost_writes: card.lost_writes, seconds_to_ready })
}

fn node(lab: &Lab) -> anyhow::Result<NodeView> {
    lab.nodes()?.into_iter().find(|node| node.name.as_str() == NODE).context("the lab has no node")
}

fn wait(lab: &Lab, what: &str, reached: impl Fn(&NodeView) -> bool) -> anyhow::Result<NodeView> {
    let limit = Instant::now() + BOOT_LIMIT;
    loop {
        let node = node(lab)?;
        if reached(&node) {
            return Ok(node);
        }
        let seen = || format!("boot {}, phase {:?}: {}", node.boot, node.phase, node.detail);
        ensure!(Instant::now() < limit, "no {what} in {} s; {}", BOOT_LIMIT.as_secs(), seen());
        std::thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_says_all_cuts_and_a_hundred_of_them_meet_every_phase() {
        let hundred = |seed| cuts(seed).take(100).collect::<Vec<_>>();
        assert_eq!(hundred(1), hundred(1));
        assert_ne!(hundred(1), hundred(2));
        let phases: BTreeSet<_> = hundred(1).into_iter().map(|cut| cut.phase).collect();
        assert_eq!(phases.len(), Phase::ALL.len());
        assert!(hundred(1).iter().any(|cut| cut.before == Before::Flip));
    }
}
