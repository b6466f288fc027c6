//! Waiting for what the head says of the nodes, with a limit, and telling what was seen when it does not come.

use std::time::{Duration, Instant};

use anyhow::Context;
use cluster::view::NodeView;
use server::client::Client;

use crate::control::Page;
use crate::lab::Lab;

/// How often the head is asked.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// Lines of a console that go into an error.
const CONSOLE_LINES: usize = 25;

impl Lab {
    /// A client of the lab's head.
    pub fn client(&self) -> Client {
        Client::new(&self.head_socket())
    }

    /// Waits until `count` nodes are Ready and returns all nodes.
    ///
    /// # Errors
    /// As of [`Lab::wait_for`].
    pub fn wait_ready(&self, count: usize, limit: Duration) -> anyhow::Result<Vec<NodeView>> {
        let what = format!("{count} nodes Ready");
        self.wait_for(&what, limit, &mut |nodes| nodes.iter().filter(|node| is_ready(node)).count() >= count)
    }

    /// Waits until `reached` says so of the nodes; it is also the place to show them. Returns the nodes.
    ///
    /// # Errors
    /// The limit passed, or the head or an emulator ended. The text names each node that is not Ready, its
    /// phase, and its last console lines.
    pub fn wait_for(
        &self,
        what: &str,
        limit: Duration,
        reached: &mut dyn FnMut(&[NodeView]) -> bool,
    ) -> anyhow::Result<Vec<NodeView>> {
        let end = Instant::now() + limit;
        loop {
            let nodes = self.nodes()?;
            if reached(&nodes) {
                return Ok(nodes);
            }
            self.require_power()?;
            anyhow::ensure!(
                Instant::now() < end,
                "waited {} s for {what}\n{}",
                limit.as_secs(),
                self.troubles(&nodes)
            );
            std::thread::sleep(ASK_EVERY);
        }
    }

    /// Waits until a page is there (status 200).
    ///
    /// # Errors
    /// The limit passed; the last answer is in the text.
    pub fn wait_page(&self, url: &str, limit: Duration) -> anyhow::Result<Page> {
        let end = Instant::now() + limit;
        loop {
            let seen = match self.fetch(url) {
                Ok(page) if page.status == 200 => return Ok(page),
                Ok(page) => format!("status {}", page.status),
                Err(error) => format!("{error:#}"),
            };
            anyhow::ensure!(Instant::now() < end, "no page at {url} after {} s: {seen}", limit.as_secs());
            std::thread::sleep(ASK_EVERY);
        }
    }

    /// All nodes as the head sees them.
    ///
    /// # Errors
    /// The head does not answer; its last lines are in the text.
    pub fn nodes(&self) -> anyhow::Result<Vec<NodeView>> {
        let nodes = self.client().get("/v1/nodes");
        nodes.with_context(|| format!("asking the lab's head; it printed:\n{}", self.head_log(CONSOLE_LINES)))
    }

    /// What keeps the nodes that are not Ready: phase, the head's sentence, the console's last lines.
    pub fn troubles(&self, nodes: &[NodeView]) -> String {
        let trouble = |node: &NodeView| {
            let phase = node.phase.map_or("power", |phase| phase.name());
            let console = self.console(node.name.as_str(), CONSOLE_LINES).replace('\n', "\n    ");
            format!("{}: in phase {phase}. {}\n  its console ends:\n    {console}\n", node.name, node.detail)
        };
        nodes.iter().filter(|node| !is_ready(node)).map(trouble).collect()
    }

    /// A board whose emulator ended, or no head: then nothing is worth waiting for. One that was switched off is meant to be.
    fn require_power(&self) -> anyhow::Result<()> {
        let status = self.status()?;
        anyhow::ensure!(status.head_runs, "the head ended; it printed:\n{}", self.head_log(CONSOLE_LINES));
        let Some(dead) = status.boards.iter().find(|board| board.has_ended) else { return Ok(()) };
        anyhow::bail!(
            "the emulator of {} ended:\n{}\n  its console ends:\n{}",
            dead.name,
            crate::console::tail(&self.place().lab_log(), CONSOLE_LINES),
            self.console(&dead.name, CONSOLE_LINES)
        )
    }
}

fn is_ready(node: &NodeView) -> bool {
    node.ready_at_ms.is_some()
}
