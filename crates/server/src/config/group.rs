//! The `[[group]]` tables: what is wished of all nodes of a group, unless it is wished otherwise of one of them.

use std::collections::BTreeMap;

use cluster::NodeName;
use cluster::configuration::{Named, Reader, Table};
use cluster::plan::{Keep, RootPlace, WipePolicy};
use cluster::swarm::RoleWish;

use super::{file_name, image};
use crate::artefacts::Sources;
use crate::head::wishes::{self, Wishes};

/// The keys of [`Common`].
pub(super) const COMMON: [&str; 7] = ["user_data", "role", "wipe", "keep", "root", "image", "labels"];

/// What can be wished of a node and of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Common {
    pub(crate) user_data: Option<String>,
    pub(crate) role: Option<RoleWish>,
    pub(crate) wipe: Option<WipePolicy>,
    pub(crate) keep: Option<Keep>,
    pub(crate) root: Option<RootPlace>,
    pub(crate) image: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupSettings {
    pub(crate) wishes: Wishes,
    /// Where it stands in the file.
    pub(super) line: usize,
}

/// Reads the tables: the groups by their names.
pub(super) fn read<'a>(
    reader: &mut Reader<'a>,
    top: &Table<'a>,
    images: &Sources,
) -> BTreeMap<String, GroupSettings> {
    let mut groups: BTreeMap<String, GroupSettings> = BTreeMap::new();
    let keys: Vec<&str> = COMMON.into_iter().chain(["name"]).collect();
    for table in reader.tables(top, "group", &keys) {
        let line = table.line();
        reader.required_text(&table, "name", "\"workers\"");
        let name = reader.parsed::<NodeName>(&table, "name");
        let wishes = wishes::of_common(&common(reader, &table, images));
        let Some(name) = name.map(String::from) else { continue };
        if let Some(first) = groups.get(&name) {
            let text = format!("`{name}` is the name of the group in line {} already", first.line);
            reader.mistake(line, text);
        }
        groups.insert(name, GroupSettings { wishes, line });
    }
    groups
}

/// The group that a node names.
pub(super) fn named<'a>(
    reader: &mut Reader<'a>,
    table: &Table<'a>,
    groups: &BTreeMap<String, GroupSettings>,
) -> Option<String> {
    let Named { name, line } = reader.text(table, "group")?;
    if !groups.contains_key(&name) {
        let text = format!("`group`: there is no [[group]] of the name `{name}`: write one, or another name");
        reader.mistake(line, text);
        return None;
    }
    Some(name)
}

/// Reads what groups and nodes have in common.
pub(super) fn common<'a>(reader: &mut Reader<'a>, table: &Table<'a>, images: &Sources) -> Common {
    Common {
        user_data: file_name(reader, table, "user_data"),
        role: role(reader, table),
        wipe: reader.parsed::<WipePolicy>(table, "wipe"),
        keep: reader.parsed::<Keep>(table, "keep"),
        root: reader.parsed::<RootPlace>(table, "root"),
        image: image::named(reader, table, images),
        labels: labels(reader, table),
    }
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

fn role<'a>(reader: &mut Reader<'a>, table: &Table<'a>) -> Option<RoleWish> {
    let Named { name, line } = reader.text(table, "role")?;
    let role = wishes::role(&name);
    if role.is_none() {
        reader.mistake(line, format!("`role`: `{name}` is none: write manager, worker or any"));
    }
    role
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::parse;

    #[test]
    fn groups_are_read_and_their_mistakes_have_lines() {
        let text = "[[group]]\nname = \"web\"\nrole = \"worker\"\nlabels = { tier = \"web\" }\n\
                    [[node]]\nname = \"a\"\nmac = \"b8:27:eb:00:00:01\"\ngroup = \"web\"\n";
        let settings = parse(Path::new("c"), text).expect("valid");
        assert_eq!(settings.groups["web"].wishes["role"], "worker");
        assert_eq!(settings.groups["web"].wishes["label.tier"], "web");
        assert_eq!(settings.nodes[0].group.as_deref(), Some("web"));
        let wrong = "[[group]]\nname = \"web\"\nrole = \"boss\"\naddress = \"10.0.0.1\"\n\
                     [[group]]\nname = \"web\"\n\
                     [[node]]\nname = \"a\"\nmac = \"b8:27:eb:00:00:01\"\ngroup = \"wbe\"\n";
        let mistakes = parse(Path::new("c"), wrong).expect_err("wrong").to_string();
        for part in [
            "c:3: `role`: `boss` is none",
            "c:4: `address` is no key here",
            "c:5: `web` is the name of the group in line 1 already",
            "c:10: `group`: there is no [[group]] of the name `wbe`",
        ] {
            assert!(mistakes.contains(part), "{part} in:\n{mistakes}");
        }
    }
}
