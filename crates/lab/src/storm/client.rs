//! One client: from power-on to the report of its user data.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::Mac;
use cluster::phase::{Event, Phase, Step};
use cluster::plan::NodePlan;
use cluster::report::Report;

use super::{dhcp, http, tftp};

/// How long a boot script waits before it starts over after a failure.
const PAUSE: Duration = Duration::from_secs(2);

/// A client with its power off.
pub(super) struct Client {
    number: u16,
    mac: Mac,
    lwip: bool,
    post: Arc<dhcp::Post>,
}

impl Client {
    pub(super) fn new(number: u16, lwip: bool, post: Arc<dhcp::Post>) -> Self {
        let [high, low] = number.to_be_bytes();
        // A Raspberry Pi's, so that the head takes it for one.
        Self { number, mac: Mac([0xb8, 0x27, 0xeb, 0xff, high, low]), lwip, post }
    }

    /// Boots, starting over after a failure as a boot script does, until `limit`. The bytes that it fetched, unless it
    /// never got through, and why it started over, each time.
    pub(super) fn boot(&self, limit: Instant) -> (Option<u64>, Vec<String>) {
        let mut failures = Vec::new();
        loop {
            match self.attempt(limit) {
                Ok(fetched) => return (Some(fetched), failures),
                Err(why) => failures.push(why),
            }
            if Instant::now() + PAUSE >= limit {
                return (None, failures);
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn attempt(&self, limit: Instant) -> Result<u64, String> {
        let lease = self.post.lease(self.number, self.mac, self.lwip, limit)?;
        let options = if self.lwip { tftp::LWIP } else { tftp::LEGACY };
        let get = |path: &str, keep| tftp::get(lease.address, lease.server, path, options, keep);
        let name = format!("pxelinux.cfg/01-{}", self.mac.to_string().replace(':', "-"));
        let configuration = String::from_utf8_lossy(&get(&name, true)?.kept).into_owned();
        let value = |key: &str| {
            let mut words = configuration.lines().filter_map(|line| line.trim_start().split_once(' '));
            // Keywords are known in either case, as U-Boot knows them (boot/pxe_utils.c).
            let found = words.find(|(word, _)| word.eq_ignore_ascii_case(key));
            found.map(|(_, value)| value.trim()).ok_or_else(|| format!("the boot configuration has no {key}"))
        };
        let mut fetched = get(value("kernel")?, false)?.bytes;
        fetched += get(value("initrd")?, false)?.bytes;
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
