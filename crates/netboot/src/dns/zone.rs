//! What the cluster's names mean. Knows names and records, no packets.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

use cluster::NodeName;
use cluster::plan::netmask;

use super::packet::{NAME_BYTES_LIMIT, kind};

/// The most addresses or servers in one answer; what is over is left out.
const RECORDS_LIMIT: usize = 1_000;
/// The label under the domain that means the head.
const HEAD_LABEL: &str = "head";
/// The label under the domain that means all nodes of the swarm.
const SWARM_LABEL: &str = "swarm";
/// Where the swarm's managers are listed (RFC 2782), and the name between it and the domain.
const SERVICE: &[u8] = b"\x0d_docker-swarm\x04_tcp";
const SERVICE_PROTOCOL: &[u8] = b"\x04_tcp";
/// The end of all reverse names of IPv4.
const REVERSE: &[u8] = b"\x07in-addr\x04arpa\0";

/// The cluster's names at one moment, as the head knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The nodes' domain without the dot at its end, such as `cluster.internal`; see [`is_domain`].
    pub domain: String,
    /// The head's address on the cluster's network.
    pub head: Ipv4Addr,
    /// The length of that network's prefix, 0 to 32: its reverse names are ours.
    pub prefix: u8,
    /// The nodes' names and addresses. `head` and `swarm` are taken: a node of that name is not found.
    pub nodes: BTreeMap<NodeName, Ipv4Addr>,
    /// The addresses behind `swarm.<domain>`.
    pub swarm: Vec<Ipv4Addr>,
    /// The nodes behind `_docker-swarm._tcp.<domain>`.
    pub managers: Vec<NodeName>,
}

/// Whether the text can be a cluster's domain: dot-separated names like those of hosts, none of them empty.
pub fn is_domain(text: &str) -> bool {
    text.len() <= 189 && text.split('.').all(|label| label.parse::<NodeName>().is_ok())
}

/// A [`Zone`] made ready for looking up: names as on the wire, in lower case, without their domain.
#[derive(Debug)]
pub struct Names {
    domain: Box<[u8]>,
    head: Ipv4Addr,
    prefix: u8,
    addresses: HashMap<Box<[u8]>, Ipv4Addr>,
    names: HashMap<Ipv4Addr, Box<[u8]>>,
    swarm: Vec<Ipv4Addr>,
    managers: Vec<Box<[u8]>>,
}

/// What is known of a name. `apex` is where in the name its zone's own name begins, in bytes: there the SOA stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A name with these addresses.
    Addresses(&'a [Ipv4Addr]),
    /// An address with this name, a host of the domain.
    Host(&'a [u8]),
    /// These hosts of the domain serve it.
    Servers(&'a [Box<[u8]>]),
    /// The name is a zone's, and its SOA is asked for.
    Authority,
    /// The name is a zone's, and its servers are asked for.
    NameServer,
    /// The name exists, and anything is asked for.
    Anything,
    /// The name exists, but has no record of that type.
    NoData { apex: usize },
    /// The name does not exist.
    NxDomain { apex: usize },
    /// The name is not the cluster's.
    Elsewhere,
}

impl Names {
    /// Makes a zone ready.
    pub fn new(zone: &Zone) -> Self {
        let mut addresses: HashMap<_, _> =
            zone.nodes.iter().map(|(name, address)| (label(name.as_str()), *address)).collect();
        addresses.remove(&label(SWARM_LABEL));
        addresses.insert(label(HEAD_LABEL), zone.head);
        let mut names: HashMap<_, _> =
            zone.nodes.iter().map(|(name, address)| (*address, label(name.as_str()))).collect();
        names.insert(zone.head, label(HEAD_LABEL));
        let mut domain: Vec<u8> = zone.domain.split('.').flat_map(label).collect();
        domain.push(0);
        Self {
            domain: domain.into(),
            head: zone.head,
            prefix: zone.prefix,
            addresses,
            names,
            swarm: zone.swarm.iter().copied().take(RECORDS_LIMIT).collect(),
            managers: zone
                .managers
                .iter()
                .filter(|name| zone.nodes.contains_key(*name))
                .take(RECORDS_LIMIT)
                .map(|name| label(name.as_str()))
                .collect(),
        }
    }

    /// The domain as on the wire.
    pub(super) fn domain(&self) -> &[u8] {
        &self.domain
    }

    /// The head's name under the domain, as on the wire.
    pub(super) fn head_label() -> &'static [u8] {
        b"\x04head"
    }

    /// Whether the bytes of a name from `at` on are the domain.
    pub(super) fn is_domain_at(&self, name: &[u8], at: usize) -> bool {
        name[at..].eq_ignore_ascii_case(&self.domain)
    }

    /// Looks a name up; it is as on the wire, and well formed.
    pub(super) fn look_up(&self, name: &[u8], wanted: u16) -> Found<'_> {
        let mut buffer = [0; NAME_BYTES_LIMIT];
        let lower = &mut buffer[..name.len()];
        lower.copy_from_slice(name);
        // Bytes that are lengths stay: they are below the letters.
        lower.make_ascii_lowercase();
        match own_bytes(lower, &self.domain) {
            Some(own) => self.forward(&lower[..own], wanted),
            None => match own_bytes(lower, REVERSE) {
                Some(own) => self.reverse(&lower[..own], wanted),
                None => Found::Elsewhere,
            },
        }
    }

    fn forward(&self, own: &[u8], wanted: u16) -> Found<'_> {
        let apex = own.len();
        let addresses = match own {
            b"" => return self.at_apex(wanted, true),
            b"\x05swarm" => &self.swarm[..],
            SERVICE => return self.service(wanted, apex),
            SERVICE_PROTOCOL if wanted == kind::ANY => return Found::Anything,
            SERVICE_PROTOCOL => return Found::NoData { apex },
            own => match self.addresses.get(own) {
                Some(address) => std::slice::from_ref(address),
                None => return Found::NxDomain { apex },
            },
        };
        match wanted {
            kind::A if !addresses.is_empty() => Found::Addresses(addresses),
            kind::ANY => Found::Anything,
            _ => Found::NoData { apex },
        }
    }

    fn at_apex(&self, wanted: u16, has_address: bool) -> Found<'_> {
        match wanted {
            kind::SOA => Found::Authority,
            kind::NS => Found::NameServer,
            kind::ANY => Found::Anything,
            kind::A if has_address => Found::Addresses(std::slice::from_ref(&self.head)),
            _ => Found::NoData { apex: 0 },
        }
    }

    fn service(&self, wanted: u16, apex: usize) -> Found<'_> {
        match wanted {
            kind::SRV if !self.managers.is_empty() => Found::Servers(&self.managers),
            kind::ANY => Found::Anything,
            _ => Found::NoData { apex },
        }
    }

    fn reverse(&self, own: &[u8], wanted: u16) -> Found<'_> {
        let backwards = Backwards::read(own);
        let Some(zone_octets) = self.reverse_zone(&backwards) else { return Found::Elsewhere };
        let apex = backwards.starts[zone_octets];
        if backwards.others {
            return Found::NxDomain { apex };
        }
        if backwards.octets == zone_octets {
            return self.at_apex(wanted, false);
        }
        let host = self.names.get(&backwards.address);
        match (host, wanted) {
            (None, _) if backwards.octets == 4 => Found::NxDomain { apex },
            (_, kind::ANY) => Found::Anything,
            (Some(host), kind::PTR) if backwards.octets == 4 => Found::Host(host),
            _ => Found::NoData { apex },
        }
    }

    /// How many octets name the reverse zone of ours that the name is in.
    fn reverse_zone(&self, name: &Backwards) -> Option<usize> {
        let [a, b, ..] = name.address.octets();
        let private = match (a, b) {
            (10, _) => Some(1),
            (172, 16..=31) | (192, 168) | (169, 254) => Some(2),
            _ => None,
        };
        if let Some(octets) = private {
            return (name.octets >= octets).then_some(octets);
        }
        // The cluster's network, with an address that is not private: the whole octets of its prefix.
        let mask = netmask(self.prefix).to_bits();
        let inside = name.address.to_bits() & mask == self.head.to_bits() & mask;
        let known = name.octets * 8 >= usize::from(self.prefix);
        (inside && known).then_some(usize::from(self.prefix).div_ceil(8).clamp(1, 3))
    }
}

/// The reverse name of an address, or the end of one.
struct Backwards {
    /// The address, as far as it is named; the rest is zero.
    address: Ipv4Addr,
    /// How many of its octets are named.
    octets: usize,
    /// Where in the name 0, 1, … octets begin.
    starts: [usize; 5],
    /// There are other labels before them.
    others: bool,
}

impl Backwards {
    fn read(own: &[u8]) -> Self {
        // Every label takes two bytes at least.
        let mut begins = [0; NAME_BYTES_LIMIT / 2 + 1];
        let mut labels = 0;
        while begins[labels] < own.len() {
            begins[labels + 1] = begins[labels] + 1 + usize::from(own[begins[labels]]);
            labels += 1;
        }
        let mut address = [0; 4];
        let mut starts = [own.len(); 5];
        let mut octets = 0;
        while octets < labels.min(4) {
            let index = labels - octets - 1;
            let Some(octet) = octet(&own[begins[index] + 1..begins[index + 1]]) else { break };
            address[octets] = octet;
            octets += 1;
            starts[octets] = begins[index];
        }
        Self { address: address.into(), octets, starts, others: labels > octets }
    }
}

/// A number of 0 to 255 in its one spelling.
fn octet(label: &[u8]) -> Option<u8> {
    let plain = label.iter().all(u8::is_ascii_digit) && (label.len() == 1 || label[0] != b'0');
    std::str::from_utf8(label).ok().filter(|_| plain)?.parse().ok()
}

/// How many bytes of a name stand before a zone's name, if it ends in that.
fn own_bytes(name: &[u8], zone: &[u8]) -> Option<usize> {
    let own = name.len().checked_sub(zone.len())?;
    if name[own..] != *zone {
        return None;
    }
    let mut at = 0;
    while at < own {
        at += 1 + usize::from(name[at]);
    }
    (at == own).then_some(own)
}

/// A label as on the wire. Names of nodes and labels of domains are shorter than 64 bytes.
fn label(text: &str) -> Box<[u8]> {
    let length = u8::try_from(text.len()).unwrap_or(0);
    [&[length], text.as_bytes()].concat().into()
}
