//! The head: sockets, store, HTTP and timeline around the two pure crates.
//!
//! [`serve`] is the way in; it reads like a table of contents. [`client`] is the operator's way to a head that
//! runs. What is decided is decided in `cluster` and `netboot`.

mod access;
mod artefacts;
pub mod backup;
pub mod client;
pub mod config;
mod disk;
pub mod doctor;
mod files;
mod head;
mod http;
pub mod interface;
pub mod neighbours;
mod power;
mod pump;
mod store;
mod thread;
mod user_data;

use std::net::SocketAddrV4;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::access::Principal;
use crate::artefacts::Images;
use crate::config::{Resolved, Settings};
use crate::head::Head;
use crate::http::operator::{Desk, Door, DoorFacts};
use crate::interface::Watched;
use crate::store::Store;
use crate::thread::Thread;

pub use crate::user_data::BYTES_LIMIT as USER_DATA_LIMIT;

/// How many files and sockets the head may have open.
const OPEN_FILES: u64 = 65_536;

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster's configuration.
    pub config: PathBuf,
    /// The cluster's interface; the configuration's if absent.
    pub interface: Option<String>,
    /// Where leases, timelines and the operator's socket are kept.
    pub state_dir: PathBuf,
    /// The image to serve; the configuration's if absent.
    pub image_dir: Option<PathBuf>,
    /// How object stores are asked, if the image is in one.
    pub access: depot::Access,
}

impl Options {
    /// Reads the configuration; what the command line says goes before it.
    fn settings(&self) -> anyhow::Result<(Settings, Resolved)> {
        config::read(&self.config, self.interface.as_deref(), self.image_dir.as_deref())
    }

    /// Opens and verifies the images: some hundred megabytes are read, or fetched first. That goes on if nobody waits for it
    /// any more; `turn` is kept until it ended.
    async fn images<T: Send + 'static>(&self, settings: &Settings, turn: T) -> anyhow::Result<Images> {
        let (sources, access) = (settings.images.clone(), self.access.clone());
        let state_dir = self.state_dir.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let opened = sources.open(&access, &state_dir);
            drop(turn);
            opened
        });
        opened.await.context("opening the images")?
    }
}

/// Where operators who are not on this machine find the head.
#[derive(Clone, Debug)]
pub struct Welcome {
    /// The address for browsers and for the command line's `--url`.
    pub url: String,
    /// SHA-256 of the certificate, in hex.
    pub fingerprint: String,
    /// The address that logs in, once: nobody has logged in yet. A secret that belongs into no log.
    pub login_url: Option<String>,
}

/// Serves the cluster until SIGTERM or SIGINT. `welcome` is called once, if there is a door for operators.
///
/// # Errors
/// [`config::Mistakes`] if the configuration is wrong; otherwise a sentence that says what to do. Nothing is
/// served before everything is bound.
pub async fn serve(options: Options, welcome: impl FnOnce(&Welcome)) -> anyhow::Result<()> {
    raise_open_files();
    let (settings, network) = options.settings()?;
    neighbours::make_room(&network, settings.nodes.len());
    // Leases and user data's rights are nobody else's business.
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&options.state_dir)
        .with_context(|| format!("making the state directory {}", options.state_dir.display()))?;
    let images = options.images(&settings, ()).await?;
    let store = Store::open(&options.state_dir, &settings.store).await?;

    let told = settings.dhcp(&network);
    let interface = Watched::new(&network.interface)?;
    let dhcp = pump::dhcp::bind(&network.interface, network.address, told.mode)?;
    let tftp = pump::tftp::bind(&network.interface, network.address, &told.subnets)?;
    let dns = pump::dns::bind(&network.interface, network.address, &told.subnets)?;
    let web = http::bind(SocketAddrV4::new(network.address, settings.network.http_port)).await?;
    let door = Door::bind(&settings.operator, &options.state_dir, network.address).await?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;

    let (head, keeper) = Head::new(settings, &network, images, store).await?;
    // DHCP and the state share a thread: each packet goes from one to the other and back.
    let own = head.clone();
    let mut conversation = Thread::start("head", move || async move {
        tokio::select! {
            ended = keeper.keep() => ended.context("keeping the state"),
            ended = pump::dhcp::run(dhcp, own) => ended.context("serving DHCP"),
        }
    })?;
    let own = head.clone();
    let mut names =
        Thread::start("dns", move || async move { pump::dns::run(dns, own).await.context("serving DNS") })?;
    let operator = http::operator::bind(&options.state_dir)?;
    let desk = Desk::new(head.clone(), door.as_ref().map(|door| door.facts.clone()), options);
    if let Some(door) = &door {
        welcome(&invite(&head, &door.facts).await?);
    }
    tracing::info!("ready on {} ({}/{})", network.interface, network.address, network.prefix);
    tokio::select! {
        ended = conversation.ended() => ended,
        ended = pump::tftp::run(tftp, head.clone()) => ended.context("serving TFTP"),
        ended = names.ended() => ended,
        never = http::door::run(web, head.clone()) => never,
        ended = http::operator::run(operator, desk.clone()) => ended.context("serving the operator"),
        never = open(door, desk) => never,
        gone = interface.gone() => Err(gone),
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

/// Serves the operators' door, if there is one.
async fn open(door: Option<Door>, desk: Desk) -> ! {
    match door {
        Some(door) => door.run(desk).await,
        None => std::future::pending().await,
    }
}

/// Where the door is, and how the first operator comes in.
async fn invite(head: &Head, door: &DoorFacts) -> anyhow::Result<Welcome> {
    let mut login_url = None;
    if head.is_unclaimed().await {
        let made = head.make_login(Principal::of_socket(None)).await;
        let (secret, _) = made.map_err(|refusal| anyhow::anyhow!("making the first login: {refusal:?}"))?;
        login_url = Some(door.login_url(&secret));
    }
    Ok(Welcome { url: door.url.clone(), fingerprint: door.fingerprint.clone(), login_url })
}

/// A transfer and a connection of every node are open at the same time; many systems begin with 1,024 for a process,
/// and let it have more (getrlimit(2)).
fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(soft, hard)| setrlimit(Resource::RLIMIT_NOFILE, soft.max(hard.min(OPEN_FILES)), hard));
    if let Err(error) = raised {
        tracing::warn!("raising the limit of open files: {error}");
    }
}
