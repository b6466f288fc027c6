//! The `[network]` table, and what the interface adds to it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use cluster::configuration::{Named, Reader, Table};
use cluster::plan::netmask;

use netboot::dhcp::{Mode, Route, Subnet};

use super::{Enrolment, subnets};

/// How long a lease runs unless the configuration says otherwise, in seconds.
const LEASE_SECS: u32 = 86_400;
/// The shortest and longest lease, in seconds: a node must outlive its boot.
const LEASE_RANGE: RangeInclusive<u32> = 600..=31_536_000;

const KEYS: &[&str] = &[
    "interface",
    "address",
    "dhcp",
    "router",
    "pool",
    "enrolment",
    "lease_secs",
    "http_port",
    "search",
    "ntp",
    "routes",
];

/// A value with the line where it stands.
#[derive(Clone)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(super) line: usize,
}

/// The network as far as the file says.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(super) interface: Option<Named>,
    pub(super) address: Option<(Ipv4Addr, u8)>,
    pub(crate) router: Option<Placed<Ipv4Addr>>,
    pub(super) pool: Option<Placed<RangeInclusive<Ipv4Addr>>>,
    pub(crate) enrolment: Enrolment,
    pub(crate) lease_secs: u32,
    pub(crate) http_port: u16,
    pub(crate) mode: Mode,
    pub(crate) search: Vec<String>,
    pub(crate) ntp: Vec<Ipv4Addr>,
    pub(crate) routes: Vec<Route>,
}

/// The network as it is.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) interface: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) prefix: u8,
    pub(crate) pool: RangeInclusive<Ipv4Addr>,
}

impl<T: std::fmt::Debug> std::fmt::Debug for Placed<T> {
    /// The value alone: a line that moved is no change.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.value.fmt(f)
    }
}

impl Resolved {
    /// Whether an address is one of the network's hosts.
    pub(crate) fn contains(&self, address: Ipv4Addr) -> bool {
        hosts(self.address, self.prefix).contains(&address)
    }
}

/// Reads the table.
pub(super) fn read<'a>(reader: &mut Reader<'a>, top: &Table<'a>) -> Network {
    let table = reader.table(top, "network", KEYS);
    let address = reader
        .text(&table, "address")
        .and_then(|text| subnets::network(reader, &text, "address", "10.78.0.1/24"));
    Network {
        interface: reader.text(&table, "interface"),
        address,
        router: reader.text(&table, "router").and_then(|text| router(reader, &text)),
        pool: reader.text(&table, "pool").and_then(|text| pool(reader, &text)),
        enrolment: enrolment(reader, &table),
        lease_secs: reader.number(&table, "lease_secs", LEASE_RANGE).unwrap_or(LEASE_SECS),
        http_port: reader
            .number(&table, "http_port", 1..=65_535)
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or(8080),
        mode: mode(reader, &table),
        search: search(reader, &table),
        ntp: subnets::list(reader, &table, "ntp", "IPv4 address"),
        routes: subnets::routes(reader, &table),
    }
}

fn mode<'a>(reader: &mut Reader<'a>, table: &Table<'a>) -> Mode {
    match reader.text(table, "dhcp") {
        None => Mode::Authoritative,
        Some(Named { name, line }) => match name.as_str() {
            "authoritative" => Mode::Authoritative,
            "proxy" => Mode::Proxy,
            _ => {
                reader.mistake(line, format!("`dhcp`: `{name}` is none: write authoritative or proxy"));
                Mode::Authoritative
            }
        },
    }
}

fn search<'a>(reader: &mut Reader<'a>, table: &Table<'a>) -> Vec<String> {
    let mut domains = Vec::new();
    for Named { name, line } in reader.strings(table, "search") {
        if netboot::dns::is_domain(&name) {
            domains.push(name);
        } else {
            reader.mistake(line, format!("`search`: `{name}` is no domain"));
        }
    }
    domains
}

fn enrolment<'a>(reader: &mut Reader<'a>, table: &Table<'a>) -> Enrolment {
    match reader.text(table, "enrolment") {
        None => Enrolment::Pi,
        Some(Named { name, line }) => match name.as_str() {
            "pi" => Enrolment::Pi,
            "ask" => Enrolment::Ask,
            "never" => Enrolment::Never,
            "any" => Enrolment::Any,
            _ => {
                reader.mistake(line, format!("`enrolment`: `{name}` is none: write pi, ask, never or any"));
                Enrolment::Pi
            }
        },
    }
}

fn router(reader: &mut Reader, text: &Named) -> Option<Placed<Ipv4Addr>> {
    let value = text.name.parse().ok();
    if value.is_none() {
        reader.mistake(
            text.line,
            format!("`router`: `{}` is no address: write it as \"10.78.0.254\"", text.name),
        );
    }
    Some(Placed { value: value?, line: text.line })
}

pub(super) fn pool(reader: &mut Reader, text: &Named) -> Option<Placed<RangeInclusive<Ipv4Addr>>> {
    let ends = text.name.split_once('-');
    let parsed: Option<(Ipv4Addr, Ipv4Addr)> =
        ends.and_then(|(first, last)| Some((first.trim().parse().ok()?, last.trim().parse().ok()?)));
    let Some((first, last)) = parsed.filter(|(first, last)| first <= last) else {
        reader.mistake(
            text.line,
            format!("`pool`: `{}` is none: write first and last as \"10.78.0.100-10.78.0.250\"", text.name),
        );
        return None;
    };
    Some(Placed { value: first..=last, line: text.line })
}

pub(super) fn hosts(address: Ipv4Addr, prefix: u8) -> RangeInclusive<Ipv4Addr> {
    let mask = netmask(prefix).to_bits();
    let network = address.to_bits() & mask;
    Ipv4Addr::from_bits(network + 1)..=Ipv4Addr::from_bits((network | !mask) - 1)
}

impl Network {
    /// The network on an interface whose own address is known.
    pub(crate) fn on(&self, interface: String, (address, prefix): (Ipv4Addr, u8)) -> Resolved {
        let pool =
            self.pool.as_ref().map_or_else(|| upper_half(&hosts(address, prefix)), |pool| pool.value.clone());
        Resolved { interface, address, prefix, pool }
    }

    /// The network as DHCP sees it.
    pub(super) fn own_subnet(&self, network: &Resolved) -> Subnet {
        let Resolved { address, prefix, pool, .. } = network;
        let router = self.router.as_ref().map(|router| router.value);
        Subnet { address: *address, prefix: *prefix, router, pool: pool.clone() }
    }

    /// Notes what does not fit the network that was found.
    pub(super) fn check(&self, reader: &mut Reader, network: &Resolved) {
        let own = format!("the head's network {}/{}", network.address, network.prefix);
        if let Some(Placed { value: pool, line }) = &self.pool
            && !(network.contains(*pool.start()) && network.contains(*pool.end()))
        {
            reader.mistake(*line, format!("`pool`: {}-{} is not inside {own}", pool.start(), pool.end()));
        }
        // It may be the head itself, which then has to forward: docs/network.md.
        if let Some(Placed { value: router, line }) = self.router
            && !network.contains(router)
        {
            reader.mistake(line, format!("`router`: {router} is not inside {own}"));
        }
    }
}

/// The upper half of the addresses: the lower is left for fixed ones.
pub(super) fn upper_half(all: &RangeInclusive<Ipv4Addr>) -> RangeInclusive<Ipv4Addr> {
    let (first, last) = (all.start().to_bits(), all.end().to_bits());
    Ipv4Addr::from_bits(first + (last - first) / 2 + 1)..=*all.end()
}

/// The address of an interface that has to be there: the one that is wished for, else its first; or what is wrong.
pub(super) fn address_of(interface: &str, wish: Option<(Ipv4Addr, u8)>) -> Result<(Ipv4Addr, u8), String> {
    let all = interfaces()?;
    let own = all.get(interface);
    match (own.and_then(|own| own.first()), own, wish) {
        (_, Some(_), Some(wish)) => Ok(wish),
        (Some(first), ..) => Ok(*first),
        (None, Some(_), None) => Err(format!(
            "{interface} has no IPv4 address: give it one with `ip address add 10.78.0.1/24 dev {interface}`"
        )),
        (_, None, _) => {
            let names: Vec<&str> = all.keys().map(String::as_str).collect();
            Err(format!("there is no {interface}; there are {}", names.join(", ")))
        }
    }
}

/// What an interface lacks, if anything: it is not there, or has no address, or not the one that is wished for.
pub(super) fn lack(interface: &str, wish: Option<(Ipv4Addr, u8)>) -> Option<String> {
    match (address_of(interface, wish), wish) {
        (Err(lack), _) => Some(lack),
        (Ok(_), Some((address, prefix))) if !has(interface, address) => Some(format!(
            "{interface} does not have {address}: give it with `ip address add {address}/{prefix} dev {interface}`"
        )),
        _ => None,
    }
}

/// Whether an interface has an address.
pub(crate) fn has(interface: &str, address: Ipv4Addr) -> bool {
    let all = interfaces().unwrap_or_default();
    all.get(interface).is_some_and(|own| own.iter().any(|(other, _)| *other == address))
}

/// The machine's interfaces by their names, each with its addresses and the lengths of their prefixes.
fn interfaces() -> Result<BTreeMap<String, Vec<(Ipv4Addr, u8)>>, String> {
    let entries =
        nix::ifaddrs::getifaddrs().map_err(|error| format!("reading the machine's interfaces: {error}"))?;
    let mut all: BTreeMap<String, Vec<(Ipv4Addr, u8)>> = BTreeMap::new();
    for entry in entries {
        let ip = |address: Option<nix::sys::socket::SockaddrStorage>| Some(address?.as_sockaddr_in()?.ip());
        let (address, mask) = (ip(entry.address), ip(entry.netmask));
        let own = all.entry(entry.interface_name).or_default();
        // A mask of 32 bits has no more than 32 leading ones.
        own.extend(address.zip(mask).map(|(address, mask)| (address, mask.to_bits().leading_ones() as u8)));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_interface_lacks_is_said() {
        let local = Ipv4Addr::LOCALHOST;
        assert_eq!(lack("lo", None), None);
        assert_eq!(lack("lo", Some((local, 8))), None);
        let missing = lack("nosuchif", Some((local, 8))).expect("it is not there");
        assert!(
            missing.starts_with("there is no nosuchif; there are ") && missing.contains("lo"),
            "{missing}"
        );
        let other = lack("lo", Some((Ipv4Addr::new(192, 0, 2, 1), 24))).expect("it does not have that");
        assert!(other.contains("`ip address add 192.0.2.1/24 dev lo`"), "{other}");
    }
}
