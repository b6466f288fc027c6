//! What the cluster's names mean. Knows names and records, no packets.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use cluster::NodeName;
use hickory_proto::rr::rdata::{A, NS, PTR, SOA};
use hickory_proto::rr::{Name, RData, RecordType};

/// How long an answer may be kept, in seconds: nodes come and go.
pub(super) const TTL_SECS: u32 = 5;
/// The most addresses in one answer; what is over is left out.
const ADDRESSES_LIMIT: usize = 1_000;
/// The label under the domain that means the head.
const HEAD_LABEL: &str = "head";
/// The label under the domain that means all nodes of the swarm.
const SWARM_LABEL: &str = "swarm";

/// The cluster's names at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The nodes' domain without the dot at its end, such as `cluster.internal`; see [`is_domain`].
    pub domain: String,
    /// The head's address on the cluster's network.
    pub head: Ipv4Addr,
    /// The nodes' names and addresses. `head` and `swarm` are taken: a node of that name is not found.
    pub nodes: BTreeMap<NodeName, Ipv4Addr>,
    /// The addresses behind `swarm.<domain>`.
    pub swarm: Vec<Ipv4Addr>,
}

/// Whether the text can be a cluster's domain: dot-separated names like those of hosts, none of them empty.
pub fn is_domain(text: &str) -> bool {
    text.len() <= 189 && text.split('.').all(|label| label.parse::<NodeName>().is_ok())
}

/// What is known of a name.
#[derive(Debug)]
pub(super) enum Found {
    /// These records.
    Records(Vec<RData>),
    /// The name exists, but has no record of that type.
    NoData(Apex),
    /// The name does not exist.
    NxDomain(Apex),
    /// The name is not the cluster's.
    Elsewhere,
}

/// The name of the zone that has no such record: where its SOA stands.
#[derive(Debug)]
pub(super) struct Apex(pub(super) Name);

impl Zone {
    /// Looks a name up.
    pub(super) fn look_up(&self, name: &Name, kind: RecordType) -> Found {
        let Ok(apex) = Name::from_ascii(format!("{}.", self.domain)) else { return Found::Elsewhere };
        if apex.zone_of(name) { self.forward(name, kind, apex) } else { self.reverse(name, kind) }
    }

    /// The SOA record of a zone of ours. Nobody copies the zone, so its numbers mean nothing but the last:
    /// how long a negative answer may be kept (RFC 2308).
    pub(super) fn soa(&self, apex: &Apex) -> RData {
        let server = self.name_of(HEAD_LABEL).unwrap_or_else(|| apex.0.clone());
        let mailbox = self.name_of("hostmaster").unwrap_or_else(|| apex.0.clone());
        RData::SOA(SOA::new(server, mailbox, 1, 3_600, 600, 86_400, TTL_SECS))
    }

    fn forward(&self, name: &Name, kind: RecordType, apex: Name) -> Found {
        let own_labels = usize::from(name.num_labels() - apex.num_labels());
        if own_labels == 0 {
            return self.at_apex(kind, Apex(apex));
        }
        let label = name.iter().next().and_then(|label| std::str::from_utf8(label).ok());
        let addresses = label.filter(|_| own_labels == 1).and_then(|label| self.addresses(label));
        match addresses {
            None => Found::NxDomain(Apex(apex)),
            Some(addresses) if wants(kind, RecordType::A) && !addresses.is_empty() => {
                let addresses = addresses.into_iter().take(ADDRESSES_LIMIT);
                Found::Records(addresses.map(|address| RData::A(A(address))).collect())
            }
            Some(_) => Found::NoData(Apex(apex)),
        }
    }

    fn at_apex(&self, kind: RecordType, apex: Apex) -> Found {
        match (kind, self.name_of(HEAD_LABEL)) {
            (RecordType::SOA, _) => Found::Records(vec![self.soa(&apex)]),
            (RecordType::NS, Some(head)) => Found::Records(vec![RData::NS(NS(head))]),
            (RecordType::A | RecordType::ANY, _) => Found::Records(vec![RData::A(A(self.head))]),
            _ => Found::NoData(apex),
        }
    }

    fn addresses(&self, label: &str) -> Option<Vec<Ipv4Addr>> {
        match label.to_ascii_lowercase().as_str() {
            HEAD_LABEL => Some(vec![self.head]),
            SWARM_LABEL => Some(self.swarm.clone()),
            label => Some(vec![*self.nodes.get(&label.parse().ok()?)?]),
        }
    }

    fn reverse(&self, name: &Name, kind: RecordType) -> Found {
        let Ok(network) = name.parse_arpa_name() else { return Found::Elsewhere };
        let std::net::IpAddr::V4(address) = network.addr() else { return Found::Elsewhere };
        let whole = network.prefix_len() == 32;
        let host = self.host_of(address).filter(|_| whole);
        match (host, private_zone(address)) {
            (Some(host), _) if wants(kind, RecordType::PTR) => Found::Records(vec![RData::PTR(PTR(host))]),
            (Some(_), Some(apex)) => Found::NoData(apex),
            (None, Some(apex)) if whole => Found::NxDomain(apex),
            (None, Some(apex)) => Found::NoData(apex),
            (_, None) => Found::Elsewhere,
        }
    }

    fn host_of(&self, address: Ipv4Addr) -> Option<Name> {
        if address == self.head {
            return self.name_of(HEAD_LABEL);
        }
        let (name, _) = self.nodes.iter().find(|(_, node)| **node == address)?;
        self.name_of(name.as_str())
    }

    fn name_of(&self, label: &str) -> Option<Name> {
        Name::from_ascii(format!("{label}.{}.", self.domain)).ok()
    }
}

fn wants(asked: RecordType, kind: RecordType) -> bool {
    asked == kind || asked == RecordType::ANY
}

/// The reverse zone of a private or link-local address (RFC 6303 section 4).
fn private_zone(address: Ipv4Addr) -> Option<Apex> {
    let [a, b, ..] = address.octets();
    let labels = match (a, b) {
        (10, _) => "10".to_owned(),
        (172, 16..=31) | (192, 168) | (169, 254) => format!("{b}.{a}"),
        _ => return None,
    };
    Some(Apex(Name::from_ascii(format!("{labels}.in-addr.arpa.")).ok()?))
}
