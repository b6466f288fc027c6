//! One node as the head keeps it: what is remembered on disk, and what only this run knows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use cluster::life::LifeNumber;
use cluster::phase::{Event, Phase, Step};
use cluster::plan::{Keep, RootPlace, WipePolicy};
use cluster::report::{Action, Health, Order};
use cluster::swarm::{Reboot, RoleWish, SwarmFacts};
use cluster::view::{NodeView, TimelineLine};
use cluster::{BootToken, Digest, Mac, NodeName};
use netboot::dhcp::Profile;
use serde::{Deserialize, Serialize};

use super::wishes::Wishes;

/// How many boots of a node the timeline keeps.
const BOOTS_KEPT: u64 = 5;
/// The most lines that one boot's timeline takes.
const LINES_LIMIT: usize = 300;

/// A boot that takes longer than this has failed as far as others are concerned, in milliseconds.
const BOOT_LIMIT_MS: u64 = 10 * 60 * 1_000;

/// Lines for the same step this close together are one that was sent twice, in milliseconds: the two clocks
/// do not agree to the millisecond.
const REPEAT_MS: u64 = 250;

/// What outlives the head's process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    pub(crate) mac: Mac,
    pub(crate) name: NodeName,
    pub(crate) boot: u64,
    pub(crate) boot_began_ms: Option<u64>,
    pub(crate) ready_at_ms: Option<u64>,
    /// SHA-256 of this boot's token: who reads the store does not get in.
    pub(crate) token_hash: Option<Digest>,
    /// SHA-256 of the token that firmware was given for the boot it begins. It becomes this boot's when it is first used.
    #[serde(default)]
    pub(crate) offered_hash: Option<Digest>,
    /// SHA-256 of the token that the node's agent was given in place of this boot's. It becomes this boot's when it is first used.
    #[serde(default)]
    pub(crate) successor_hash: Option<Digest>,
    /// Whether it did: the one in the kernel command line is burnt.
    #[serde(default)]
    pub(crate) is_succeeded: bool,
    /// The user data of this boot was fetched and run; it is not served again.
    pub(crate) user_data_done: bool,
    pub(crate) reboot: Reboot,
    /// Which life the node's data is of, if it may be kept; a reboot that is ordered ends it.
    #[serde(default)]
    pub(crate) life: Option<LifeNumber>,
    /// What is wished of it, by the configuration and by operators.
    #[serde(default)]
    pub(crate) wishes: Wishes,
    /// What the configuration said of it when it was last read; `None` if it does not name it.
    #[serde(default)]
    pub(crate) applied: Option<Wishes>,
    /// The image that it was last told to boot.
    #[serde(default)]
    pub(crate) image: Option<Digest>,
    /// Whether an operator made it a node.
    #[serde(default)]
    pub(crate) approved: bool,
    /// Orders are numbered on through a restart of the head.
    pub(crate) next_order: u64,
}

/// A node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kept: Remembered,
    pub(crate) fixed: Option<Ipv4Addr>,
    pub(crate) wish: RoleWish,
    pub(crate) user_data: Option<String>,
    pub(crate) wipe: Option<WipePolicy>,
    /// What of its card no wipe reaches.
    pub(crate) keep: Keep,
    pub(crate) root: Option<RootPlace>,
    /// The name of its image; the default one if there is none.
    pub(crate) image: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    /// The lines of this boot.
    pub(crate) timeline: Vec<TimelineLine>,
    pub(crate) latest: Option<(Phase, Step, String)>,
    pub(crate) facts: Option<SwarmFacts>,
    /// The services' ports on which it has answered in this life.
    pub(crate) answering: BTreeSet<u16>,
    /// Whether it is Ready and has answered on all of them. Stays so when ports are added, as long as it is Ready.
    pub(crate) is_serving: bool,
    /// Who spoke when the node last asked for an address.
    pub(crate) profile: Profile,
    pub(crate) heard_ms: u64,
    pub(crate) health: Option<Health>,
    /// What it sent of its logs when it was asked last, and when. Those of an earlier boot stay until it is asked again.
    pub(crate) logs: Option<(u64, Arc<str>)>,
    /// Whether somebody waits for its logs.
    pub(crate) logs_wanted: bool,
    pub(crate) orders: Vec<Order>,
    /// After an order failed, none is given before this, milliseconds since 1970.
    pub(crate) rest_until_ms: u64,
    /// The boot that the board's own firmware carries out, until the node speaks.
    pub(crate) firmware: Option<FirmwareBoot>,
    /// The token of the next boot, until somebody uses it.
    pub(crate) reserve: Option<Reserve>,
    /// The token in place of this boot's, until the agent uses it.
    pub(crate) successor: Option<BootToken>,
}

/// A token that is made before it is needed.
#[derive(Clone, Debug)]
pub(crate) struct Reserve {
    pub(crate) token: BootToken,
    /// The keeper's turn that writes it.
    pub(crate) turn: u64,
    /// Whether it was put into a plan: whoever asks for that again gets the same, as one whose first question was answered
    /// late knows only one of the answers.
    pub(crate) is_given: bool,
}

/// A boot without a card, from the first file that tells it from a look at the network to the node's first word.
#[derive(Clone, Debug)]
pub(crate) struct FirmwareBoot {
    /// When it began, milliseconds since 1970.
    pub(crate) since_ms: u64,
    /// `cmdline.txt` as it was given once: whoever asks again gets the same.
    pub(crate) command_line: Option<CommandLine>,
}

/// `cmdline.txt` with its token.
#[derive(Clone, Debug)]
pub(crate) struct CommandLine {
    pub(crate) bytes: Arc<Vec<u8>>,
    /// The keeper's turn that writes its token.
    pub(crate) turn: u64,
    /// The image that it names.
    pub(crate) image: Digest,
}

impl Node {
    /// A node that was never seen.
    pub(crate) fn new(mac: Mac, name: NodeName) -> Self {
        let kept = Remembered {
            mac,
            name,
            boot: 0,
            boot_began_ms: None,
            ready_at_ms: None,
            token_hash: None,
            offered_hash: None,
            successor_hash: None,
            is_succeeded: false,
            user_data_done: false,
            reboot: Reboot::No,
            life: None,
            wishes: Wishes::new(),
            applied: None,
            image: None,
            approved: false,
            next_order: 1,
        };
        Self::remembered(kept)
    }

    /// A node of an earlier run.
    pub(crate) fn remembered(kept: Remembered) -> Self {
        Self {
            kept,
            fixed: None,
            wish: RoleWish::Any,
            user_data: None,
            wipe: None,
            keep: Keep::NOTHING,
            root: None,
            image: None,
            labels: BTreeMap::new(),
            timeline: Vec::new(),
            latest: None,
            facts: None,
            answering: BTreeSet::new(),
            is_serving: false,
            profile: Profile::System,
            heard_ms: 0,
            health: None,
            logs: None,
            logs_wanted: false,
            orders: Vec::new(),
            rest_until_ms: 0,
            firmware: None,
            reserve: None,
            successor: None,
        }
    }

    /// Begins a new boot, unless the one that is known has not come to its kernel yet: U-Boot asks several
    /// times. Returns whether it began.
    pub(crate) fn begin_boot(&mut self, now_ms: u64) -> bool {
        if self.is_young() && self.firmware.is_none() {
            return false;
        }
        self.begin_timeline(now_ms);
        self.begin_life();
        true
    }

    /// Begins a boot by firmware, unless one is under way. Returns whether it began. The node's last life goes on: only
    /// who uses the new token has proved that it booted.
    pub(crate) fn begin_firmware_boot(&mut self, now_ms: u64) -> bool {
        if self.young_firmware(now_ms).is_some() {
            return false;
        }
        if !self.is_young() || self.firmware.is_some() {
            self.begin_timeline(now_ms);
        }
        self.firmware = Some(FirmwareBoot { since_ms: now_ms, command_line: None });
        true
    }

    fn young_firmware(&self, now_ms: u64) -> Option<&FirmwareBoot> {
        self.firmware.as_ref().filter(|boot| now_ms < boot.since_ms + BOOT_LIMIT_MS)
    }

    /// Whether firmware has fetched a token that may yet be used.
    pub(crate) fn has_token_on_its_way(&self, now_ms: u64) -> bool {
        self.young_firmware(now_ms).is_some_and(|boot| boot.command_line.is_some())
    }

    /// The token that firmware was given is used: the boot that it began is the node's.
    pub(crate) fn settle(&mut self) {
        let token_hash = self.kept.offered_hash;
        let command_line = self.firmware.as_ref().and_then(|boot| boot.command_line.as_ref());
        self.kept.image = command_line.map(|line| line.image).or(self.kept.image);
        self.begin_life();
        self.open_with(token_hash);
    }

    /// This boot is opened by that token alone from now on.
    pub(crate) fn open_with(&mut self, token_hash: Option<Digest>) {
        self.kept.token_hash = token_hash;
        (self.kept.offered_hash, self.kept.successor_hash) = (None, None);
        self.kept.is_succeeded = false;
        self.successor = None;
    }

    /// The agent uses the token that it was given in place of the boot's, which is burnt with that.
    pub(crate) fn succeed(&mut self) {
        self.open_with(self.kept.successor_hash);
        self.kept.is_succeeded = true;
    }

    /// Whether it has a label, `key=value`.
    pub(crate) fn has_label(&self, label: &str) -> bool {
        label.split_once('=').is_some_and(|(key, text)| self.labels.get(key).is_some_and(|own| own == text))
    }

    /// Whether the boot has not come to its kernel yet.
    fn is_young(&self) -> bool {
        self.kept.boot > 0 && self.latest.as_ref().is_some_and(|(phase, ..)| *phase <= Phase::Plan)
    }

    fn begin_timeline(&mut self, now_ms: u64) {
        self.kept.boot += 1;
        self.kept.boot_began_ms = Some(now_ms);
        self.latest = None;
        // Those of earlier boots are in the store alone.
        self.timeline.clear();
    }

    /// Forgets the last life: its token, what it said and what it was told.
    fn begin_life(&mut self) {
        self.kept.ready_at_ms = None;
        self.open_with(None);
        self.kept.user_data_done = false;
        if self.kept.reboot == Reboot::Wanted {
            self.kept.reboot = Reboot::No;
        }
        self.facts = None;
        self.answering.clear();
        self.is_serving = false;
        self.orders.clear();
        self.rest_until_ms = 0;
        self.firmware = None;
    }

    /// Whether the node is on its way to Ready.
    pub(crate) fn is_booting(&self, now_ms: u64) -> bool {
        let began = self.kept.boot_began_ms.filter(|_| self.kept.ready_at_ms.is_none());
        began.is_some_and(|began_ms| now_ms < began_ms + BOOT_LIMIT_MS)
    }

    /// The oldest boot whose lines are kept.
    pub(crate) fn oldest_boot(&self) -> u64 {
        self.kept.boot.saturating_sub(BOOTS_KEPT - 1)
    }

    /// Adds a line. Progress only moves the latest state. Returns the line if it is to be stored.
    pub(crate) fn note(
        &mut self,
        at_ms: u64,
        phase: Phase,
        step: Step,
        detail: String,
    ) -> Option<TimelineLine> {
        self.latest = Some((phase, step, detail.clone()));
        let lines = self.timeline.iter().filter(|line| line.boot == self.kept.boot).count();
        if matches!(step, Step::Progress { .. }) || lines >= LINES_LIMIT {
            return None;
        }
        let line = TimelineLine { at_ms, boot: self.kept.boot, phase, step, detail };
        self.timeline.push(line.clone());
        Some(line)
    }

    /// Whether this boot's timeline has the event already: a report whose answer was lost comes again.
    pub(crate) fn has(&self, at_ms: u64, event: &Event) -> bool {
        let of_boot = self.timeline.iter().filter(|line| line.boot == self.kept.boot);
        of_boot
            .filter(|line| line.phase == event.phase && line.step == event.step)
            .any(|line| line.at_ms.abs_diff(at_ms) < REPEAT_MS)
    }

    /// Gives an order.
    pub(crate) fn order(&mut self, action: Action) -> u64 {
        let number = self.kept.next_order;
        self.kept.next_order += 1;
        self.orders.push(Order { number, action });
        number
    }

    /// What an operator sees.
    pub(crate) fn view(&self, address: Option<Ipv4Addr>, role: &str) -> NodeView {
        let (phase, step, detail) = match &self.latest {
            Some((phase, step, detail)) => (Some(*phase), Some(*step), detail.clone()),
            None => (None, None, String::new()),
        };
        NodeView {
            name: self.kept.name.clone(),
            mac: self.kept.mac,
            address,
            role: role.to_owned(),
            phase,
            step,
            boot: self.kept.boot,
            boot_began_ms: self.kept.boot_began_ms,
            ready_at_ms: self.kept.ready_at_ms,
            last_seen_ms: (self.heard_ms > 0).then_some(self.heard_ms),
            detail,
            health: self.health.clone(),
            labels: self.labels.clone(),
            group: self.group().map(str::to_owned),
            image: self.kept.image,
        }
    }
}
