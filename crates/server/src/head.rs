//! The head's state and the one task that owns it.
//!
//! A request changes the state and notes what has to be written; it is answered when that is on disk. So nobody is told
//! of anything that a power cut could undo.

pub(crate) mod access;
mod harmless;
mod inventory;
mod keeper;
mod logs;
pub(crate) mod measured;
mod neighbour;
pub(crate) mod news;
pub(crate) mod node;
mod operator;
mod rollout;
pub(crate) mod stack;
mod state;
mod swarm;
mod user_data;
pub(crate) mod wishes;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use cluster::phase::Step;
use cluster::report::{Orders, Report};
use cluster::swarm::Rollout;
use cluster::view::{BootView, LeaseView, NodeDetail, NodePage, NodeView, RivalView, StackView, SwarmView};
use cluster::{BootToken, Mac, Phase};
use netboot::dhcp::{Answer, Kind, Request};
use netboot::dns::Zone;
use netboot::tftp::Pace;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use self::keeper::{Job, Keeper, Wait};
pub(crate) use self::logs::NoLogs;
use self::news::{NEWS_LIMIT, News};
pub(crate) use self::rollout::Steer;
pub(crate) use self::state::listed::NodeWish;
use self::state::{Served, State};
pub(crate) use self::user_data::UserData;
use crate::artefacts::{ImageFile, Images};
use crate::config::{Resolved, Settings};
use crate::files::{Files, Missing};
use crate::pump::rivals::Found;
use crate::store::Store;
use crate::store::archive::Archive;

/// The most requests that wait for the state; a pump with more waits itself.
const QUEUE_LIMIT: usize = 1_024;
/// What is said when the state does not answer any more.
const GOING_DOWN: &str = "the head is going down";

/// A file for a node's TFTP.
#[derive(Clone, Debug)]
pub(crate) struct BootFile {
    /// Its content.
    pub(crate) bytes: Arc<Vec<u8>>,
    /// Whose boot it belongs to, and which phase its transfer is.
    pub(crate) node: Option<(Mac, Phase)>,
    /// Whether it carries a token that is not on disk yet.
    pub(crate) is_promise: bool,
    /// Whether all who fetch it share one copy.
    pub(crate) is_shared: bool,
}

impl BootFile {
    /// A file that promises nothing.
    pub(crate) fn plain(bytes: Arc<Vec<u8>>, node: Option<(Mac, Phase)>) -> Self {
        Self { bytes, node, is_promise: false, is_shared: false }
    }

    /// A file of which there is one copy: an image's, or the operator's.
    fn shared(bytes: Arc<Vec<u8>>, node: Option<(Mac, Phase)>) -> Self {
        Self { is_shared: true, ..Self::plain(bytes, node) }
    }

    fn wait(&self) -> Wait {
        if self.is_promise { Wait::ForDisk } else { Wait::No }
    }
}

/// The way to the state; clones speak to the same.
#[derive(Clone)]
pub(crate) struct Head {
    jobs: mpsc::Sender<Job>,
    zone: watch::Receiver<Arc<Zone>>,
    news: broadcast::Sender<Arc<News>>,
    archive: Archive,
    /// As the state has them: HTTP need not ask it for each of a thousand nodes.
    images: watch::Sender<Arc<Images>>,
    files: Option<Files>,
    is_beside_another: bool,
}

impl Head {
    /// Reads the state of the last run. The keeper has to be run for the head to answer.
    pub(crate) async fn new(
        settings: Settings,
        network: &Resolved,
        images: Images,
        store: Store,
    ) -> anyhow::Result<(Self, Keeper)> {
        let memory = store.load().await.context("reading the state of the last run")?;
        let files = settings.boot.programs.files.clone().map(Files::of);
        let state = State::new(settings, network, images.clone(), memory)?;
        let images = watch::Sender::new(Arc::new(images));
        let is_beside_another = state.is_beside_another();
        let (jobs, queue) = mpsc::channel(QUEUE_LIMIT);
        let (zone_sender, zone) = watch::channel(Arc::new(state.zone()));
        let (news, _) = broadcast::channel(NEWS_LIMIT);
        let archive = store.archive();
        let keeper = Keeper { state, store, queue, zone: zone_sender, news: news.clone() };
        Ok((Self { jobs, zone, news, archive, images, files, is_beside_another }, keeper))
    }

    /// Answers DHCP requests, all of them DISCOVERs or none. What an ACK promises is on disk when this returns, and what
    /// an OFFER does that is a lease. Empty only when the head is going down.
    pub(crate) async fn dhcp(&self, requests: Vec<Request>) -> Vec<(Request, Answer)> {
        let answer = move |state: &mut State| {
            let answer = |request: Request| (state.dhcp(&request), request);
            let answers: Vec<_> =
                requests.into_iter().map(answer).map(|(answer, request)| (request, answer)).collect();
            let promises = |(request, answer): &(Request, Answer)| {
                request.kind != Kind::Discover || answer.change.is_some()
            };
            let wait = if answers.iter().any(promises) { Wait::ForDisk } else { Wait::No };
            (answers, wait)
        };
        self.put(answer).await.unwrap_or_default()
    }

    /// Answers a PXE client that has its address from another server; `None` only when the head is going down.
    pub(crate) async fn pxe(&self, request: Request, from: SocketAddrV4) -> Option<Answer> {
        self.ask(move |state| state.pxe(&request, from)).await
    }

    /// Notes that somebody else uses an address that was about to be offered.
    pub(crate) async fn in_use(&self, address: Ipv4Addr, by: Mac) {
        self.ask(move |state| state.in_use(address, by)).await;
    }

    /// Notes another DHCP server on the wire.
    pub(crate) async fn meet_rival(&self, server: Ipv4Addr, found: Found) {
        self.ask(move |state| state.meet_rival(server, found)).await;
    }

    /// The other DHCP servers that were noticed.
    pub(crate) async fn rivals(&self) -> Vec<RivalView> {
        self.ask(|state| state.rivals()).await.unwrap_or_default()
    }

    /// What a client gets by TFTP, and how it is to be sent again; or why there is no such file for it.
    pub(crate) async fn boot_file(
        &self,
        path: String,
        client: Ipv4Addr,
    ) -> Result<(BootFile, Pace), Missing> {
        // Beside another server's DHCP nobody told us whose address it is: the kernel knows, as the client just spoke.
        let neighbour = if self.is_beside_another { neighbour::of(client) } else { None };
        let name = path.clone();
        let asked = netboot::firmware::asked(&name);
        let look = move |state: &mut State| {
            if let Some(mac) = neighbour {
                state.meet(mac, client);
            }
            let served = match asked {
                Some(asked) => state.firmware_file(asked, client),
                None => state.boot_file(&name, client),
            };
            let wait = match &served {
                Some(Served::Made(file)) => file.wait(),
                _ => Wait::No,
            };
            ((served, state.pace(client)), wait)
        };
        let (served, pace) = self.put(look).await.ok_or(Missing::NoFile)?;
        let file = match served {
            Some(Served::Made(file)) => file,
            Some(Served::OfImage(file, node)) => {
                BootFile::shared(content(file).await.ok_or(Missing::NoFile)?, node)
            }
            None => self.own_file(path).await?,
        };
        Ok((file, pace))
    }

    /// A file of the operator's.
    async fn own_file(&self, path: String) -> Result<BootFile, Missing> {
        let files = self.files.clone().ok_or(Missing::NoFile)?;
        let read = tokio::task::spawn_blocking(move || files.read(&path)).await;
        Ok(BootFile::shared(read.map_err(|_| Missing::NoFile)??, None))
    }

    /// The operator's own files.
    pub(crate) fn files(&self) -> Option<&Files> {
        self.files.as_ref()
    }

    /// Notes how a transfer goes. Does not wait: a note is lost when the head is that busy.
    pub(crate) fn transferred(&self, mac: Mac, phase: Phase, step: Step) {
        let _ =
            self.jobs.try_send(Job::new(move |state| (state.transferred(mac, phase, step), Wait::No), drop));
    }

    /// The cluster's names, as of now.
    pub(crate) fn zone(&self) -> Arc<Zone> {
        self.zone.borrow().clone()
    }

    /// The images that are served, as of now.
    pub(crate) fn images(&self) -> Arc<Images> {
        self.images.borrow().clone()
    }

    /// Whether the token is of a boot at that address.
    pub(crate) async fn knows(&self, token: BootToken, client: Ipv4Addr) -> bool {
        self.put(move |state| (state.holder(&token, client), Wait::No)).await.flatten().is_some()
    }

    /// A node's report; `None` if the token is not of a boot at that address.
    pub(crate) async fn report(&self, token: BootToken, client: Ipv4Addr, report: Report) -> Option<Orders> {
        self.ask(move |state| state.report(&token, client, report)).await.flatten()
    }

    /// All nodes.
    pub(crate) async fn nodes(&self) -> Vec<NodeView> {
        self.ask(|state| state.views()).await.unwrap_or_default()
    }

    /// Some of the nodes.
    pub(crate) async fn list(&self, wish: NodeWish) -> NodePage {
        self.ask(move |state| state.list(&wish)).await.unwrap_or_default()
    }

    /// The newest boots.
    pub(crate) async fn boots(&self, limit: usize) -> Vec<BootView> {
        let booted = self.ask(move |state| state.booted(limit)).await.unwrap_or_default();
        let mut boots = Vec::with_capacity(booted.len());
        for (mac, name, boot) in booted {
            let read = self.archive.boot(mac, boot).await;
            let mut lines =
                read.inspect_err(|error| tracing::error!("reading a boot: {error:#}")).unwrap_or_default();
            // The chart needs no words, and there are many lines.
            lines.iter_mut().for_each(|line| line.detail.clear());
            boots.push(BootView { name, lines });
        }
        boots
    }

    /// The leases.
    pub(crate) async fn leases(&self) -> Vec<LeaseView> {
        self.ask(|state| state.leases()).await.unwrap_or_default()
    }

    /// One node and its timeline.
    pub(crate) async fn node(&self, name: String) -> Option<NodeDetail> {
        let mut detail = self.ask(move |state| state.detail(&name)).await.flatten()?;
        // All that was answered is on disk; earlier boots are there alone.
        match self.archive.lines(detail.node.mac).await {
            Ok(lines) => detail.timeline = lines,
            Err(error) => tracing::error!("reading a timeline: {error:#}"),
        }
        Some(detail)
    }

    /// The swarm.
    pub(crate) async fn swarm(&self) -> SwarmView {
        self.ask(|state| state.swarm_view()).await.unwrap_or_default()
    }

    /// The newest rollout.
    pub(crate) async fn rollout(&self) -> Option<Rollout> {
        self.ask(|state| state.rollout()).await.flatten()
    }

    /// All stacks.
    pub(crate) async fn stacks(&self) -> Vec<StackView> {
        self.ask(|state| state.stack_views()).await.unwrap_or_default()
    }

    /// `None` only when the head is going down.
    async fn ask<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Option<T> {
        self.put(move |state| (change(state), Wait::ForDisk)).await
    }

    async fn put<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut State) -> (T, Wait) + Send + 'static,
    ) -> Option<T> {
        let (sender, answer) = oneshot::channel();
        self.jobs.send(Job::new(change, move |value| drop(sender.send(value)))).await.ok()?;
        answer.await.ok()
    }
}

/// The content of a file, read beside the state's task: a disk may be slow, and DHCP must not wait for it.
async fn content(file: Arc<ImageFile>) -> Option<Arc<Vec<u8>>> {
    if let Some(content) = file.at_hand() {
        return Some(content);
    }
    let read = tokio::task::spawn_blocking(move || file.read()).await.ok()?;
    read.inspect_err(|error| tracing::error!("reading a file of the image: {error}")).ok()
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests;
