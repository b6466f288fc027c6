//! The rollout's part of the state: what is seen of the nodes to `cluster::swarm::Rollout`, its wishes to reboots.

use cluster::phase::Step;
use cluster::swarm::{Rollout, RolloutState, Sight};
use cluster::view::RolloutWish;
use cluster::{NodeName, Phase};

use super::node::Node;
use super::state::State;
use crate::store::Write;

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
            return Err(match &wish.label {
                Some(label) => {
                    format!("no node that has booted has the label {label}: `fledermaus node label` sets one")
                }
                None => "no node has booted yet: there is nothing to roll out to".to_owned(),
            });
        }
        let rollout = Rollout::new(nodes, u64::from(wish.pause_secs) * 1_000);
        let max_unavailable = wish.max_unavailable.map_or(1, |many| usize::from(many.get()));
        self.rollout = Some(Rollout { max_unavailable, ..rollout });
        self.keep_rollout();
        self.step_rollout();
        self.rollout.clone().ok_or_else(String::new)
    }

    /// Stops the rollout that is under way, or resumes the one that stopped.
    ///
    /// # Errors
    /// A sentence: there is none.
    pub(super) fn steer_rollout(&mut self, resume: bool) -> Result<Rollout, String> {
        let Some(rollout) = &mut self.rollout else {
            return Err("there was no rollout yet: `fledermaus rollout start` begins one".to_owned());
        };
        if resume {
            if !rollout.resume() {
                return Err("the rollout did not stop: there is nothing to resume".to_owned());
            }
        } else if rollout.state == RolloutState::Running {
            rollout.stop("it was stopped by hand".to_owned());
        } else {
            return Err("no rollout is under way".to_owned());
        }
        let rollout = rollout.clone();
        self.keep_rollout();
        self.step_rollout();
        Ok(self.rollout.clone().unwrap_or(rollout))
    }

    /// Workers first, the leader last: so that the managers change as little as can be. All nodes that ever booted if
    /// none is named; of these, those with the label.
    fn in_order(&self, wish: &RolloutWish) -> Vec<NodeName> {
        let wanted = &wish.nodes;
        let is_wanted = |node: &&Node| {
            let is_named =
                if wanted.is_empty() { node.kept.boot > 0 } else { wanted.contains(&node.kept.name) };
            is_named && wish.label.as_ref().is_none_or(|label| node.has_label(label))
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
        }
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

/// What ended the node's newest boot: its user data. What is tried again by itself (a disk, the network) is not a failure.
fn failure(node: &Node) -> Option<String> {
    let lines = node.timeline.iter().rev().take_while(|line| line.boot == node.kept.boot);
    let ended = lines.into_iter().find(|line| line.phase == Phase::UserData && line.step != Step::Started)?;
    (ended.step == Step::Failed).then(|| format!("failed to run its user data: {}", ended.detail))
}
