//! Looks at what a head needs before it serves: configuration, interface, ports, other DHCP servers, clock, disk.
//!
//! Changes nothing. Every finding that is not good says what to do.

mod machine;

use std::net::Ipv4Addr;
use std::path::Path;

use serde::Serialize;

use crate::Options;
use crate::artefacts::{Image, Source};
use crate::client::SOCKET;
use crate::config::{self, Resolved, Settings};
use crate::pump::prober::Prober;
use crate::pump::{self, rivals};

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub check: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was seen, a sentence.
    pub seen: String,
    /// What to do about it; empty if it is good.
    pub remedy: String,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing to do.
    Good,
    /// It serves, but not as well as it could.
    Doubtful,
    /// It does not serve.
    Bad,
}

/// Looks at everything, and tells of each finding as soon as it is made. Takes some seconds: other DHCP servers are given
/// time to answer. Has to be called in a tokio runtime.
pub async fn examine(options: &Options, mut tell: impl FnMut(Finding)) {
    let mut told = |findings: Vec<Finding>| findings.into_iter().for_each(&mut tell);
    let (config, interface) = (&options.config, options.interface.as_deref());
    let (settings, network) = match config::read(config, interface, options.image_dir.as_deref()) {
        Ok(read) => read,
        Err(error) => {
            let remedy = "correct it; the other checks need it".to_owned();
            return told(vec![bad("configuration", format!("{error:#}"), &remedy)]);
        }
    };
    let (nodes, subnets) = (settings.nodes.len(), 1 + settings.subnets.len());
    let seen = format!("{}: {nodes} nodes named, {subnets} networks", config.display());
    told(vec![good("configuration", seen)]);
    told(machine::interface(&network));
    told(vec![machine::neighbours(&network, nodes)]);
    told(ports(&settings, &network, &options.state_dir).await);
    told(vec![others(&settings, &network).await]);
    told(vec![machine::clock()]);
    told(machine::disk(&options.state_dir));
    told(machine::service(config, &directories(&settings)));
    told(vec![image(&settings, &options.access).await]);
}

/// The directories that the configuration names.
fn directories(settings: &Settings) -> Vec<&Path> {
    let image = match &settings.images.default {
        Source::Directory(directory) => Some(directory.as_path()),
        Source::Store { .. } => None,
    };
    image.into_iter().chain([settings.user_data.directory.as_path()]).collect()
}

/// Whether what is served can be bound, or a head has it already.
async fn ports(settings: &Settings, network: &Resolved, state_dir: &Path) -> Vec<Finding> {
    if std::os::unix::net::UnixStream::connect(state_dir.join(SOCKET)).is_ok() {
        return vec![good("ports", "a head serves on them".to_owned())];
    }
    let told = settings.dhcp(network);
    let (interface, address) = (&network.interface, network.address);
    let web = std::net::SocketAddrV4::new(address, settings.network.http_port);
    let tried = [
        ("port 67, DHCP", pump::dhcp::bind(interface, address, told.mode).map(drop)),
        ("port 69, TFTP", pump::tftp::bind(interface, address, &told.subnets).map(drop)),
        ("port 53, DNS", pump::dns::bind(interface, address, &told.subnets).map(drop)),
        ("HTTP", crate::http::bind(web).await.map(drop)),
    ];
    let findings = tried.into_iter().map(|(check, tried)| match tried {
        Ok(()) => good(check, format!("free on {interface}")),
        // The sentence says what to do.
        Err(error) => bad(check, format!("{error:#}"), ""),
    });
    findings.collect()
}

/// Whether somebody else answers DHCP on the wire.
async fn others(settings: &Settings, network: &Resolved) -> Finding {
    const CHECK: &str = "other DHCP servers";
    let prober = Prober::open(&network.interface).ok();
    let listen = async {
        match &prober {
            Some(prober) => prober.listen().await,
            None => std::future::pending().await,
        }
    };
    let found = tokio::select! {
        found = rivals::look(&network.interface, network.address, prober.as_ref()) => found,
        never = listen => never,
    };
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            return doubtful(CHECK, format!("could not be looked for: {error:#}"), "run this as root");
        }
    };
    let names = |adds_only: bool| {
        let named = found.iter().filter(|(_, found)| found.adds_only == adds_only);
        let name = |(server, found): (&Ipv4Addr, &rivals::Found)| match found.mac {
            Some(mac) => format!("{server} ({mac})"),
            None => server.to_string(),
        };
        named.map(name).collect::<Vec<_>>().join(", ")
    };
    let (giving, adding) = (names(false), names(true));
    if !adding.is_empty() {
        return bad(
            CHECK,
            format!("{adding} adds boot information to what DHCP says on {}", network.interface),
            "stop it: boards may boot what it names",
        );
    }
    let is_proxy = settings.network.mode == netboot::dhcp::Mode::Proxy;
    match (is_proxy, giving.is_empty()) {
        (false, true) => good(CHECK, format!("none answers on {}", network.interface)),
        (true, false) => good(CHECK, format!("{giving} gives the addresses")),
        (false, false) => bad(
            CHECK,
            format!("{giving} answers on {} too: nodes take whichever answer comes first", network.interface),
            "stop it, or give the cluster a network of its own, or set `dhcp = \"proxy\"` in [network]",
        ),
        (true, true) => bad(
            CHECK,
            "none answers, and with `dhcp = \"proxy\"` the head gives no addresses".to_owned(),
            "set `dhcp = \"authoritative\"` in [network], or start the other server",
        ),
    }
}

async fn image(settings: &Settings, access: &depot::Access) -> Finding {
    let source = settings.images.default.clone();
    let directory = match source.clone() {
        Source::Directory(directory) => directory,
        Source::Store { place, .. } => {
            let access = source.access(access);
            let asked = tokio::task::spawn_blocking(move || (depot::look(&place, &access), place));
            return match asked.await {
                Ok((Ok(id), place)) => good("image", format!("{place} has the image {id}")),
                // The sentence says what to do.
                Ok((Err(error), _)) => bad("image", format!("{error:#}"), ""),
                Err(error) => bad("image", format!("asking the store: {error}"), ""),
            };
        }
    };
    match Image::open(&directory) {
        Ok(image) => {
            good("image", format!("{} is whole ({} MB)", image.system_sha256, image.system_bytes / 1_000_000))
        }
        // The sentence says what to do.
        Err(error) => bad("image", format!("{error:#}"), ""),
    }
}

fn good(check: &'static str, seen: String) -> Finding {
    Finding { check, verdict: Verdict::Good, seen, remedy: String::new() }
}

fn doubtful(check: &'static str, seen: String, remedy: &str) -> Finding {
    Finding { check, verdict: Verdict::Doubtful, seen, remedy: remedy.to_owned() }
}

fn bad(check: &'static str, seen: String, remedy: &str) -> Finding {
    Finding { check, verdict: Verdict::Bad, seen, remedy: remedy.to_owned() }
}
