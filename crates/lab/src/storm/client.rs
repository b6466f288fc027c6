//! One client: from power-on to the report of its user data.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::Mac;
use cluster::phase::{Event, Phase, Step};
use cluster::plan::NodePlan;
use cluster::report::Report;

use super::{Loader, http, tftp};
use crate::firmware::Setback;
use crate::{dhcp, firmware};

/// How long a boot script waits before it starts over after a failure.
const PAUSE: Duration = Duration::from_secs(2);

/// A client with its power off.
pub(super) struct Client {
    number: u16,
    mac: Mac,
    loader: Loader,
    post: Arc<dhcp::Post>,
    sums: Arc<firmware::Sums>,
}

/// What came of a client's patience.
pub(super) enum End {
    /// It has everything: so many bytes.
    Booted(u64),
    /// It lost its patience.
    GaveUp,
    /// Its ROM was not answered in its five tries, and is silent until its power is cut.
    Asleep,
    /// Its ROM was answered too soon, and is silent until its power is cut.
    LockedUp,
}

impl Client {
    pub(super) fn new(number: u16, loader: Loader, post: Arc<dhcp::Post>, sums: Arc<firmware::Sums>) -> Self {
        let [high, low] = number.to_be_bytes();
        // A Raspberry Pi's, so that the head takes it for one.
        Self { number, mac: Mac([0xb8, 0x27, 0xeb, 0xff, high, low]), loader, post, sums }
    }

    /// Boots, starting over after a failure as its boot loader does, until `limit`. How it ended, and why it started
    /// over, each time.
    pub(super) fn boot(&self, limit: Instant) -> (End, Vec<String>) {
        let mut failures = Vec::new();
        loop {
            match self.attempt(limit) {
                Ok(fetched) => return (End::Booted(fetched), failures),
                Err(Setback::Again(why)) => failures.push(why),
                Err(Setback::Asleep(why)) => {
                    failures.push(why);
                    return (End::Asleep, failures);
                }
                Err(Setback::LockedUp) => return (End::LockedUp, failures),
            }
            if Instant::now() + PAUSE >= limit {
                return (End::GaveUp, failures);
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn attempt(&self, limit: Instant) -> Result<u64, Setback> {
        let started = match self.loader {
            Loader::Uboot => return Ok(self.by_uboot(false, tftp::LEGACY, limit)?),
            Loader::UbootLwip => return Ok(self.by_uboot(true, tftp::LWIP, limit)?),
            Loader::Pi3Rom => firmware::pi_3(&self.post, self.mac, &self.sums, None, limit)?,
            Loader::Pi4Eeprom => firmware::pi_4(&self.post, self.mac, &self.sums, limit)?,
        };
        Ok(started.bytes + self.as_node(started.address, &started.plan)?)
    }

    fn by_uboot(&self, lwip: bool, options: tftp::Options, limit: Instant) -> Result<u64, String> {
        let lease = self.post.lease(self.number, self.mac, lwip, limit)?;
        let get = |path: &str, keep| tftp::get(lease.address, lease.server, path, options, keep);
        let name = format!("pxelinux.cfg/01-{}", self.mac.to_string().replace(':', "-"));
        let configuration = String::from_utf8_lossy(&get(&name, true)?.kept).into_owned();
        let value = |key: &str| {
            let mut words = configuration.lines().filter_map(|line| line.trim_start().split_once(' '));
            // Keywords are known in either case, as U-Boot knows them (boot/pxe_utils.c).
            let found = words.find(|(word, _)| word.eq_ignore_ascii_case(key));
            found.map(|(_, value)| value.trim()).ok_or_else(|| format!("the boot configuration has no {key}"))
        };
        let (kernel, initramfs) = (value("kernel")?, value("initrd")?);
        let mut fetched = get(kernel.split('#').next().unwrap_or(kernel), false)?.bytes;
        // The same name: both are in one file, which U-Boot has already.
        if kernel.split('#').next() != Some(initramfs) {
            fetched += get(initramfs, false)?.bytes;
        }
        let plan = NodePlan::parse(value("append")?).map_err(|error| error.to_string())?;
        fetched += self.as_node(lease.address, &plan)?;
        Ok(fetched)
    }

    /// What the node's own programs do.
    fn as_node(&self, address: Ipv4Addr, plan: &NodePlan) -> Result<u64, String> {
        let head = plan.head;
        let system = http::get(address, head, &plan.system_path())?;
        if system != plan.system_bytes {
            return Err(format!("the system image has {system} bytes instead of {}", plan.system_bytes));
        }
        let user_data = http::get(address, head, &user_data_path(&plan.user_data_url, head)?)?;
        let events = vec![Event {
            uptime_ms: 1,
            phase: Phase::UserData,
            step: Step::Done,
            detail: "a client of the storm".to_owned(),
        }];
        let report = Report { uptime_ms: 1, events, ..Report::default() };
        let body = serde_json::to_string(&report).map_err(|error| error.to_string())?;
        http::post(address, head, &plan.report_path(), &body)?;
        Ok(system + user_data)
    }
}

fn user_data_path(url: &str, head: SocketAddrV4) -> Result<String, String> {
    url.strip_prefix(&format!("http://{head}"))
        .map(str::to_owned)
        .ok_or("the user data is elsewhere".to_owned())
}
