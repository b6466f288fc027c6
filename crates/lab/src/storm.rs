//! The power comes back: many software clients boot at once, with the timers and limits of a real boot loader.
//!
//! Each carries out the whole conversation (DHCP, TFTP, HTTP, a report) and counts what it fetched; it starts nothing.
//! All share one interface in a network namespace of their own, on the lab's bridge; each address becomes local there once
//! it is leased, so that each client speaks from its own.

mod client;
mod http;
mod load;
mod tftp;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use anyhow::Context;
use cluster::Mac;
use cluster::manifest::{MANIFEST_FILE, Manifest};
use serde::{Deserialize, Serialize};

use self::client::{Client, End};
pub use self::load::{Load, Protocol};
use crate::firmware::Sums;
use crate::{cable, dhcp, network};

/// The most clients: the head's pool holds no more.
pub const CLIENTS_LIMIT: u16 = 1_000;
/// How long a client may try, in seconds. A boot loader tries for ever; a person does not wait that long.
pub const PATIENCE_SECS: u64 = 600;
/// A client's thread has a few packets on its stack.
const STACK_BYTES: usize = 128 * 1024;
/// How much the clients' threads give way, setpriority(2).
const NICENESS: i32 = 19;
/// The clients' end of the cable to the bridge.
const PLUG: &str = "storm0";

/// The boot loader that a client behaves like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// U-Boot's own network stack: option 60, TFTP windows.
    Uboot,
    /// U-Boot with lwIP: no option 60, no windows, gives up sooner.
    UbootLwip,
    /// The ROM of a Pi 3 without a card: five tries, and what it loads from the head.
    Pi3Rom,
    /// The EEPROM of a Pi 4 without a card.
    Pi4Eeprom,
    /// All four by turns; both U-Boots if the image has no firmware.
    Mixed,
}

/// The boot loader of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loader {
    Uboot,
    UbootLwip,
    Pi3Rom,
    Pi4Eeprom,
}

impl Profile {
    /// What the clients are, by turns.
    ///
    /// # Errors
    /// They boot without a card, and the image has no firmware for that.
    fn loaders(self, sums: &Sums) -> anyhow::Result<&'static [Loader]> {
        let loaders: &[Loader] = match self {
            Self::Uboot => &[Loader::Uboot],
            Self::UbootLwip => &[Loader::UbootLwip],
            Self::Pi3Rom => &[Loader::Pi3Rom],
            Self::Pi4Eeprom => &[Loader::Pi4Eeprom],
            Self::Mixed if !sums.has_firmware() => &[Loader::Uboot, Loader::UbootLwip],
            Self::Mixed => &[Loader::Uboot, Loader::UbootLwip, Loader::Pi3Rom, Loader::Pi4Eeprom],
        };
        let cardless = loaders.iter().any(|loader| matches!(loader, Loader::Pi3Rom | Loader::Pi4Eeprom));
        anyhow::ensure!(
            !cardless || sums.has_firmware(),
            "the image has no firmware for boards without a card: name its package in image.toml, as [firmware] with \
             a line package = \"raspi-firmware\", and build the image anew"
        );
        Ok(loaders)
    }
}

/// A storm to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// How many clients, 1 to [`CLIENTS_LIMIT`].
    pub clients: u16,
    /// What they are.
    pub profile: Profile,
    /// Over how long they are powered on, evenly, in milliseconds.
    pub spread_ms: u64,
    /// How long after the first client the head can be reached, in milliseconds.
    pub head_late_ms: u64,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// How many clients there were.
    pub clients: u16,
    /// How many fetched everything.
    pub booted: usize,
    /// How many Pi 3 ROMs nobody answered in their five tries: silent until their power is cut.
    pub asleep: usize,
    /// How many Pi 3 ROMs were answered too soon: silent until their power is cut.
    pub locked_up: usize,
    /// Why clients started over or fell silent, the most frequent first, with how often it happened.
    pub restarts: Vec<(String, usize)>,
    /// Seconds from a client's power-on to its last byte: half, 95 and 99 of a hundred were done by then.
    pub seconds: Percentiles,
    /// Seconds from the first power-on to the last byte of all.
    pub seconds_total: f64,
    /// What all fetched, in bytes.
    pub bytes: u64,
    /// Who was told by an ACK that it has which address.
    pub acknowledged: BTreeSet<(Mac, Ipv4Addr)>,
    /// The most memory that the head had, in MiB (`VmHWM`, proc(5)).
    pub head_memory_mib: f64,
    /// Processor time of the head during the storm, in seconds.
    pub head_cpu_seconds: f64,
}

/// A distribution, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// 95 of a hundred are at most this.
    pub p95: f64,
    /// 99 of a hundred are at most this.
    pub p99: f64,
}

impl Percentiles {
    fn of(mut all: Vec<f64>) -> Self {
        all.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let place = (part * all.len() as f64).ceil() as usize;
            all.get(place.saturating_sub(1)).copied().unwrap_or_default()
        };
        Self { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
    }
}

/// Carries a storm out. Has to be called inside the lab.
///
/// # Errors
/// The clients' network cannot be made. What goes wrong with a client is in the outcome.
pub(crate) fn run(plan: Plan, head: u32, image: &Path) -> anyhow::Result<Outcome> {
    let manifest = std::fs::read(image.join(MANIFEST_FILE)).context("reading the image's manifest")?;
    let manifest: Manifest = serde_json::from_slice(&manifest).context("reading the image's manifest")?;
    let sums = Sums::new(&manifest);
    let loaders = plan.profile.loaders(&sums)?;
    let before = cpu_seconds(head);
    let began = Instant::now();
    // A thread can leave the namespace alone; those that it starts are where it is.
    let clients = std::thread::spawn(move || unleash(plan, loaders, Arc::new(sums)));
    let (ends, acknowledged) =
        clients.join().map_err(|_| anyhow::anyhow!("the clients' thread panicked"))??;
    let mut restarts = BTreeMap::<String, usize>::new();
    let (mut seconds, mut bytes, mut asleep, mut locked_up) = (Vec::new(), 0, 0, 0);
    for Told { took, end, failures } in ends {
        match end {
            End::Booted(fetched) => {
                seconds.push(took.as_secs_f64());
                bytes += fetched;
            }
            End::Asleep => asleep += 1,
            End::LockedUp => locked_up += 1,
            End::GaveUp => {}
        }
        for why in failures {
            *restarts.entry(why).or_default() += 1;
        }
    }
    let mut restarts: Vec<_> = restarts.into_iter().collect();
    restarts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Ok(Outcome {
        clients: plan.clients,
        booted: seconds.len(),
        asleep,
        locked_up,
        restarts,
        seconds: Percentiles::of(seconds),
        seconds_total: began.elapsed().as_secs_f64(),
        bytes,
        acknowledged,
        head_memory_mib: memory_mib(head),
        head_cpu_seconds: cpu_seconds(head) - before,
    })
}

/// What a client tells at its end.
struct Told {
    took: Duration,
    end: End,
    failures: Vec<String>,
}

type Acknowledged = BTreeSet<(Mac, Ipv4Addr)>;

fn unleash(plan: Plan, loaders: &[Loader], sums: Arc<Sums>) -> anyhow::Result<(Vec<Told>, Acknowledged)> {
    plug_in(plan.head_late_ms > 0)?;
    let post = Arc::new(dhcp::Post::open(cable::OWN)?);
    // The clients are other machines: they must not take the head's processor, nor that of their post. Threads inherit
    // this.
    rustix::process::setpriority_process(None, NICENESS).context("giving way to the head")?;
    let (told, ends) = channel();
    let late = Duration::from_millis(plan.head_late_ms);
    let bridge = std::thread::spawn(move || connect(late));
    let began = Instant::now();
    for number in 1..=plan.clients {
        let loader = loaders[usize::from(number - 1) % loaders.len()];
        let client = Client::new(number, loader, post.clone(), sums.clone());
        let wait = Duration::from_millis(plan.spread_ms * u64::from(number - 1) / u64::from(plan.clients));
        let told = told.clone();
        let body = move || {
            std::thread::sleep(wait.saturating_sub(began.elapsed()));
            let powered_on = Instant::now();
            let (end, failures) = client.boot(powered_on + Duration::from_secs(PATIENCE_SECS));
            // The receiver waits for every client.
            let _ = told.send(Told { took: powered_on.elapsed(), end, failures });
        };
        std::thread::Builder::new().stack_size(STACK_BYTES).spawn(body).context("starting a client")?;
    }
    drop(told);
    let ends = ends.into_iter().collect();
    bridge.join().map_err(|_| anyhow::anyhow!("the bridge's thread panicked"))??;
    Ok((ends, post.acknowledged()))
}

/// Lays the clients' cable. Its end at the bridge stays loose for a head that is late.
fn plug_in(late: bool) -> anyhow::Result<()> {
    cable::leave(PLUG, None)?;
    if !late {
        cable::connect(PLUG)?;
    }
    network::ip(&format!("addr add {}/{} dev {}\n", network::STORM, network::PREFIX, cable::OWN))
}

/// The head can be reached from now on.
fn connect(late: Duration) -> anyhow::Result<()> {
    if late.is_zero() {
        return Ok(());
    }
    std::thread::sleep(late);
    cable::connect(PLUG)
}

fn memory_mib(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1_024.0
}

/// Processor time so far, from `/proc/PID/stat` (proc(5)), whose fields are counted from behind the program's name.
fn cpu_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("stat"));
    let stat = stat.unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks =
        |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    // USER_HZ is 100 on every architecture that Linux has today.
    (ticks(11) + ticks(12)) / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_members_of_what_was_measured() {
        let all = (1..=100).rev().map(f64::from).collect();
        assert_eq!(Percentiles::of(all), Percentiles { p50: 50.0, p95: 95.0, p99: 99.0 });
        assert_eq!(Percentiles::of(vec![7.0]).p99, 7.0);
        assert_eq!(Percentiles::of(Vec::new()), Percentiles::default());
    }

    #[test]
    fn a_process_has_memory_and_time() {
        assert!(memory_mib(std::process::id()) > 0.5);
        assert!(cpu_seconds(std::process::id()) >= 0.0);
    }
}
