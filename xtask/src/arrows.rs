//! Which of the house's crates may know which: the arrows of ARCHITECTURE.md.

use anyhow::Context;

use crate::Finding;

/// Each room, and the rooms it may depend on.
const ARROWS: [(&str, &[&str]); 10] = [
    ("cluster", &[]),
    ("netboot", &["cluster"]),
    ("depot", &["cluster"]),
    ("server", &["cluster", "netboot", "depot"]),
    ("image", &["cluster"]),
    // Of `server` and `image` a few modules: `DOORS`.
    ("lab", &["cluster", "server", "image"]),
    ("cli", &["cluster", "server", "image", "depot", "lab"]),
    ("init", &["cluster"]),
    ("agent", &["cluster"]),
    ("xtask", &[]),
];

/// Arrows that a crate's manifest or the lab's sources draw and the house does not have.
///
/// # Errors
/// A manifest is not TOML.
pub(crate) fn check(path: &str, text: &str) -> anyhow::Result<Vec<Finding>> {
    if let Some(room) = room(path) {
        return manifest(room, text).with_context(|| format!("reading {path}"));
    }
    let lab = path.starts_with("crates/lab/") && path.ends_with(".rs");
    Ok(if lab { beyond_the_doors(text) } else { Vec::new() })
}

/// The room whose manifest this is.
fn room(path: &str) -> Option<&str> {
    let directory = path.strip_suffix("/Cargo.toml")?;
    let room = directory.strip_prefix("crates/").unwrap_or(directory);
    // A folder inside a room, such as its fuzz targets, is no room.
    (!room.contains('/')).then_some(room)
}

fn manifest(room: &str, text: &str) -> anyhow::Result<Vec<Finding>> {
    let manifest: toml::Table = text.parse()?;
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == room) else {
        let rule = format!("`{room}` is a new room: add its arrows to xtask and ARCHITECTURE.md");
        return Ok(vec![Finding { line: 1, rule }]);
    };
    let dependencies =
        ["dependencies", "build-dependencies"].into_iter().filter_map(|key| manifest.get(key)?.as_table());
    let names = dependencies.flat_map(|table| table.keys());
    let forbidden = names.filter(|name| is_room(name) && !allowed.contains(&name.as_str()));
    Ok(forbidden
        .map(|name| Finding { line: line_of(text, name), rule: format!("`{room}` must not know `{name}`") })
        .collect())
}

fn is_room(name: &str) -> bool {
    ARROWS.iter().any(|(room, _)| *room == name)
}

fn line_of(text: &str, name: &str) -> usize {
    text.lines().position(|line| line.starts_with(name)).map_or(1, |index| index + 1)
}

/// What the lab may name of the rooms that it knows.
const DOORS: [(&str, &[&str], &str); 2] = [
    ("server::", &["client"], "the lab knows `server::client` alone; the head is a process to it"),
    (
        "image::",
        &["card", "initramfs"],
        "the lab knows `image::card` and `image::initramfs` alone; images are made before it starts",
    ),
];

fn beyond_the_doors(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
        for (room, doors, rule) in DOORS {
            let is_open = |after: &str| doors.iter().any(|door| after.starts_with(door));
            if line.split(room).skip(1).any(|after| !is_open(after)) {
                findings.push(Finding { line: index + 1, rule: rule.to_owned() });
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrow_against_the_house_is_found() {
        let text = "[dependencies]\ncluster.workspace = true\nserver.workspace = true\n";
        let findings = check("crates/netboot/Cargo.toml", text).expect("TOML");
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].line, 3);
        assert_eq!(check("crates/cli/Cargo.toml", text).expect("TOML"), []);
        assert_eq!(check("crates/kitchen/Cargo.toml", "").expect("TOML").len(), 1);
        assert_eq!(check("crates/netboot/fuzz/Cargo.toml", text).expect("TOML"), []);
        assert_eq!(check("Cargo.toml", "[workspace]\n").expect("TOML"), []);
    }

    #[test]
    fn the_lab_knows_what_has_a_door_alone() {
        let text =
            "use server::client::Client;\nuse server::store::Store;\nuse image::card::mbr;\nimage::build()\n";
        let findings = check("crates/lab/src/lab.rs", text).expect("no manifest");
        assert_eq!(findings.iter().map(|finding| finding.line).collect::<Vec<_>>(), [2, 4]);
        assert_eq!(check("crates/cli/src/serve.rs", text).expect("no manifest"), []);
    }
}
