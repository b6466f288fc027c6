//! The figures that the head tells of itself.

use cluster::NodeName;
use cluster::swarm::RolloutState;

use super::Head;
use super::state::State;
use super::state::listed::{STATES, state_of};

/// Figures for a monitoring system.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measures {
    /// How many nodes are in each state.
    pub(crate) states: Vec<(&'static str, usize)>,
    pub(crate) leases: usize,
    pub(crate) rivals: usize,
    pub(crate) members: usize,
    pub(crate) ready: usize,
    pub(crate) held: usize,
    pub(crate) rollouts: usize,
    pub(crate) waiting: usize,
    /// When each node was last heard, in seconds since 1970.
    pub(crate) heard: Vec<(NodeName, f64)>,
    /// How long each Ready node's boot took, in seconds.
    pub(crate) boots: Vec<(NodeName, f64)>,
    /// In degrees Celsius.
    pub(crate) temperatures: Vec<(NodeName, f64)>,
}

impl Head {
    /// The figures, as of now.
    pub(crate) async fn measure(&self) -> Measures {
        self.ask(|state| state.measure()).await.unwrap_or_default()
    }
}

impl State {
    fn measure(&self) -> Measures {
        let swarm = self.swarm_view();
        let count =
            |state: &'static str| (state, self.nodes.values().filter(|node| state_of(node) == state).count());
        let is_running = self.rollout.as_ref().is_some_and(|rollout| rollout.state == RolloutState::Running);
        let mut measures = Measures {
            states: STATES.into_iter().map(count).collect(),
            leases: self.leases().len(),
            rivals: self.rivals().len(),
            members: swarm.members.len(),
            ready: swarm.members.iter().filter(|member| member.ready).count(),
            held: self.held.len(),
            rollouts: usize::from(is_running),
            waiting: self.waiting.len(),
            ..Measures::default()
        };
        for node in self.nodes.values() {
            let name = || node.kept.name.clone();
            let seconds = |ms: u64| ms as f64 / 1_000.0;
            if node.heard_ms > 0 {
                measures.heard.push((name(), seconds(node.heard_ms)));
            }
            if let (Some(began_ms), Some(ready_ms)) = (node.kept.boot_began_ms, node.kept.ready_at_ms) {
                measures.boots.push((name(), seconds(ready_ms.saturating_sub(began_ms))));
            }
            let health = node.health.as_ref().and_then(|health| health.temperature_mc);
            measures.temperatures.extend(health.map(|celsius| (name(), f64::from(celsius) / 1_000.0)));
        }
        measures
    }
}
