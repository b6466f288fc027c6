//! The head: sockets, store, HTTP and timeline around the two pure crates.
//!
//! [`serve`] is the way in; it reads like a table of contents. [`client`] is the operator's way to a head that
//! runs. What is decided is decided in `cluster` and `netboot`.

mod artefacts;
pub mod client;
pub mod config;
pub mod doctor;
mod files;
mod head;
mod http;
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

use crate::artefacts::Image;
use crate::config::Settings;
use crate::head::Head;
use crate::store::Store;
use crate::thread::Thread;

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

/// Serves the cluster until SIGTERM or SIGINT.
///
/// # Errors
/// [`config::Mistakes`] if the configuration is wrong; otherwise a sentence that says what to do. Nothing is
/// served before everything is bound.
pub async fn serve(options: Options) -> anyhow::Result<()> {
    raise_open_files();
    let (settings, network) =
        config::read(&options.config, options.interface.as_deref(), options.image_dir.as_deref())?;
    // Leases and user data's rights are nobody else's business.
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&options.state_dir)
        .with_context(|| format!("making the state directory {}", options.state_dir.display()))?;
    let image = open_image(&settings, &options).await?;
    let store = Store::open(&options.state_dir).await?;

    let told = settings.dhcp(&network);
    let dhcp = pump::dhcp::bind(&network.interface, network.address, told.mode)?;
    let tftp = pump::tftp::bind(&network.interface, network.address)?;
    let dns = pump::dns::bind(&network.interface, network.address, &told.subnets)?;
    let web = http::bind(SocketAddrV4::new(network.address, settings.network.http_port)).await?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;

    let (head, keeper) = Head::new(settings, &network, image, store).await?;
    // DHCP and the state share a thread: each packet goes from one to the other and back.
    let own = head.clone();
    let mut conversation = Thread::start("head", move || async move {
        tokio::select! {
            ended = keeper.keep() => ended.context("keeping the state"),
            ended = pump::dhcp::run(dhcp, own) => ended.context("serving DHCP"),
        }
    })?;
    let operator = http::operator::bind(&options.state_dir)?;
    tracing::info!("ready on {} ({}/{})", network.interface, network.address, network.prefix);
    tokio::select! {
        ended = conversation.ended() => ended,
        ended = pump::tftp::run(tftp, head.clone()) => ended.context("serving TFTP"),
        ended = pump::dns::run(dns, head.clone()) => ended.context("serving DNS"),
        never = http::door::run(web, head.clone()) => never,
        ended = http::operator::run(operator, head.clone()) => ended.context("serving the operator"),
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

async fn open_image(settings: &Settings, options: &Options) -> anyhow::Result<Image> {
    let (source, access) = (settings.image.clone(), options.access.clone());
    let state_dir = options.state_dir.clone();
    let opened = tokio::task::spawn_blocking(move || source.open(&access, &state_dir));
    opened.await.context("opening the image")?
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
