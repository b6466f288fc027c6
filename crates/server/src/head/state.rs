//! What the head knows and how requests change it. Sockets and disk are elsewhere; `now_ms` is set by the
//! task before each batch.

mod address;
mod asked;
mod bearer;
mod boot;
#[cfg(test)]
mod crowd;
mod firmware;
mod index;
pub(super) mod listed;
#[cfg(test)]
pub(super) mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use anyhow::Context;
use cluster::phase::{Event, Step};
use cluster::report::{Orders, Report};
use cluster::swarm::{Known, Rollout, Swarm};
use cluster::view::{RivalView, WaitingView};
use cluster::{BootToken, Mac, NodeName, Phase};
use netboot::dhcp::{self, Leases};
use netboot::dns::Zone;

pub(super) use self::boot::Served;
use self::index::Index;
use super::access::Keys;
use super::harmless::{harmless, one_line};
use super::keeper::Turns;
use super::news::{Topic, Unheard};
use super::node::{Node, Remembered};
use super::stack::Stack;
use super::wishes;
use crate::artefacts::Images;
use crate::config::{Resolved, Settings};
use crate::store::{Memory, Write};

/// How soon a node reports again while something is under way, in milliseconds.
const BUSY_REPORT_MS: u64 = 300;
/// How soon a node reports again when all is quiet, in milliseconds.
const QUIET_REPORT_MS: u64 = 2_000;

/// Everything the head knows.
pub(super) struct State {
    pub(super) now_ms: u64,
    pub(super) settings: Settings,
    dhcp: dhcp::Server,
    /// Of the cluster's own network.
    prefix: u8,
    pub(super) images: Images,
    pub(super) nodes: BTreeMap<Mac, Node>,
    pub(super) swarm: Swarm,
    /// What the store has of it.
    pub(super) kept_swarm: Option<Known>,
    /// The number of the newest event of the swarm.
    pub(super) events: u64,
    pub(super) held: Vec<String>,
    pub(super) stacks: BTreeMap<String, Stack>,
    pub(super) rollout: Option<Rollout>,
    pub(super) writes: Vec<Write>,
    pub(super) turns: Turns,
    index: Index,
    zone_changed: bool,
    /// What the leases' number was when the zone was last made ([`Leases::moves`]).
    moves: u64,
    /// Other DHCP servers that were noticed.
    pub(super) rivals: BTreeMap<Ipv4Addr, RivalView>,
    /// When a DECLINE was last told of.
    declined_ms: u64,
    /// The nodes that the managers last saw Ready, with their roles.
    pub(super) ready: BTreeMap<Mac, &'static str>,
    pub(super) keys: Keys,
    /// The number of the newest version of any user data.
    pub(super) versions: u64,
    /// Machines that wait for approval.
    pub(super) waiting: BTreeMap<Mac, WaitingView>,
    pub(super) unheard: Unheard,
}

impl State {
    /// The state of a head that starts.
    pub(super) fn new(
        settings: Settings,
        network: &Resolved,
        images: Images,
        mut memory: Memory,
    ) -> anyhow::Result<Self> {
        let keys = Keys::restore(&mut memory);
        let dhcp = dhcp::Server::new(settings.dhcp(network), Leases::restore(memory.leases));
        let known = memory.swarm.map(|object| serde_json::from_str(&object)).transpose();
        let known: Option<Known> = known.context("reading the swarm that is remembered")?;
        let rollout = memory.rollout.map(|object| serde_json::from_str(&object)).transpose();
        let mut state = Self {
            now_ms: super::now_ms(),
            dhcp,
            prefix: network.prefix,
            images,
            nodes: memory.nodes.into_iter().map(|kept| (kept.mac, Node::remembered(kept))).collect(),
            kept_swarm: known.clone(),
            events: memory.events,
            swarm: Swarm::new(known),
            held: Vec::new(),
            stacks: memory.stacks.into_iter().map(|stack| (stack.name.clone(), stack)).collect(),
            rollout: rollout.context("reading the rollout that is remembered")?,
            writes: Vec::new(),
            turns: Turns::default(),
            index: Index::default(),
            zone_changed: false,
            moves: 0,
            rivals: BTreeMap::new(),
            declined_ms: 0,
            ready: BTreeMap::new(),
            keys,
            versions: memory.versions,
            waiting: BTreeMap::new(),
            unheard: Unheard::default(),
            settings,
        };
        for (mac, line) in memory.latest {
            let Some(node) = state.nodes.get_mut(&mac) else { continue };
            if line.boot == node.kept.boot {
                node.latest = Some((line.phase, line.step, line.detail));
            }
        }
        for (mac, line) in memory.timelines {
            let Some(node) = state.nodes.get_mut(&mac) else { continue };
            node.timeline.push(line);
        }
        let before: BTreeMap<Mac, Remembered> =
            state.nodes.values().map(|node| (node.kept.mac, node.kept.clone())).collect();
        state.enrol_configured();
        state.index = Index::of(state.nodes.values());
        state.settle_names(&before);
        Ok(state)
    }

    /// The nodes that the configuration names, with what it says of them.
    fn enrol_configured(&mut self) {
        for settings in self.settings.nodes.clone() {
            let (mac, file) = (settings.mac, wishes::of(&settings));
            let node = self.nodes.entry(mac).or_insert_with(|| Node::new(mac, settings.name));
            let base = node.kept.applied.take().unwrap_or_default();
            node.kept.wishes = wishes::merged(&node.kept.wishes, &base, &file);
            node.kept.applied = Some(file);
        }
        let configured: BTreeSet<Mac> = self.settings.nodes.iter().map(|node| node.mac).collect();
        // A node that the configuration named once is one that enrolled by itself now, if it may.
        let may_stay = |mac: &Mac| configured.contains(mac) || self.settings.network.enrolment.welcomes(*mac);
        self.nodes.retain(|mac, node| node.kept.approved || may_stay(mac));
        for node in self.nodes.values_mut().filter(|node| !configured.contains(&node.kept.mac)) {
            if let Some(base) = node.kept.applied.take() {
                node.kept.wishes = wishes::merged(&node.kept.wishes, &base, &wishes::Wishes::new());
            }
        }
        let groups = &self.settings.groups;
        for node in self.nodes.values_mut() {
            node.kept.wishes = wishes::that_are_there(&node.kept.wishes, groups, &self.images);
            node.heed(groups);
        }
        self.free_names();
        // A name that the configuration gives is taken from the machine that had it.
        let named = |name: &NodeName| self.settings.nodes.iter().any(|node| node.name == *name);
        let others = self.nodes.iter().filter(|(mac, _)| !configured.contains(mac));
        let renamed: Vec<Mac> =
            others.filter(|(_, node)| named(&node.kept.name)).map(|(mac, _)| *mac).collect();
        for mac in renamed {
            let name = self.free_name(mac);
            if let Some(node) = self.nodes.get_mut(&mac) {
                node.kept.name = name;
            }
        }
    }

    /// A head that starts owes nobody an old name. What the configuration changed is remembered.
    fn settle_names(&mut self, before: &BTreeMap<Mac, Remembered>) {
        for mac in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.take_name(mac);
            if self.nodes.get(&mac).map(|node| &node.kept) != before.get(&mac) {
                self.remember(mac);
            }
        }
    }

    /// What has to be on disk before anybody is answered.
    pub(super) fn take_writes(&mut self) -> Vec<Write> {
        for write in &self.writes {
            match write {
                Write::Rollout(_) => self.unheard.topic(Topic::Rollout),
                Write::Stack(_) | Write::NoStack(_) => self.unheard.topic(Topic::Stacks),
                _ => {}
            }
        }
        std::mem::take(&mut self.writes)
    }

    /// Whether names changed since [`State::take_zone`].
    pub(super) fn zone_is_changed(&self) -> bool {
        self.zone_changed || self.moves != self.dhcp.leases.moves()
    }

    /// The cluster's names, which are known from then on.
    pub(super) fn take_zone(&mut self) -> Zone {
        self.zone_changed = false;
        self.moves = self.dhcp.leases.moves();
        self.zone()
    }

    pub(super) fn zone_changes(&mut self) {
        self.zone_changed = true;
    }

    /// The cluster's names.
    pub(super) fn zone(&self) -> Zone {
        let nodes =
            self.nodes.values().filter_map(|node| Some((node.kept.name.clone(), self.address(node)?)));
        Zone {
            domain: self.settings.domain.clone(),
            head: self.dhcp.settings.server,
            prefix: self.prefix,
            nodes: nodes.collect(),
            managers: self
                .ready
                .iter()
                .filter(|(_, role)| **role == "manager")
                .filter_map(|(mac, _)| Some(self.nodes.get(mac)?.kept.name.clone()))
                .collect(),
            swarm: self
                .nodes
                .values()
                .filter(|node| node.is_serving)
                .filter_map(|node| self.address(node))
                .collect(),
        }
    }

    /// Where a node is, or will be.
    pub(super) fn address(&self, node: &Node) -> Option<Ipv4Addr> {
        // A node that runs keeps its address until it boots next, whatever is wished since.
        self.dhcp.leases.of(node.kept.mac).map(|lease| lease.address).or(node.fixed)
    }

    /// Has what is kept of a node written.
    pub(super) fn remember(&mut self, mac: Mac) {
        if let Some(node) = self.nodes.get(&mac) {
            self.index.keep(&node.kept);
            self.writes.push(Write::Node(Box::new(node.kept.clone())));
            self.unheard.node(mac);
        }
    }

    /// Adds a line to a node's timeline.
    pub(super) fn note(&mut self, mac: Mac, at_ms: u64, phase: Phase, step: Step, detail: String) {
        let Some(node) = self.nodes.get_mut(&mac) else { return };
        self.unheard.node(mac);
        if let Some(line) = node.note(at_ms, phase, step, detail) {
            tracing::info!(node = %node.kept.name, "{} {}", line.phase, describe(line.step, &line.detail));
            self.writes.push(Write::Line(mac, line));
        }
    }

    pub(super) fn report(&mut self, token: &BootToken, client: Ipv4Addr, report: Report) -> Option<Orders> {
        let mac = self.bearer(token, client)?;
        self.renew(mac);
        let report = harmless(report);
        for event in report.events {
            self.event(mac, report.uptime_ms, event);
        }
        let now_ms = self.now_ms;
        // What Docker says comes once the user data has ended, well or not.
        let is_past_user_data = report.swarm.is_some();
        let node = self.nodes.get_mut(&mac)?;
        node.heard_ms = now_ms;
        if is_past_user_data {
            node.facts = report.swarm;
            node.kept.user_data_done = true;
        }
        node.answering = report.answering;
        if let Some(health) = report.health {
            node.health = Some(health);
            self.unheard.node(mac);
        }
        if let Some(logs) = report.logs {
            node.keep_logs(now_ms, &logs);
        }
        for outcome in report.outcomes {
            self.outcome(mac, outcome);
        }
        self.tend_swarm();
        let token = if is_past_user_data { self.successor(mac) } else { None };
        let node = self.nodes.get(&mac)?;
        let busy = self.nodes.values().any(|node| node.is_booting(now_ms))
            || !node.orders.is_empty()
            || !self.held.is_empty();
        let report_in_ms = if busy { BUSY_REPORT_MS } else { QUIET_REPORT_MS };
        let ports = self.council().map(|(_, facts)| facts.ports()).unwrap_or_default();
        Some(Orders {
            now_ms,
            report_in_ms,
            orders: node.orders.clone(),
            ports,
            logs: node.logs_wanted,
            token,
        })
    }

    /// A line from the node itself: its time is put on our clock.
    fn event(&mut self, mac: Mac, uptime_ms: u64, event: Event) {
        let at_ms = self.now_ms.saturating_sub(uptime_ms.saturating_sub(event.uptime_ms));
        if event.phase == Phase::UserData
            && event.step == Step::Done
            && let Some(node) = self.nodes.get_mut(&mac)
        {
            node.kept.user_data_done = true;
            self.remember(mac);
        }
        // Ready is the managers' word, not the node's.
        let ours = (Phase::Hardware..Phase::Ready).contains(&event.phase);
        if ours && self.nodes.get(&mac).is_some_and(|node| !node.has(at_ms, &event)) {
            self.note(mac, at_ms, event.phase, event.step, event.detail);
        }
    }
}

fn describe(step: Step, detail: &str) -> String {
    let word = match step {
        Step::Started => "…",
        Step::Progress { .. } => "goes on",
        Step::Done => "done",
        Step::Failed => "failed",
    };
    if detail.is_empty() { word.to_owned() } else { format!("{word}: {}", one_line(detail)) }
}
