//! The `[[node]]` tables: what is wished of each node that has a name.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use cluster::configuration::{Named, Reader, Table};
use cluster::plan::{RootPlace, WipePolicy};
use cluster::swarm::RoleWish;
use cluster::{Mac, NodeName};

use super::{RESERVED_NAMES, file_name};
use crate::head::wishes;

/// A node that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeSettings {
    pub(crate) name: NodeName,
    pub(crate) mac: Mac,
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) user_data: Option<String>,
    pub(crate) role: RoleWish,
    /// `None`: as `[boot]` says.
    pub(crate) wipe: Option<WipePolicy>,
    pub(crate) root: Option<RootPlace>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(super) line: usize,
}

/// Reads the tables.
pub(super) fn read<'a>(reader: &mut Reader<'a>, top: &Table<'a>) -> Vec<NodeSettings> {
    let mut nodes = Vec::new();
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    for table in
        reader.tables(top, "node", &["name", "mac", "address", "user_data", "role", "wipe", "root", "labels"])
    {
        let line = table.line();
        reader.required_text(&table, "name", "\"node1\"");
        reader.required_text(&table, "mac", "\"b8:27:eb:01:02:03\"");
        let (name, mac) = (reader.parsed::<NodeName>(&table, "name"), reader.parsed::<Mac>(&table, "mac"));
        let address = reader.parsed::<Ipv4Addr>(&table, "address");
        let user_data = file_name(reader, &table, "user_data");
        let role = role(reader, &table);
        let wipe = reader.parsed::<WipePolicy>(&table, "wipe");
        let root = reader.parsed::<RootPlace>(&table, "root");
        let labels = labels(reader, &table);
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
        nodes.push(NodeSettings { name, mac, address, user_data, role, wipe, root, labels, line });
    }
    nodes
}

fn labels<'a>(reader: &mut Reader<'a>, table: &Table<'a>) -> BTreeMap<String, String> {
    let labels: BTreeMap<String, String> = reader.text_map(table, "labels").into_iter().collect();
    for (key, text) in &labels {
        if let Err(sentence) = wishes::check(&format!("{}{key}", wishes::LABEL), text) {
            let line = reader.line_of(table, "labels");
            reader.mistake(line, sentence);
        }
    }
    labels
}

fn role<'a>(reader: &mut Reader<'a>, table: &Table<'a>) -> RoleWish {
    match reader.text(table, "role") {
        None => RoleWish::Any,
        Some(Named { name, line }) => match name.as_str() {
            "manager" => RoleWish::Manager,
            "worker" => RoleWish::Worker,
            "any" => RoleWish::Any,
            _ => {
                reader.mistake(line, format!("`role`: `{name}` is none: write manager, worker or any"));
                RoleWish::Any
            }
        },
    }
}
