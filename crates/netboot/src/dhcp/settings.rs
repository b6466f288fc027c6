//! What the head tells of its networks.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use cluster::plan::netmask;

use super::profile::Profile;

/// `file` for who has no use for it. Without a slash, because U-Boot puts the directory of this name before every name
/// it asks for; not empty, because some firmware does not boot without one. Nobody is meant to fetch it.
const NO_FILE: &str = "pxelinux.0";

/// What the replies say of the networks, and how the head shares its own with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The head's own address: DHCP server, TFTP server.
    pub server: Ipv4Addr,
    /// Whether another server gives the addresses.
    pub mode: Mode,
    /// The cluster's own network first, then those behind relays. Never empty, and none overlaps another.
    pub subnets: Vec<Subnet>,
    /// The resolver.
    pub dns: Ipv4Addr,
    /// The nodes' domain; first in the search list.
    pub domain: String,
    /// More domains of the search list (RFC 3397).
    pub search: Vec<String>,
    /// Time servers (option 42).
    pub ntp: Vec<Ipv4Addr>,
    /// Routes beside the default one (RFC 3442).
    pub routes: Vec<Route>,
    /// How long a lease runs, in seconds.
    pub lease_secs: u32,
    /// What machines fetch that are no Raspberry Pis.
    pub files: BootFiles,
}

/// Who gives the addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The head does, and is the only one: it refuses addresses that are not its clients' (RFC 2131 section 4.3.2).
    Authoritative,
    /// Another server does: the head adds what is needed to boot, and gives no addresses (PXE specification 2.1,
    /// "proxyDHCP").
    Proxy,
}

/// A network and its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// Any address of it.
    pub address: Ipv4Addr,
    /// Length of its prefix, 0 to 32.
    pub prefix: u8,
    /// Its router, if there is one.
    pub router: Option<Ipv4Addr>,
    /// The addresses for nodes without a fixed one. Fixed addresses lie outside.
    pub pool: RangeInclusive<Ipv4Addr>,
}

/// Packets for these addresses go to that router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The network's address.
    pub network: Ipv4Addr,
    /// Length of its prefix, 0 to 32.
    pub prefix: u8,
    /// The router.
    pub router: Ipv4Addr,
}

/// Files by name, as the operator's directory has them; for HTTP boot and iPXE also URLs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootFiles {
    /// For a PC's BIOS.
    pub bios: Option<String>,
    /// For UEFI on x86-64.
    pub uefi_x64: Option<String>,
    /// For UEFI on arm64.
    pub uefi_arm64: Option<String>,
    /// For iPXE, by whatever it was started.
    pub ipxe: Option<String>,
    /// Where HTTP boot finds the directory: `http://10.78.0.1:8080/files/`.
    pub base_url: String,
}

impl Settings {
    /// The network that an address is on.
    pub fn subnet_of(&self, address: Ipv4Addr) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.contains(address))
    }

    /// Whether a node can have the address of that network: nobody has it by role.
    pub fn is_usable(&self, subnet: &Subnet, address: Ipv4Addr) -> bool {
        let taken = [self.server, self.dns, subnet.broadcast(), Ipv4Addr::from_bits(subnet.network())];
        subnet.contains(address) && !taken.contains(&address) && subnet.router != Some(address)
    }

    /// What `file` says; a URL for HTTP boot.
    pub(super) fn file(&self, profile: Profile) -> String {
        let files = &self.files;
        let (file, is_url) = match profile {
            Profile::Bios => (&files.bios, false),
            Profile::UefiX64 => (&files.uefi_x64, false),
            Profile::UefiArm64 => (&files.uefi_arm64, false),
            Profile::HttpX64 => (&files.uefi_x64, true),
            Profile::HttpArm64 => (&files.uefi_arm64, true),
            Profile::Ipxe => (&files.ipxe, false),
            _ => (&None, false),
        };
        match file {
            Some(file) if is_url => format!("{}{file}", files.base_url),
            Some(file) => file.clone(),
            None => NO_FILE.to_owned(),
        }
    }
}

impl Subnet {
    /// Whether an address is on it.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & netmask(self.prefix).to_bits() == self.network()
    }

    fn network(&self) -> u32 {
        self.address.to_bits() & netmask(self.prefix).to_bits()
    }

    pub(super) fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network() | !netmask(self.prefix).to_bits())
    }
}
