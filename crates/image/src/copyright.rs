//! What the packages' copyright files say, where they say it for machines (Debian's "machine-readable
//! debian/copyright", format 1.0). Judges nothing: a licence is what the package calls it.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{Kind, Tree};

/// How the first line of a machine-readable file begins.
const FORMAT: &str = "Format:";
/// Where packages have their notices.
const FOLDER: &str = "usr/share/doc/";

/// The notices of packages, by their names.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    packages: BTreeMap<String, Notice>,
}

/// One package's notice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notice {
    /// The names of its files' licences, such as `GPL-2+ or Expat`, each once.
    pub(crate) licences: BTreeSet<String>,
    /// The texts of licences that it gives in full, by name.
    pub(crate) texts: BTreeMap<String, String>,
}

impl Notices {
    /// Reads the notices that are in these trees.
    pub(crate) fn read<'a>(trees: impl IntoIterator<Item = &'a Tree>) -> Self {
        let mut packages = BTreeMap::new();
        for tree in trees {
            for (path, entry) in tree.iter() {
                let Some(name) = path.strip_prefix(FOLDER).map(|rest| rest.trim_end_matches("/copyright"))
                else {
                    continue;
                };
                let text = text_of(tree, path, &entry.kind);
                if let Some(notice) = text.as_deref().and_then(Notice::parse) {
                    packages.insert(name.to_owned(), notice);
                }
            }
        }
        Self { packages }
    }

    /// A package's notice, if it has one that machines can read.
    pub(crate) fn of(&self, package: &str) -> Option<&Notice> {
        self.packages.get(package)
    }

    /// The licences of a package in one line; `None` if it does not say for machines.
    pub(crate) fn licence(&self, package: &str) -> Option<String> {
        let licences = &self.of(package)?.licences;
        let joined: Vec<&str> = licences.iter().map(String::as_str).collect();
        (!joined.is_empty()).then(|| joined.join("; "))
    }
}

/// The notice's text: the file itself, or that of the package whose folder it links to.
fn text_of(tree: &Tree, path: &str, kind: &Kind) -> Option<String> {
    let content = match kind {
        Kind::File(content) if path.ends_with("/copyright") => content,
        Kind::Link(target) => {
            let name = target.trim_end_matches("/copyright").rsplit('/').next()?;
            tree.content(&format!("{FOLDER}{name}/copyright"))?
        }
        _ => return None,
    };
    Some(String::from_utf8_lossy(content).into_owned())
}

impl Notice {
    /// `None` for a text that is for people only.
    fn parse(text: &str) -> Option<Self> {
        if !text.trim_start().starts_with(FORMAT) {
            return None;
        }
        let mut notice = Self::default();
        for stanza in stanzas(text) {
            let Some((name, body)) = licence(&stanza) else { continue };
            let of_files = stanza.iter().any(|line| line.starts_with("Files:"));
            // What Debian wrote itself for building the package is not in the image.
            let of_debian = stanza.iter().any(|line| line.trim_end() == "Files: debian/*");
            if of_files && !of_debian && !name.is_empty() {
                notice.licences.insert(name.clone());
            }
            if !body.trim().is_empty() {
                notice.texts.entry(name).or_insert(body);
            }
        }
        Some(notice)
    }
}

/// Groups of lines between empty ones.
fn stanzas(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines: Vec<&str> = text.lines().collect();
    let groups = lines.split(|line| line.trim().is_empty()).map(<[&str]>::to_vec).collect::<Vec<_>>();
    groups.into_iter().filter(|group| !group.is_empty())
}

/// The short name in a stanza's field `License`, and the text that follows it.
fn licence(stanza: &[&str]) -> Option<(String, String)> {
    let start = stanza.iter().position(|line| line.starts_with("License:"))?;
    let name =
        stanza[start].trim_start_matches("License:").split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let body = stanza[start + 1..].iter().take_while(|line| line.starts_with([' ', '\t']));
    // A line with a dot alone is an empty one.
    let body: Vec<&str> =
        body.map(|line| line.trim()).map(|line| if line == "." { "" } else { line }).collect();
    Some((name, body.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
        Upstream-Name: x\nLicense: Overall\n\nFiles: *\nCopyright: 2020 A\n 2021 B\nLicense:  GPL-2+  or Expat\n\n\
        Files: lib/*\nCopyright: C\nLicense: BSD-3-clause\n Redistribution\n .\n is permitted.\n\n\
        Files: debian/*\nCopyright: D\nLicense: WTFPL\n\nLicense: GPL-2+\n On Debian systems\n";

    #[test]
    fn licences_of_files_are_read_with_their_texts() {
        let notice = Notice::parse(TEXT).expect("for machines");
        assert_eq!(notice.licences.iter().collect::<Vec<_>>(), ["BSD-3-clause", "GPL-2+ or Expat"]);
        assert_eq!(notice.texts["BSD-3-clause"], "Redistribution\n\nis permitted.");
        assert_eq!(notice.texts["GPL-2+"], "On Debian systems");
    }

    #[test]
    fn a_text_for_people_says_nothing() {
        assert_eq!(Notice::parse("This is free software.\n\nLicense: GPL\n"), None);
    }

    #[test]
    fn a_package_may_point_to_another_s_notice() {
        let mut tree = Tree::default();
        tree.put_file("usr/share/doc/a/copyright", 0o644, TEXT.as_bytes());
        tree.put_link("usr/share/doc/b", "a");
        tree.put_link("usr/share/doc/c/copyright", "../a/copyright");
        tree.put_link("usr/share/doc/d", "gone");
        let notices = Notices::read([&tree]);
        for name in ["a", "b", "c"] {
            assert_eq!(notices.licence(name).as_deref(), Some("BSD-3-clause; GPL-2+ or Expat"), "{name}");
        }
        assert_eq!(notices.licence("d"), None);
    }
}
