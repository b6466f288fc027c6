//! The `[[node]]` tables: what is wished of each node that has a name.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use cluster::configuration::{Reader, Table};
use cluster::{Mac, NodeName};

use super::RESERVED_NAMES;
use super::group::{self, COMMON, Common, GroupSettings};
use crate::artefacts::Sources;

/// A node that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeSettings {
    pub(crate) name: NodeName,
    pub(crate) mac: Mac,
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) group: Option<String>,
    pub(crate) common: Common,
    pub(super) line: usize,
}

/// Reads the tables.
pub(super) fn read<'a>(
    reader: &mut Reader<'a>,
    top: &Table<'a>,
    groups: &BTreeMap<String, GroupSettings>,
    images: &Sources,
) -> Vec<NodeSettings> {
    let mut nodes = Vec::new();
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    let keys: Vec<&str> = ["name", "mac", "address", "group"].into_iter().chain(COMMON).collect();
    for table in reader.tables(top, "node", &keys) {
        let line = table.line();
        reader.required_text(&table, "name", "\"node1\"");
        reader.required_text(&table, "mac", "\"b8:27:eb:01:02:03\"");
        let (name, mac) = (reader.parsed::<NodeName>(&table, "name"), reader.parsed::<Mac>(&table, "mac"));
        let address = reader.parsed::<Ipv4Addr>(&table, "address");
        let group = group::named(reader, &table, groups);
        let common = group::common(reader, &table, images);
        let (Some(name), Some(mac)) = (name, mac) else { continue };
        if RESERVED_NAMES.contains(&name.as_str()) {
            reader
                .mistake(line, format!("`name`: `{name}` is taken in the cluster's domain: choose another"));
        }
        let keys =
            [Some(name.to_string()), Some(mac.to_string()), address.map(|address| address.to_string())];
        for key in keys.into_iter().flatten() {
            if let Some(first) = taken.insert(key.clone(), line) {
                reader.mistake(line, format!("{key} belongs to the node in line {first} already"));
            }
        }
        nodes.push(NodeSettings { name, mac, address, group, common, line });
    }
    nodes
}
