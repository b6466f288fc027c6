//! The networks behind relays (`[[subnet]]`), and the routes that nodes learn.

use std::net::Ipv4Addr;
use std::str::FromStr;

use cluster::configuration::{Named, Reader, Table};
use netboot::dhcp::{Route, Subnet};

use super::Placed;
use super::network::{hosts, pool, upper_half};

/// A network behind a relay, with its line.
pub(crate) type PlacedSubnet = Placed<Subnet>;

/// Reads the tables.
pub(super) fn read<'a>(reader: &mut Reader<'a>, top: &Table<'a>) -> Vec<PlacedSubnet> {
    let mut subnets = Vec::new();
    for table in reader.tables(top, "subnet", &["address", "router", "pool"]) {
        let line = table.line();
        let address = reader.required_text(&table, "address", "\"10.80.0.0/24\"");
        let network = address.and_then(|text| network(reader, &text, "address", "10.80.0.0/24"));
        let router = reader.parsed::<Ipv4Addr>(&table, "router");
        let pool = reader.text(&table, "pool").and_then(|text| pool(reader, &text));
        let Some((address, prefix)) = network else { continue };
        let all = hosts(address, prefix);
        for (key, wrong) in [
            ("router", router.is_some_and(|router| !all.contains(&router))),
            (
                "pool",
                pool.as_ref().is_some_and(|Placed { value, .. }| {
                    !(all.contains(value.start()) && all.contains(value.end()))
                }),
            ),
        ] {
            if wrong {
                let line = reader.line_of(&table, key);
                reader.mistake(line, format!("`{key}` is not inside {address}/{prefix}"));
            }
        }
        let pool = pool.map_or_else(|| upper_half(&all), |pool| pool.value);
        subnets.push(Placed { value: Subnet { address, prefix, router, pool }, line });
    }
    subnets
}

/// Notes a network that overlaps another: a client would have two addresses to choose from.
pub(super) fn check(reader: &mut Reader, own: &Subnet, subnets: &[PlacedSubnet]) {
    for (place, Placed { value, line }) in subnets.iter().enumerate() {
        let others = subnets[..place].iter().map(|other| &other.value).chain([own]);
        for other in others {
            if other.contains(value.address) || value.contains(other.address) {
                let (address, prefix) = (other.address, other.prefix);
                reader.mistake(*line, format!("the [[subnet]] overlaps the network of {address}/{prefix}"));
            }
        }
    }
}

/// Reads `routes`: `"10.0.0.0/8 via 10.78.0.254"`.
pub(super) fn routes<'a>(reader: &mut Reader<'a>, table: &Table<'a>) -> Vec<Route> {
    let mut routes = Vec::new();
    for Named { name, line } in reader.strings(table, "routes") {
        let parsed = name.split_once(" via ").and_then(|(network, router)| {
            let (network, prefix) = cidr(network.trim(), 0..=32)?;
            Some(Route { network, prefix, router: router.trim().parse().ok()? })
        });
        match parsed {
            Some(route) => routes.push(route),
            None => reader.mistake(
                line,
                format!("`routes`: `{name}` is none: write it as \"10.0.0.0/8 via 10.78.0.254\""),
            ),
        }
    }
    routes
}

/// Reads an address with its prefix, as a key of a network has it.
pub(super) fn network(reader: &mut Reader, text: &Named, key: &str, example: &str) -> Option<(Ipv4Addr, u8)> {
    let parsed = cidr(&text.name, 8..=30);
    if parsed.is_none() {
        reader.mistake(text.line, format!("`{key}`: `{}` is none: write it as \"{example}\"", text.name));
    }
    parsed
}

/// Reads a list of addresses or names.
pub(super) fn list<'a, T: FromStr>(
    reader: &mut Reader<'a>,
    table: &Table<'a>,
    key: &str,
    what: &str,
) -> Vec<T> {
    let mut values = Vec::new();
    for Named { name, line } in reader.strings(table, key) {
        match name.parse() {
            Ok(value) => values.push(value),
            Err(_) => reader.mistake(line, format!("`{key}`: `{name}` is no {what}")),
        }
    }
    values
}

fn cidr(text: &str, prefixes: std::ops::RangeInclusive<u8>) -> Option<(Ipv4Addr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let (address, prefix) = (address.parse().ok()?, prefix.parse().ok()?);
    prefixes.contains(&prefix).then_some((address, prefix))
}
