//! `cluster.toml`: text → checked settings. Every mistake is reported at once; the head sees only settings.

mod boot;
mod change;
mod group;
mod image;
mod library;
mod network;
mod node;
mod operator;
mod power;
mod store;
mod subnets;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
pub use cluster::configuration::{Mistake, Mistakes};
use cluster::configuration::{Named, Reader, Table};
use cluster::{Mac, NodeName};
use netboot::dhcp;

pub(crate) use self::boot::Boot;
pub(crate) use self::change::Change;
pub(crate) use self::group::{Common, GroupSettings};
pub(crate) use self::network::{Network, Placed, Resolved, has};
pub(crate) use self::node::NodeSettings;
pub(crate) use self::operator::OperatorDoor;
pub(crate) use self::store::Place;
use self::subnets::PlacedSubnet;
use crate::artefacts::{Source, Sources};
use crate::user_data::Library;

/// Names that the zone gives to something else.
pub(crate) const RESERVED_NAMES: [&str; 2] = ["head", "swarm"];
/// The most managers a swarm can be asked for; Docker advises at most seven.
const MANAGERS_LIMIT: u32 = 7;

/// Which machines become nodes by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Enrolment {
    /// Any Raspberry Pi.
    Pi,
    /// A Raspberry Pi waits until somebody approves it.
    Ask,
    /// Only what the configuration names.
    Never,
    /// Any machine.
    Any,
}

impl Enrolment {
    /// Whether a machine that the configuration does not name becomes a node.
    pub(crate) fn welcomes(self, mac: Mac) -> bool {
        match self {
            Self::Pi => mac.is_raspberry_pi(),
            Self::Never | Self::Ask => false,
            Self::Any => true,
        }
    }
}

/// The whole configuration, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) domain: String,
    pub(crate) network: Network,
    /// The networks behind relays.
    pub(crate) subnets: Vec<PlacedSubnet>,
    pub(crate) images: Sources,
    pub(crate) boot: Boot,
    pub(crate) user_data: Library,
    pub(crate) managers: usize,
    pub(crate) operator: OperatorDoor,
    pub(crate) power: Option<power::Power>,
    pub(crate) store: Place,
    /// The groups by their names.
    pub(crate) groups: BTreeMap<String, GroupSettings>,
    pub(crate) nodes: Vec<NodeSettings>,
}

/// Reads the configuration and finds its network. `interface` and `image_dir` come from the command line and win.
///
/// # Errors
/// [`Mistakes`], all of them; that the file cannot be read; that no interface is named, or the command line's has
/// no address.
pub(crate) fn read(
    file: &Path,
    interface: Option<&str>,
    image_dir: Option<&Path>,
) -> anyhow::Result<(Settings, Resolved)> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let mut reader = Reader::new(file, &text);
    let mut settings = settings(&mut reader);
    if let Some(image_dir) = image_dir {
        settings.images.default = Source::Directory(image_dir.to_owned());
    }
    settings.check_user_data(&mut reader);
    if let Some(power) = &settings.power {
        power::check(&mut reader, power);
    }
    let found = settings.find_network(&mut reader, interface);
    if let Ok(network) = &found {
        settings.network.check(&mut reader, network);
        subnets::check(&mut reader, &settings.network.own_subnet(network), &settings.subnets);
        settings.check_addresses(&mut reader, network);
    }
    let settings = reader.finish(settings)?;
    Ok((settings, found.map_err(anyhow::Error::msg)?))
}

/// What the machine lacks of the interface that the configuration names, a sentence. `None` if nothing, and if the
/// configuration itself is wrong.
pub(crate) fn lack(file: &Path, interface: Option<&str>) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let settings = parse(file, &text).ok()?;
    let name = interface.or(settings.network.interface.as_ref().map(|named| named.name.as_str()))?;
    network::lack(name, settings.network.address)
}

/// Checks a configuration's text, as far as that needs no network and no other file.
pub(crate) fn parse(file: &Path, text: &str) -> Result<Settings, Mistakes> {
    let mut reader = Reader::new(file, text);
    let settings = settings(&mut reader);
    reader.finish(settings)
}

fn settings(reader: &mut Reader) -> Settings {
    let top = reader.top(&[
        "name",
        "domain",
        "network",
        "subnet",
        "image",
        "boot",
        "user_data",
        "swarm",
        "operator",
        "power",
        "store",
        "group",
        "node",
    ]);
    let images = image::read(reader, &top);
    let groups = group::read(reader, &top, &images);
    let nodes = node::read(reader, &top, &groups, &images);
    Settings {
        name: reader.parsed::<NodeName>(&top, "name").map_or("fledermaus".to_owned(), String::from),
        domain: domain(reader, &top),
        network: network::read(reader, &top),
        subnets: subnets::read(reader, &top),
        images,
        boot: boot::read(reader, &top),
        user_data: library::read(reader, &top),
        managers: managers(reader, &top),
        operator: operator::read(reader, &top),
        power: power::read(reader, &top),
        store: store::read(reader, &top),
        groups,
        nodes,
    }
}

impl Settings {
    /// Finds the interface's address. A mistake in the file is noted; what else is wrong is the error.
    fn find_network(&self, reader: &mut Reader, interface: Option<&str>) -> Result<Resolved, String> {
        let name = interface.or(self.network.interface.as_ref().map(|named| named.name.as_str())).ok_or(
            "no interface is named: add --interface, or `interface` in [network] of cluster.toml".to_owned(),
        )?;
        match network::address_of(name, self.network.address) {
            Ok(address) => Ok(self.network.on(name.to_owned(), address)),
            Err(wrong) => {
                if let (None, Some(named)) = (interface, &self.network.interface) {
                    reader.mistake(named.line, format!("`interface`: {wrong}"));
                }
                Err(format!("--interface: {wrong}"))
            }
        }
    }

    /// What DHCP says of all this.
    pub(crate) fn dhcp(&self, network: &Resolved) -> dhcp::Settings {
        let (own, boot) = (&self.network, &self.boot.programs);
        let far = self.subnets.iter().map(|subnet| subnet.value.clone());
        let files = dhcp::BootFiles {
            bios: boot.bios.clone(),
            uefi_x64: boot.uefi_x64.clone(),
            uefi_arm64: boot.uefi_arm64.clone(),
            ipxe: boot.ipxe.clone(),
            base_url: format!("http://{}:{}/files/", network.address, own.http_port),
        };
        dhcp::Settings {
            server: network.address,
            mode: own.mode,
            subnets: std::iter::once(own.own_subnet(network)).chain(far).collect(),
            dns: network.address,
            domain: self.domain.clone(),
            search: own.search.clone(),
            ntp: own.ntp.clone(),
            routes: own.routes.clone(),
            lease_secs: own.lease_secs,
            files,
        }
    }

    /// The templates that are named have to be there: a node would ask for them for ever.
    fn check_user_data(&self, reader: &mut Reader) {
        let Library { directory, default, line, url, .. } = &self.user_data;
        if url.is_some() {
            return;
        }
        let nodes = self.nodes.iter().filter_map(|node| Some((node.common.user_data.as_ref()?, node.line)));
        let groups = self.groups.values();
        let groups = groups.filter_map(|group| Some((group.wishes.get("user_data")?, group.line)));
        for (file, line) in std::iter::once((default, *line)).chain(groups).chain(nodes) {
            let path = directory.join(file);
            if !path.is_file() {
                let text =
                    format!("the user data {} is not there: write it, or name another", path.display());
                reader.mistake(line.max(1), text);
            }
        }
    }

    /// Fixed addresses have to be free ones of the network.
    fn check_addresses(&self, reader: &mut Reader, network: &Resolved) {
        for node in &self.nodes {
            let Some(address) = node.address else { continue };
            let router = self.network.router.as_ref().map(|router| router.value);
            let free = network.contains(address) && address != network.address && Some(address) != router;
            let name = &node.name;
            if !free {
                let (own, prefix) = (network.address, network.prefix);
                let text = format!(
                    "`address` of {name}: {address} is no free address of the head's network {own}/{prefix}"
                );
                reader.mistake(node.line, text);
            } else if network.pool.contains(&address) {
                let (first, last) = (network.pool.start(), network.pool.end());
                let text = format!(
                    "`address` of {name}: {address} is in the pool {first}-{last}: take one outside, or set `pool`"
                );
                reader.mistake(node.line, text);
            }
        }
    }
}

fn domain<'a>(reader: &mut Reader<'a>, top: &Table<'a>) -> String {
    let Some(Named { name, line }) = reader.text(top, "domain") else { return "cluster.internal".to_owned() };
    if !netboot::dns::is_domain(&name) {
        reader.mistake(
            line,
            format!(
                "`domain`: `{name}` is no domain: use names of letters, digits and dashes, with dots between"
            ),
        );
    }
    name
}

/// The name of a file in the user data directory: no way out of it.
fn file_name<'a>(reader: &mut Reader<'a>, table: &Table<'a>, key: &str) -> Option<String> {
    let Named { name, line } = reader.text(table, key)?;
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
        reader.mistake(line, format!("`{key}`: `{name}` is no file name in the user data directory"));
        return None;
    }
    Some(name)
}

fn managers<'a>(reader: &mut Reader<'a>, top: &Table<'a>) -> usize {
    let table = reader.table(top, "swarm", &["managers"]);
    let Some(managers) = reader.number(&table, "managers", 1..=MANAGERS_LIMIT) else { return 1 };
    if managers % 2 == 0 {
        let text = format!(
            "`managers` must be odd: {managers} managers bear the loss of no more than {}",
            managers - 1
        );
        reader.mistake(reader.line_of(&table, "managers"), text);
    }
    managers as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_valid() {
        let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../example/cluster.toml"));
        // Every machine has the interface lo; the one that a user would name may be missing here.
        let (settings, _) = read(file, Some("lo"), None).expect("the example is valid");
        assert_eq!(settings.network.http_port, 8080);
    }

    #[test]
    fn an_empty_file_is_a_whole_configuration() {
        let settings = parse(Path::new("cluster.toml"), "").expect("valid");
        assert_eq!(settings.managers, 1);
        assert_eq!(settings.network.http_port, 8080);
    }

    #[test]
    fn all_mistakes_are_reported_at_once_with_their_lines() {
        let text = "nmae = \"x\"\n[network]\nhttp_port = 0\npool = \"10.0.0.9-10.0.0.1\"\n[swarm]\nmanagers = 2\n\
                    [[node]]\nname = \"Node 1\"\nmac = \"b8:27:eb:00:00:01\"\nrole = \"boss\"\n\
                    [[node]]\nname = \"b\"\nmac = \"c\"\nuser_data = \"../x\"\nwipe = \"never\"\nroot = \"disk\"\n";
        let mistakes = parse(Path::new("cluster.toml"), text).expect_err("wrong").to_string();
        for part in [
            "cluster.toml:1: `nmae` is no key here: write one of name, domain",
            "cluster.toml:6: `managers`",
            "cluster.toml:3: `http_port` takes a whole number from 1 to 65535",
            "cluster.toml:4: `pool`",
            "`managers` must be odd",
            "cluster.toml:8: `name`: `Node 1` cannot name a node",
            "cluster.toml:10: `role`: `boss`",
            "cluster.toml:13: `mac`",
            "cluster.toml:14: `user_data`",
            "cluster.toml:16: `root`: no place for a root: write auto, card, ram or copy",
            "cluster.toml:15: `wipe`: no policy: write always or on-change",
        ] {
            assert!(mistakes.contains(part), "{part} in:\n{mistakes}");
        }
    }

    #[test]
    fn what_does_not_fit_the_network_or_is_not_there_is_reported_with_the_rest() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("cluster.toml");
        let text = "[network]\ninterface = \"lo\"\naddress = \"10.78.0.1/24\"\npool = \"10.79.0.9-10.79.0.20\"\n\
                    router = \"10.79.0.1\"\nleases = 3\n[[node]]\nname = \"a\"\nmac = \"b8:27:eb:00:00:01\"\n\
                    address = \"10.78.0.1\"\n";
        std::fs::write(&file, text).expect("written");
        let mistakes = read(&file, None, None).map(drop).expect_err("wrong");
        let mistakes = mistakes.downcast_ref::<Mistakes>().expect("the file's mistakes").to_string();
        for part in [
            ":1: the user data",
            ":4: `pool`: 10.79.0.9-10.79.0.20 is not inside the head's network 10.78.0.1/24",
            ":5: `router`: 10.79.0.1 is not inside the head's network",
            ":6: `leases` is no key here",
            ":7: `address` of a: 10.78.0.1 is no free address",
        ] {
            assert!(mistakes.contains(part), "{part} in:\n{mistakes}");
        }
        assert_eq!(mistakes.lines().count(), 5, "each once:\n{mistakes}");
        std::fs::write(&file, "[network]\ninterface = \"nowhere0\"\n").expect("written");
        let mistakes = read(&file, None, None).map(drop).expect_err("wrong").to_string();
        assert!(mistakes.contains(":2: `interface`: there is no nowhere0; there are"), "{mistakes}");
    }

    #[test]
    fn a_head_with_two_interfaces_may_be_its_nodes_router() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("cluster.toml");
        std::fs::create_dir(folder.path().join("user-data")).expect("made");
        std::fs::write(folder.path().join("user-data/default.sh"), "").expect("written");
        let text = "[network]\ninterface = \"lo\"\naddress = \"10.78.0.1/24\"\nrouter = \"10.78.0.1\"\n";
        std::fs::write(&file, text).expect("written");
        let (settings, network) = read(&file, None, None).expect("valid");
        assert_eq!(settings.network.own_subnet(&network).router, Some(network.address));
    }

    #[test]
    fn nothing_is_given_twice() {
        let node = "[[node]]\nname = \"a\"\nmac = \"b8:27:eb:00:00:01\"\n";
        let mistakes = parse(Path::new("c"), &format!("{node}{node}")).expect_err("twice").to_string();
        assert!(mistakes.contains("belongs to the node in line"), "{mistakes}");
    }
}
