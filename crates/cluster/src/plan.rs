//! What one node gets this time: the boot plan, and the kernel command line that carries it.
//!
//! The head writes the command line ([`BootPlan::command_line`]), init and the agent read it
//! ([`NodePlan::parse`]). It has to stay under U-Boot's limit for APPEND.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::NodeName;
use crate::life::Life;

mod choices;
mod digest;
mod keep;

pub use choices::{InvalidRootPlace, InvalidWipePolicy, RootPlace, WipePolicy};
pub(crate) use digest::hex;
pub use digest::{Digest, InvalidDigest};
pub use keep::{InvalidKeep, Keep};

/// The longest APPEND that U-Boot passes on, in bytes (`CONFIG_SYS_CBSIZE` of its PXE parser).
pub const COMMAND_LINE_LIMIT: usize = 1_024;

/// The kernel parameter that names the user data; Foreman's name for it, kept from the original project.
pub const USER_DATA_PARAMETER: &str = "foreman_user_data_url";

/// How long user data may run unless the configuration says otherwise, in seconds.
pub const USER_DATA_SECS: u32 = 30 * 60;

/// One boot's secret: 128 random bits. Whoever holds it, at the node's address, is that node for that boot.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BootToken([u8; 16]);

impl BootToken {
    /// A token of the given random bytes.
    pub fn new(random: [u8; 16]) -> Self {
        Self(random)
    }

    /// The token as it stands in a URL: 32 hex digits. Not for logs.
    pub fn expose(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Path on the head where reports are posted with it ([`crate::report::Report`] in, [`crate::report::Orders`] out).
    pub fn report_path(&self) -> String {
        format!("/boot/{}/report", self.expose())
    }
}

impl From<BootToken> for String {
    fn from(token: BootToken) -> Self {
        token.expose()
    }
}

impl TryFrom<String> for BootToken {
    type Error = InvalidToken;
    fn try_from(text: String) -> Result<Self, InvalidToken> {
        text.parse()
    }
}

/// The text was not a boot token, nor another 128 random bits.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a boot token")]
pub struct InvalidToken;

impl FromStr for BootToken {
    type Err = InvalidToken;
    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        hex(text).map(Self).ok_or(InvalidToken)
    }
}

impl fmt::Debug for BootToken {
    /// Secrets never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BootToken(…)")
    }
}

/// What happens to the data partition at boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wipe {
    /// A new file system at every boot: nothing of the last life remains.
    #[default]
    Always,
    /// A new file system unless the one that is there was made for the plan's image and this life, and is sound.
    OnChange(Life),
}

impl fmt::Display for Wipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("always"),
            Self::OnChange(life) => write!(f, "on-change:{life}"),
        }
    }
}

impl FromStr for Wipe {
    type Err = InvalidToken;
    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        match text.strip_prefix("on-change:") {
            Some(life) => life.parse().map(Self::OnChange),
            None if text == "always" => Ok(Self::Always),
            None => Err(InvalidToken),
        }
    }
}

/// What one node gets this time. Made by the head when the node fetches its boot configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootPlan {
    /// TFTP path of the kernel.
    pub kernel: String,
    /// TFTP path of the initramfs.
    pub initramfs: String,
    /// TFTP path of both in one file, if the image has that and the boot loader is to try it first.
    pub one_file: Option<String>,
    /// Further kernel parameters from the configuration, such as `console=ttyAMA0`. No spaces at the ends.
    pub kernel_parameters: String,
    /// What the node itself reads of its plan.
    pub node: NodePlan,
}

impl BootPlan {
    /// The kernel command line. The result is longer than [`COMMAND_LINE_LIMIT`] only if the configured
    /// parameters are; the head checks that when it reads them.
    pub fn command_line(&self) -> String {
        let own = self.node.command_line();
        if self.kernel_parameters.is_empty() { own } else { format!("{} {own}", self.kernel_parameters) }
    }
}

/// The part of a boot plan that the node reads from its kernel command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePlan {
    /// The node's name; its host name.
    pub name: NodeName,
    /// Its address on the cluster's network.
    pub address: Ipv4Addr,
    /// Length of the network's prefix, 0 to 32.
    pub prefix: u8,
    /// The router, if there is one.
    pub gateway: Option<Ipv4Addr>,
    /// The resolver: the head.
    pub dns: Ipv4Addr,
    /// Where the head answers HTTP.
    pub head: SocketAddrV4,
    /// Digest of the system image.
    pub system: Digest,
    /// Size of the system image in bytes.
    pub system_bytes: u64,
    /// Root of the hash tree over the system image ([`crate::verity`]); `None`: the image is checked as a whole, before it
    /// is used and not while it is.
    pub verity: Option<Digest>,
    /// Where root and data lie.
    pub root: RootPlace,
    /// What happens to the data partition.
    pub wipe: Wipe,
    /// What of the card no wipe reaches.
    pub keep: Keep,
    /// Where the user data is. On our head it carries the boot token; any server will do.
    pub user_data_url: String,
    /// How long it may run, in seconds.
    pub user_data_secs: u32,
    /// The boot token for reports to our head.
    pub token: BootToken,
}

/// A kernel command line lacks something or has it wrong.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidCommandLine {
    /// The parameter is not there.
    #[error("the kernel command line has no `{0}=`")]
    Missing(&'static str),
    /// The parameter's value cannot be read.
    #[error("the kernel parameter `{0}=` has a value that cannot be read")]
    Invalid(&'static str),
}

const IP: &str = "ip";
/// Not part of the plan: it stands among the parameters of the configuration, if at all.
const WATCHDOG: &str = "fledermaus.watchdog";
const HEAD: &str = "fledermaus.head";
const SYSTEM: &str = "fledermaus.system";
const TOKEN: &str = "fledermaus.token";
const VERITY: &str = "fledermaus.verity";
const ROOT: &str = "fledermaus.root";
const WIPE: &str = "fledermaus.wipe";
const KEEP: &str = "fledermaus.keep";
const USER_DATA_LIMIT: &str = "fledermaus.user_data_secs";

impl NodePlan {
    /// The node's part of the kernel command line.
    ///
    /// `ip=` has the kernel's own form (Documentation/admin-guide/nfs/nfsroot.rst); init reads it.
    pub fn command_line(&self) -> String {
        let gateway = self.gateway.map(|gateway| gateway.to_string()).unwrap_or_default();
        let verity = self.verity.map(|root| format!(" {VERITY}={root}")).unwrap_or_default();
        let limit = match self.user_data_secs {
            USER_DATA_SECS => String::new(),
            other => format!(" {USER_DATA_LIMIT}={other}"),
        };
        let keep = if self.keep == Keep::NOTHING { String::new() } else { format!(" {KEEP}={}", self.keep) };
        format!(
            "{IP}={}::{gateway}:{}:{}::off:{} {HEAD}={} {SYSTEM}={}:{}{verity} {ROOT}={} {WIPE}={}{keep}{limit} {TOKEN}={} {USER_DATA_PARAMETER}={}",
            self.address,
            netmask(self.prefix),
            self.name,
            self.dns,
            self.head,
            self.system,
            self.system_bytes,
            self.root.word(),
            self.wipe,
            self.token.expose(),
            self.user_data_url,
        )
    }

    /// Reads a node's plan from `/proc/cmdline`.
    ///
    /// # Errors
    /// The first parameter that is missing or cannot be read.
    pub fn parse(command_line: &str) -> Result<Self, InvalidCommandLine> {
        let parameters: BTreeMap<&str, &str> =
            command_line.split_ascii_whitespace().filter_map(|word| word.split_once('=')).collect();
        let value = |name| parameters.get(name).copied().ok_or(InvalidCommandLine::Missing(name));
        let ip: Vec<&str> = value(IP)?.split(':').collect();
        let [address, _, gateway, mask, name, _, _, dns] = ip[..] else {
            return Err(InvalidCommandLine::Invalid(IP));
        };
        let (system, system_bytes) =
            value(SYSTEM)?.split_once(':').ok_or(InvalidCommandLine::Invalid(SYSTEM))?;
        let wipe = parameters.get(WIPE).map(|text| read(WIPE, text)).transpose()?.unwrap_or_default();
        let verity = parameters.get(VERITY).map(|text| read(VERITY, text)).transpose()?;
        Ok(Self {
            name: read(IP, name)?,
            address: read(IP, address)?,
            prefix: prefix(read(IP, mask)?).ok_or(InvalidCommandLine::Invalid(IP))?,
            gateway: if gateway.is_empty() { None } else { Some(read(IP, gateway)?) },
            dns: read(IP, dns)?,
            head: read(HEAD, value(HEAD)?)?,
            system: read(SYSTEM, system)?,
            system_bytes: read(SYSTEM, system_bytes)?,
            verity,
            root: parameters.get(ROOT).map(|text| read(ROOT, text)).transpose()?.unwrap_or_default(),
            wipe,
            keep: parameters.get(KEEP).map(|text| read(KEEP, text)).transpose()?.unwrap_or_default(),
            user_data_url: value(USER_DATA_PARAMETER)?.to_owned(),
            user_data_secs: parameters
                .get(USER_DATA_LIMIT)
                .map_or(Ok(USER_DATA_SECS), |text| read(USER_DATA_LIMIT, text))?,
            token: read(TOKEN, value(TOKEN)?)?,
        })
    }

    /// The stamp that the data partition has to carry to be kept; `None`: it never is.
    pub fn life_stamp(&self) -> Option<String> {
        match &self.wipe {
            Wipe::Always => None,
            Wipe::OnChange(life) => Some(life.stamp(&self.system)),
        }
    }

    /// Path on the head where the system image is. Answers ranges (RFC 9110 section 14).
    pub fn system_path(&self) -> String {
        format!("/system/{}", self.system)
    }

    /// Path on the head where reports are posted until the head gives the node another token
    /// ([`crate::report::Orders::token`]).
    pub fn report_path(&self) -> String {
        self.token.report_path()
    }
}

/// Whether a node feeds its hardware watchdog: unless its kernel command line says `fledermaus.watchdog=off`. That is for
/// emulators: QEMU's Pi resets as soon as its watchdog is started (hw/misc/bcm2835_powermgt.c).
pub fn feeds_watchdog(command_line: &str) -> bool {
    let mut parameters = command_line.split_ascii_whitespace().filter_map(|word| word.split_once('='));
    !parameters.any(|parameter| parameter == (WATCHDOG, "off"))
}

/// Reads one parameter's value, or part of it.
fn read<T: FromStr>(parameter: &'static str, text: &str) -> Result<T, InvalidCommandLine> {
    text.parse().map_err(|_| InvalidCommandLine::Invalid(parameter))
}

/// The netmask of a prefix length (0 to 32).
pub fn netmask(prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0))
}

fn prefix(netmask: Ipv4Addr) -> Option<u8> {
    let bits = netmask.to_bits();
    (bits.leading_ones() + bits.trailing_zeros() >= 32).then(|| bits.leading_ones() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::life::LifeNumber;

    fn plan() -> NodePlan {
        let token = BootToken::new([0xab; 16]);
        NodePlan {
            name: "node1".parse().expect("a name"),
            address: Ipv4Addr::new(10, 78, 0, 11),
            prefix: 24,
            gateway: Some(Ipv4Addr::new(10, 78, 0, 1)),
            dns: Ipv4Addr::new(10, 78, 0, 1),
            head: "10.78.0.1:8080".parse().expect("an address"),
            system: Digest([7; 32]),
            system_bytes: 61_000_000,
            verity: Some(Digest([8; 32])),
            root: RootPlace::Auto,
            wipe: Wipe::Always,
            keep: Keep::NOTHING,
            user_data_url: format!("http://10.78.0.1:8080/boot/{}/user-data", token.expose()),
            user_data_secs: USER_DATA_SECS,
            token,
        }
    }

    #[test]
    fn a_watchdog_is_fed_unless_it_is_told_otherwise() {
        assert!(feeds_watchdog("quiet fledermaus.watchdog=on ip=dhcp"));
        assert!(!feeds_watchdog("quiet fledermaus.watchdog=off ip=dhcp"));
    }

    #[test]
    fn what_the_head_writes_init_reads() {
        let written = format!("console=ttyAMA0 quiet {}", plan().command_line());
        assert!(written.len() < COMMAND_LINE_LIMIT / 2 + 64, "{} bytes", written.len());
        assert_eq!(NodePlan::parse(&written), Ok(plan()));
        let without_router = NodePlan { gateway: None, prefix: 16, ..plan() };
        assert_eq!(NodePlan::parse(&without_router.command_line()), Ok(without_router));
        let without_tree = NodePlan { verity: None, root: RootPlace::Memory, ..plan() };
        assert_eq!(NodePlan::parse(&without_tree.command_line()), Ok(without_tree));
        let life = Life { user_data: Digest([5; 32]), number: LifeNumber([6; 16]) };
        let kept = NodePlan { wipe: Wipe::OnChange(life), ..plan() };
        assert_eq!(NodePlan::parse(&kept.command_line()), Ok(kept.clone()));
        assert_eq!(kept.life_stamp(), Some(life.stamp(&Digest([7; 32]))));
        let keeper = NodePlan { keep: "8G".parse().expect("a size"), ..plan() };
        assert_eq!(NodePlan::parse(&keeper.command_line()), Ok(keeper));
        let hasty = NodePlan { user_data_secs: 10, ..plan() };
        assert_eq!(NodePlan::parse(&hasty.command_line()), Ok(hasty));
        let odd = kept.command_line().replace("on-change:", "sometimes:");
        assert_eq!(NodePlan::parse(&odd), Err(InvalidCommandLine::Invalid(WIPE)));
    }

    #[test]
    fn a_command_line_without_a_plan_is_refused_by_name() {
        assert_eq!(NodePlan::parse("console=ttyAMA0"), Err(InvalidCommandLine::Missing(IP)));
        let odd_mask = plan().command_line().replace("255.255.255.0", "255.0.255.0");
        assert_eq!(NodePlan::parse(&odd_mask), Err(InvalidCommandLine::Invalid(IP)));
        let short = plan().command_line().replace(&Digest([7; 32]).to_string(), "0707");
        assert_eq!(NodePlan::parse(&short), Err(InvalidCommandLine::Invalid(SYSTEM)));
    }

    #[test]
    fn a_token_does_not_reach_a_log() {
        assert!(!format!("{:?}", plan()).contains("token: BootToken(ab"));
    }

    #[test]
    fn netmasks() {
        for length in 0..=32 {
            assert_eq!(prefix(netmask(length)), Some(length));
        }
    }
}
