//! The rollout's part of the state: what is seen of the nodes to `cluster::swarm::Rollout`, its wishes to reboots.

use std::collections::BTreeMap;

use cluster::phase::Step;
use cluster::swarm::{Given, Rollout, RolloutState, Sight};
use cluster::view::RolloutWish;
use cluster::{NodeName, Phase};

use super::node::Node;
use super::state::State;
use super::wishes::{self, Wishes};
use crate::store::Write;

/// What is to become of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Steer {
    Stop,
    Resume,
    /// What it gave its nodes is taken back.
    Back,
}

impl Steer {
    /// What the audit log calls it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Stop => "rollout-stop",
            Self::Resume => "rollout-resume",
            Self::Back => "rollout-back",
        }
    }
}

impl State {
    /// The newest rollout.
    pub(super) fn rollout(&self) -> Option<Rollout> {
        self.rollout.clone()
    }

    /// Begins a rollout.
    ///
    /// # Errors
    /// A sentence: one is under way, or a node is not known, or there is none.
    pub(super) fn begin_rollout(&mut self, wish: &RolloutWish) -> Result<Rollout, String> {
        if self.rollout.as_ref().is_some_and(|rollout| rollout.state == RolloutState::Running) {
            return Err(
                "a rollout is under way: `fledermaus rollout status` shows it, `fledermaus rollout stop` \
                        ends it"
                    .to_owned(),
            );
        }
        if let Some(label) = wish.label.as_ref().filter(|label| !label.contains('=')) {
            return Err(format!("{label:?} is no label: write key=value"));
        }
        if let Some(unknown) = wish.nodes.iter().find(|name| self.named(name.as_str()).is_none()) {
            return Err(format!("there is no node {unknown}: `fledermaus node list` shows all"));
        }
        let nodes = self.in_order(wish);
        if nodes.is_empty() {
            return Err(nobody(wish));
        }
        let gives = self.gifts(wish, &nodes)?;
        let rollout = Rollout::new(nodes, u64::from(wish.pause_secs) * 1_000);
        let max_unavailable = wish.max_unavailable.map_or(1, |many| usize::from(many.get()));
        Ok(self.start(Rollout { max_unavailable, gives, ..rollout }))
    }

    fn start(&mut self, rollout: Rollout) -> Rollout {
        self.rollout = Some(rollout.clone());
        self.keep_rollout();
        self.step_rollout();
        self.rollout.clone().unwrap_or(rollout)
    }

    /// What each of the nodes is to be wished when its turn comes.
    fn gifts(&self, wish: &RolloutWish, nodes: &[NodeName]) -> Result<BTreeMap<NodeName, Given>, String> {
        if wish.image.is_none() && wish.user_data.is_none() {
            return Ok(BTreeMap::new());
        }
        let texts = [("image", &wish.image), ("user_data", &wish.user_data)];
        let text = |(key, text): (&str, &Option<String>)| Some((key.to_owned(), text.clone()?));
        let wishes: Wishes = texts.into_iter().filter_map(text).collect();
        for (key, text) in &wishes {
            wishes::check(key, text)?;
        }
        self.check_there(&wishes).map_err(|refusal| refusal.sentence().to_owned())?;
        let library = &self.settings.user_data;
        let has_own = |name: &&NodeName| wish.user_data.is_some() && library.own(name).is_file();
        if let Some(own) = nodes.iter().find(has_own) {
            let file = library.own(own);
            return Err(format!(
                "{own} has user data of its own, which goes before any other: remove {}, or leave {own} out",
                file.display()
            ));
        }
        let given = |name: &NodeName| {
            let now = self.named(name.as_str()).map(given).unwrap_or_default();
            let image = wish.image.clone().or(now.image);
            (name.clone(), Given { image, user_data: wish.user_data.clone().or(now.user_data) })
        };
        Ok(nodes.iter().map(given).collect())
    }

    /// Stops the rollout that is under way, resumes the one that stopped, or takes back what the last one changed.
    ///
    /// # Errors
    /// A sentence: there is none, or nothing to be done.
    pub(super) fn steer_rollout(&mut self, steer: Steer) -> Result<Rollout, String> {
        let Some(rollout) = &mut self.rollout else {
            return Err("there was no rollout yet: `fledermaus rollout start` begins one".to_owned());
        };
        let is_running = rollout.state == RolloutState::Running;
        match steer {
            Steer::Resume if !rollout.resume() => {
                Err("the rollout did not stop: there is nothing to resume".to_owned())
            }
            Steer::Stop if !is_running => Err("no rollout is under way".to_owned()),
            Steer::Back if is_running => {
                Err("the rollout is under way: `fledermaus rollout stop` ends it first".to_owned())
            }
            Steer::Back => match rollout.back() {
                Some(back) => Ok(self.start(back)),
                None => Err(
                    "the rollout gave no node another image or other user data: there is nothing to take \
                             back. If you changed a file, change it back, and start another"
                        .to_owned(),
                ),
            },
            Steer::Resume => {
                let rollout = rollout.clone();
                Ok(self.start(rollout))
            }
            Steer::Stop => {
                rollout.stop("it was stopped by hand".to_owned());
                let rollout = rollout.clone();
                Ok(self.start(rollout))
            }
        }
    }

    /// Workers first, the leader last: so that the managers change as little as can be. All nodes that ever booted if
    /// none is named; of these, those with the label and in the group.
    fn in_order(&self, wish: &RolloutWish) -> Vec<NodeName> {
        let wanted = &wish.nodes;
        let is_wanted = |node: &&Node| {
            let is_named =
                if wanted.is_empty() { node.kept.boot > 0 } else { wanted.contains(&node.kept.name) };
            is_named
                && wish.label.as_ref().is_none_or(|label| node.has_label(label))
                && wish.group.as_ref().is_none_or(|group| node.group() == Some(group))
        };
        let leader = self.council().and_then(|(_, facts)| facts.members.iter().find(|member| member.leader));
        let mut nodes: Vec<_> = self
            .nodes
            .values()
            .filter(is_wanted)
            .map(|node| {
                let leads = leader.is_some_and(|leader| leader.hostname == node.kept.name.as_str());
                (leads, self.role(node) == "manager", node.kept.name.clone())
            })
            .collect();
        nodes.sort();
        nodes.into_iter().map(|(.., name)| name).collect()
    }

    /// Takes the rollout a step further.
    pub(super) fn step_rollout(&mut self) {
        let Some(mut rollout) = self.rollout.take() else { return };
        if rollout.state != RolloutState::Running {
            self.rollout = Some(rollout);
            return;
        }
        let before = (rollout.nodes.clone(), rollout.state.clone());
        let next = match self.council() {
            Some((_, facts)) => {
                let unsettled: Vec<&str> = facts.unsettled().collect();
                rollout.step(&self.sights(), &unsettled, self.now_ms)
            }
            None => {
                rollout.waits_for = "a manager of the swarm to answer".to_owned();
                None
            }
        };
        for ((name, now), (_, was)) in rollout.nodes.iter().zip(&before.0).filter(|(now, was)| now != was) {
            tracing::info!(node = %name, "rollout: {was:?} is now {now:?}");
            self.tell_event(&format!("rollout: {name} {now}"));
        }
        match &rollout.state {
            RolloutState::Running => {}
            RolloutState::Stopped { reason } => {
                tracing::warn!("the rollout stopped: {reason}");
                self.tell_event(&format!("the rollout stopped: {reason}"));
            }
            RolloutState::Done => self.tell_event("the rollout is done"),
        }
        let changed = before != (rollout.nodes.clone(), rollout.state.clone());
        self.rollout = Some(rollout);
        if changed {
            self.keep_rollout();
        }
        if let Some(name) = next {
            self.want_reboot(name.as_str());
            self.give(&name);
        }
    }

    /// It is a node's turn: it is wished what the rollout has for it. What it had is noted once: a node that is tried again
    /// has the new already.
    fn give(&mut self, name: &NodeName) {
        let Some(gift) = self.rollout.as_ref().and_then(|rollout| rollout.gives.get(name).cloned()) else {
            return;
        };
        let Some(node) = self.named(name.as_str()) else { return };
        let (mac, before, mut wishes) = (node.kept.mac, given(node), node.kept.wishes.clone());
        for (key, text) in [("image", gift.image), ("user_data", gift.user_data)] {
            match text {
                Some(text) => drop(wishes.insert(key.to_owned(), text)),
                None => drop(wishes.remove(key)),
            }
        }
        if let Some(rollout) = &mut self.rollout {
            rollout.had.entry(name.clone()).or_insert(before);
        }
        self.keep_rollout();
        self.wish(mac, wishes);
    }

    fn sights(&self) -> Vec<Sight> {
        let sight = |node: &Node| Sight {
            name: node.kept.name.clone(),
            boot: node.kept.boot,
            is_ready: node.kept.ready_at_ms.is_some() && node.is_serving,
            failure: failure(node),
            reboot: node.kept.reboot,
        };
        self.nodes.values().map(sight).collect()
    }

    fn keep_rollout(&mut self) {
        let object = self.rollout.as_ref().map(serde_json::to_string);
        if let Some(Ok(object)) = object {
            self.writes.push(Write::Rollout(object));
        }
    }
}

/// What is wished of a node for itself.
fn given(node: &Node) -> Given {
    let text = |key: &str| node.kept.wishes.get(key).cloned();
    Given { image: text("image"), user_data: text("user_data") }
}

/// Why there is no node for a rollout.
fn nobody(wish: &RolloutWish) -> String {
    match (&wish.label, &wish.group) {
        (Some(label), _) => {
            format!("no node that has booted has the label {label}: `fledermaus node label` sets one")
        }
        (None, Some(group)) => {
            format!(
                "no node that has booted is in the group {group}: `fledermaus node set NODE group={group}`"
            )
        }
        (None, None) => "no node has booted yet: there is nothing to roll out to".to_owned(),
    }
}

/// What ended the node's newest boot: its user data. What is tried again by itself (a disk, the network) is not a failure.
fn failure(node: &Node) -> Option<String> {
    let lines = node.timeline.iter().rev().take_while(|line| line.boot == node.kept.boot);
    let ended = lines.into_iter().find(|line| line.phase == Phase::UserData && line.step != Step::Started)?;
    (ended.step == Step::Failed).then(|| format!("failed to run its user data: {}", ended.detail))
}
