//! The head's state and the one task that owns it.
//!
//! A request changes the state and notes what has to be written; the task takes all requests that wait,
//! writes their changes in one transaction, and only then answers them. So nobody is told of anything that
//! a power cut could undo.

pub(crate) mod node;
pub(crate) mod stack;
mod state;
mod swarm;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use cluster::phase::Step;
use cluster::report::{Orders, Report};
use cluster::view::{NodeDetail, NodeView, SwarmView};
use cluster::{BootToken, Mac, Phase};
use netboot::dns::Zone;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use self::stack::Stack;
use self::state::{Served, State};
use crate::artefacts::Image;
use crate::config::{Resolved, Settings};
use crate::store::Store;
use crate::user_data::Facts;

/// The most requests that wait for the state; a pump with more waits itself.
const QUEUE_LIMIT: usize = 1_024;
/// The most requests that share one transaction.
const BATCH_LIMIT: usize = 256;

/// A file for a node's TFTP.
#[derive(Clone, Debug)]
pub(crate) struct BootFile {
    /// Its content.
    pub(crate) bytes: Arc<[u8]>,
    /// Whose boot it belongs to, and which phase its transfer is.
    pub(crate) node: Option<(Mac, Phase)>,
}

/// Who a node's user data is for, and where its template lies.
#[derive(Clone, Debug)]
pub(crate) struct UserData {
    pub(crate) file: std::path::PathBuf,
    pub(crate) own: std::path::PathBuf,
    pub(crate) facts: Facts,
}

/// A change of the state; it answers by itself, through what it returns, once its writes are on disk.
type Job = Box<dyn FnOnce(&mut State) -> Box<dyn FnOnce() + Send> + Send>;

/// The way to the state; clones speak to the same.
#[derive(Clone)]
pub(crate) struct Head {
    jobs: mpsc::Sender<Job>,
    zone: watch::Receiver<Arc<Zone>>,
    image: Image,
}

impl Head {
    /// Starts the task that owns the state. It ends with an error when the store cannot be written.
    pub(crate) async fn start(
        settings: Settings,
        network: &Resolved,
        image: Image,
        store: Store,
    ) -> anyhow::Result<(Self, JoinHandle<anyhow::Result<()>>)> {
        let memory = store.load().await.context("reading the state of the last run")?;
        let state = State::new(settings, network, image.clone(), memory)?;
        let (jobs, queue) = mpsc::channel(QUEUE_LIMIT);
        let (zone_sender, zone) = watch::channel(Arc::new(state.zone()));
        let keeper = tokio::spawn(keep(state, store, queue, zone_sender));
        Ok((Self { jobs, zone, image }, keeper))
    }

    /// Answers a DHCP request. The lease is on disk when this returns.
    pub(crate) async fn dhcp(&self, request: netboot::dhcp::Request) -> netboot::dhcp::Answer {
        let ignored = netboot::dhcp::Answer::Ignore(netboot::dhcp::Why::Senseless);
        self.ask(move |state| state.dhcp(&request)).await.unwrap_or(ignored)
    }

    /// What a node gets by TFTP; `None` if there is no such file for it.
    pub(crate) async fn boot_file(&self, path: String, client: Ipv4Addr) -> Option<BootFile> {
        let Some(asked) = netboot::firmware::asked(&path) else {
            return self.ask(move |state| state.boot_file(&path, client)).await.flatten();
        };
        match self.ask(move |state| state.firmware_file(asked, client)).await.flatten()? {
            Served::Held(file) => Some(file),
            Served::Firmware(name) => self.firmware(name).await,
        }
    }

    /// A file of the firmware, read beside the state's task: a disk may be slow, and DHCP must not wait for it.
    async fn firmware(&self, name: String) -> Option<BootFile> {
        let firmware = self.image.firmware.clone();
        let read = tokio::task::spawn_blocking(move || firmware.read(&name)).await.ok()?;
        let read = read.inspect_err(|error| tracing::error!("reading the image's firmware: {error}"));
        read.ok().flatten().map(|bytes| BootFile { bytes, node: None })
    }

    /// Notes how a transfer goes. Does not wait: a note is lost when the head is that busy.
    pub(crate) fn transferred(&self, mac: Mac, phase: Phase, step: Step) {
        let job: Job = Box::new(move |state| {
            state.transferred(mac, phase, step);
            Box::new(|| {})
        });
        let _ = self.jobs.try_send(job);
    }

    /// The cluster's names, as of now.
    pub(crate) fn zone(&self) -> Arc<Zone> {
        self.zone.borrow().clone()
    }

    /// The image that is served.
    pub(crate) fn image(&self) -> &Image {
        &self.image
    }

    /// A node's report; `None` if the token is not of a boot at that address.
    pub(crate) async fn report(&self, token: BootToken, client: Ipv4Addr, report: Report) -> Option<Orders> {
        self.ask(move |state| state.report(&token, client, report)).await.flatten()
    }

    /// What a node's user data is; `None` if the token is not of a boot at that address, or it is burnt.
    pub(crate) async fn user_data(&self, token: BootToken, client: Ipv4Addr) -> Option<UserData> {
        self.ask(move |state| state.user_data_of(&token, client)).await.flatten()
    }

    /// All nodes.
    pub(crate) async fn nodes(&self) -> Vec<NodeView> {
        self.ask(|state| state.views()).await.unwrap_or_default()
    }

    /// One node and its timeline.
    pub(crate) async fn node(&self, name: String) -> Option<NodeDetail> {
        self.ask(move |state| state.detail(&name)).await.flatten()
    }

    /// A node's user data, for the operator.
    pub(crate) async fn user_data_named(&self, name: String) -> Option<UserData> {
        self.ask(move |state| state.user_data_named(&name)).await.flatten()
    }

    /// Wants a node rebooted. Whether there is such a node.
    pub(crate) async fn reboot(&self, name: String) -> bool {
        self.ask(move |state| state.reboot(&name)).await.unwrap_or(false)
    }

    /// The swarm.
    pub(crate) async fn swarm(&self) -> SwarmView {
        self.ask(|state| state.swarm_view()).await.unwrap_or_default()
    }

    /// Keeps a stack and has it deployed.
    pub(crate) async fn put_stack(&self, name: String, compose: String) {
        self.ask(move |state| state.put_stack(name, compose)).await;
    }

    /// A stack.
    pub(crate) async fn stack(&self, name: String) -> Option<Stack> {
        self.ask(move |state| state.stack(&name)).await.flatten()
    }

    /// `None` only when the head is going down.
    async fn ask<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, answer) = oneshot::channel();
        let job: Job = Box::new(move |state| {
            let value = change(state);
            Box::new(move || drop(sender.send(value)))
        });
        self.jobs.send(job).await.ok()?;
        answer.await.ok()
    }
}

/// Owns the state until nobody can ask any more.
async fn keep(
    mut state: State,
    store: Store,
    mut queue: mpsc::Receiver<Job>,
    zone: watch::Sender<Arc<Zone>>,
) -> anyhow::Result<()> {
    let mut jobs = Vec::new();
    while queue.recv_many(&mut jobs, BATCH_LIMIT).await > 0 {
        state.now_ms = now_ms();
        let answers: Vec<_> = jobs.drain(..).map(|job| job(&mut state)).collect();
        store.write(&state.take_writes()).await?;
        if state.take_zone_changed() {
            zone.send_replace(Arc::new(state.zone()));
        }
        answers.into_iter().for_each(|answer| answer());
    }
    Ok(())
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
