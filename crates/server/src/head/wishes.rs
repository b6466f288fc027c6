//! What is wished of each node: by `[[node]]` in cluster.toml, and by operators since.
//!
//! ```text
//!   cluster.toml ──head starts──► what changed in the file since it was last read is wished   (three-way, key by key)
//!                ──apply────────► all that the file says is wished                             (two-way, with a diff)
//!   node set, page, API ────────► wished, kept in the store, written back by `export`
//! ```
//!
//! A node without a wish of its own has that of its group (`[[group]]` in cluster.toml), and else the cluster's.
//!
//! A wish is a key and a text, so that file, diff, API and export speak of the same things. What a node runs with changes
//! when it boots next (name, address, image policy); role and labels at once.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use cluster::plan::{Keep, RootPlace, WipePolicy};
use cluster::swarm::RoleWish;
use cluster::{Mac, NodeName};

use super::node::Node;
use crate::artefacts::{DEFAULT, Images};
use crate::config::{Common, GroupSettings, NodeSettings};

/// Keys and texts.
pub(crate) type Wishes = BTreeMap<String, String>;
/// The groups by their names.
pub(crate) type Groups = BTreeMap<String, GroupSettings>;

/// What can be wished beside labels.
pub(crate) const KEYS: [&str; 9] =
    ["name", "address", "group", "role", "user_data", "wipe", "keep", "root", "image"];
/// How a label's key begins.
pub(crate) const LABEL: &str = "label.";
/// The most labels of a node, and the longest key and value, in bytes.
const LABELS_LIMIT: usize = 32;
const LABEL_BYTES: usize = 63;

/// What the configuration says of a node.
pub(crate) fn of(settings: &NodeSettings) -> Wishes {
    let mut wishes = of_common(&settings.common);
    wishes.insert("name".to_owned(), settings.name.to_string());
    let texts =
        [("address", settings.address.map(|address| address.to_string())), ("group", settings.group.clone())];
    wishes.extend(texts.into_iter().filter_map(|(key, text)| Some((key.to_owned(), text?))));
    wishes
}

/// What it says of a node or of a group.
pub(crate) fn of_common(common: &Common) -> Wishes {
    let texts = [
        ("role", common.role.map(|role| role_word(role).to_owned())),
        ("user_data", common.user_data.clone()),
        ("wipe", common.wipe.map(|wipe| wipe.word().to_owned())),
        ("keep", common.keep.map(|keep| keep.to_string())),
        ("root", common.root.map(|root| root.word().to_owned())),
        ("image", common.image.clone()),
    ];
    let texts = texts.into_iter().filter_map(|(key, text)| Some((key.to_owned(), text?)));
    texts.chain(common.labels.iter().map(|(key, text)| (format!("{LABEL}{key}"), text.clone()))).collect()
}

/// What a node has: its own wishes, and its group's where it has none.
fn effective(own: &Wishes, groups: &Groups) -> Wishes {
    let group = own.get("group").and_then(|name| groups.get(name));
    let mut wishes = group.map(|group| group.wishes.clone()).unwrap_or_default();
    wishes.extend(own.iter().map(|(key, text)| (key.clone(), text.clone())));
    wishes
}

/// The wishes without a group and an image that are not there any more.
pub(crate) fn that_are_there(wishes: &Wishes, groups: &Groups, images: &Images) -> Wishes {
    let mut left = wishes.clone();
    left.retain(|key, text| match key.as_str() {
        "group" => groups.contains_key(text),
        "image" => text == DEFAULT || images.has(text),
        _ => true,
    });
    left
}

/// The keys that differ: key, before, after.
pub(crate) fn changes(before: &Wishes, after: &Wishes) -> Vec<(String, Option<String>, Option<String>)> {
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let both = keys.into_iter().map(|key| (key.clone(), before.get(key).cloned(), after.get(key).cloned()));
    both.filter(|(_, before, after)| before != after).collect()
}

/// What is wished once a file that said `base` says `file`: where the file changed, the file; elsewhere what was.
pub(crate) fn merged(now: &Wishes, base: &Wishes, file: &Wishes) -> Wishes {
    let mut merged = now.clone();
    for (key, _, after) in changes(base, file) {
        match after {
            Some(text) => drop(merged.insert(key, text)),
            None => drop(merged.remove(&key)),
        }
    }
    merged
}

/// Whether a text fits its key, as far as that hangs on nothing else; or a sentence.
pub(crate) fn check(key: &str, text: &str) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("`{key}`: `{}` {what}", text.chars().take(80).collect::<String>()));
    match key {
        "name" => text.parse::<NodeName>().map(drop).map_err(|error| error.to_string()),
        "address" if text.parse::<Ipv4Addr>().is_err() => wrong("is no IPv4 address"),
        "role" if role(text).is_none() => wrong("is none: write manager, worker or any"),
        "user_data" if text.is_empty() || text.starts_with('.') || text.contains(['/', '\0', '\n', '\\']) => {
            wrong("is no file name in the user data directory")
        }
        "wipe" if text.parse::<WipePolicy>().is_err() => wrong("is no policy: write always or on-change"),
        "keep" => text.parse::<Keep>().map(drop).map_err(|error| format!("`keep`: {error}")),
        "group" | "image" if text.parse::<NodeName>().is_err() => wrong("is no name"),
        "root" if text.parse::<RootPlace>().is_err() => wrong("is no place: write auto, card, ram or copy"),
        _ if KEYS.contains(&key) => Ok(()),
        _ => match key.strip_prefix(LABEL) {
            Some(label) if !is_label(label) => Err(format!(
                "`{label}` cannot be a label: use 1 to {LABEL_BYTES} of a-z, 0-9, dash, dot and underscore"
            )),
            Some(_) if text.len() > LABEL_BYTES || text.chars().any(char::is_control) => {
                wrong("cannot be a label's value: up to 63 printable bytes")
            }
            Some(_) => Ok(()),
            None => Err(format!("`{key}` is no key here: write one of {} or label.NAME", KEYS.join(", "))),
        },
    }
}

/// Whether a word can name a label.
pub(crate) fn is_label(word: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
    (1..=LABEL_BYTES).contains(&word.len()) && word.bytes().all(letter)
}

/// Whether a node has too many labels.
pub(crate) fn too_many_labels(wishes: &Wishes) -> bool {
    wishes.keys().filter(|key| key.starts_with(LABEL)).count() > LABELS_LIMIT
}

/// The role of a word.
pub(crate) fn role(text: &str) -> Option<RoleWish> {
    [RoleWish::Manager, RoleWish::Worker, RoleWish::Any].into_iter().find(|role| role_word(*role) == text)
}

fn role_word(role: RoleWish) -> &'static str {
    match role {
        RoleWish::Manager => "manager",
        RoleWish::Worker => "worker",
        RoleWish::Any => "any",
    }
}

impl Node {
    /// Takes over what is wished; all but the name, which it has until it boots next.
    pub(crate) fn heed(&mut self, groups: &Groups) {
        let wishes = effective(&self.kept.wishes, groups);
        let text = |key: &str| wishes.get(key).map(String::as_str);
        self.fixed = text("address").and_then(|text| text.parse().ok());
        self.wish = text("role").and_then(role).unwrap_or_default();
        self.user_data = text("user_data").map(str::to_owned);
        self.wipe = text("wipe").and_then(|word| word.parse().ok());
        self.keep = text("keep").and_then(|text| text.parse().ok()).unwrap_or_default();
        self.root = text("root").and_then(|text| text.parse().ok());
        self.image = text("image").map(str::to_owned);
        let label =
            |(key, text): (&String, &String)| Some((key.strip_prefix(LABEL)?.to_owned(), text.clone()));
        self.labels = wishes.iter().filter_map(label).collect();
    }

    /// The name that is wished, if it is another.
    pub(crate) fn new_name(&self) -> Option<NodeName> {
        let wished = self.kept.wishes.get("name")?.parse().ok()?;
        (wished != self.kept.name).then_some(wished)
    }

    /// Its group.
    pub(crate) fn group(&self) -> Option<&str> {
        self.kept.wishes.get("group").map(String::as_str)
    }
}

/// A node as a table of cluster.toml.
pub(crate) fn table(mac: Mac, wishes: &Wishes) -> String {
    let quoted = |text: &str| format!("{text:?}");
    let mut lines = vec!["[[node]]".to_owned()];
    let name = wishes.get("name").map(|name| format!("name = {}", quoted(name)));
    lines.extend(name);
    lines.push(format!("mac = \"{mac}\""));
    let others = KEYS.iter().filter(|key| **key != "name");
    lines.extend(others.filter_map(|key| Some(format!("{key} = {}", quoted(wishes.get(*key)?)))));
    let labels = wishes.iter().filter_map(|(key, text)| Some((key.strip_prefix(LABEL)?, text)));
    let labels: Vec<String> =
        labels.map(|(key, text)| format!("{} = {}", quoted(key), quoted(text))).collect();
    if !labels.is_empty() {
        lines.push(format!("labels = {{ {} }}", labels.join(", ")));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(pairs: &[(&str, &str)]) -> Wishes {
        pairs.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn the_file_wins_where_it_changed_and_an_operator_where_it_did_not() {
        let base = wishes(&[("name", "a"), ("role", "worker"), ("wipe", "always")]);
        let now = wishes(&[("name", "a"), ("role", "manager"), ("root", "ram"), ("wipe", "on-change")]);
        let file = wishes(&[("name", "a"), ("role", "worker"), ("address", "10.0.0.5")]);
        let merged = merged(&now, &base, &file);
        let expected =
            wishes(&[("name", "a"), ("role", "manager"), ("root", "ram"), ("address", "10.0.0.5")]);
        assert_eq!(
            merged, expected,
            "role and root are the operator's, wipe is gone from the file, address is new"
        );
    }

    #[test]
    fn what_does_not_fit_its_key_is_refused_with_what_would() {
        for (key, text, sentence) in [
            ("name", "A B", "cannot name a node"),
            ("address", "10.0.0", "is no IPv4 address"),
            ("role", "boss", "write manager, worker or any"),
            ("user_data", "../shadow", "no file name in the user data directory"),
            ("user_data", ".hidden", "no file name"),
            ("wipe", "never", "write always or on-change"),
            ("root", "nfs", "write auto, card, ram or copy"),
            ("keep", "all", "write none, or 64M to 1024G"),
            ("colour", "red", "is no key here: write one of name, address"),
            ("label.a b", "x", "cannot be a label"),
            ("label.a", "\u{1b}[2J", "cannot be a label's value"),
        ] {
            assert!(check(key, text).expect_err(key).contains(sentence), "{key}={text}");
        }
        assert_eq!(check("label.rack", "north 3"), Ok(()));
    }

    #[test]
    fn a_table_is_read_back_as_what_was_written() {
        let mac = Mac([0xb8, 0x27, 0xeb, 0, 0, 1]);
        let own =
            wishes(&[("name", "web"), ("role", "worker"), ("label.a.b", "x \"y\" \\ é"), ("root", "ram")]);
        let settings = crate::config::parse(std::path::Path::new("c"), &table(mac, &own)).expect("valid");
        assert_eq!(of(&settings.nodes[0]), own);
        assert_eq!(settings.nodes[0].mac, mac);
    }
}
