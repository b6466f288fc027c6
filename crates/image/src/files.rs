//! `files.json`: every file of an image with its package, digest and licence. One file per line, for `grep` and `diff`.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context, Result};
use cluster::Digest;
use serde::{Deserialize, Serialize};

use crate::compose::Dish;
use crate::copyright::Notices;
use crate::output::Draft;
use crate::tree::{Entry, Kind, Tree};

/// The file in an image's directory that lists the files of its trees.
pub const FILES_FILE: &str = "files.json";

/// What `files.json` holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// Those of the system image, by path.
    pub system: Vec<FileRecord>,
    /// Those of the initramfs, by path.
    pub initramfs: Vec<FileRecord>,
}

/// A file or a link. Folders are not listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its path, without a slash at the front.
    pub path: String,
    /// Permission bits, octal.
    pub mode: String,
    /// Bytes of its content, before compression.
    pub bytes: u64,
    /// Bytes that it takes in the image, compressed; none if that is not known, as in the initramfs, which is packed as
    /// a whole. Of a content that several files share, the first has all.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub packed_bytes: Option<u64>,
    /// SHA-256 of its content; none for a link.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sha256: Option<Digest>,
    /// What it points to, if it is a link.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target: Option<String>,
    /// The package that it came from; none if the kitchen or the recipe's overlay brought it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub package: Option<String>,
    /// The licences that its package's copyright file names for machines, separated by `; `. Of a package with several
    /// it does not say which one is this file's: the notice is about sources.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub licence: Option<String>,
}

/// Writes the list. `digests` and `shares` are those of the system image's files, by path: of their contents, and the
/// bytes that they take in it.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write(
    draft: &Draft,
    dish: &Dish,
    digests: &BTreeMap<String, Digest>,
    shares: &BTreeMap<String, u64>,
    notices: &Notices,
) -> Result<()> {
    let mut system = records(&dish.system, digests, notices);
    system.iter_mut().for_each(|record| record.packed_bytes = shares.get(&record.path).copied());
    let lists =
        [("system", system), ("initramfs", records(&dish.initramfs, &dish.initramfs.digests(), notices))];
    let mut text = Vec::new();
    for (place, (name, records)) in lists.iter().enumerate() {
        let front = if place == 0 { "{\n" } else { ",\n" };
        write!(text, "{front}\"{name}\": [")?;
        for (place, record) in records.iter().enumerate() {
            text.extend_from_slice(if place == 0 { b"\n" } else { b",\n" });
            serde_json::to_writer(&mut text, record).context("listing the files")?;
        }
        text.extend_from_slice(b"\n]");
    }
    text.extend_from_slice(b"\n}\n");
    draft.write(FILES_FILE, &text)
}

fn records(tree: &Tree, digests: &BTreeMap<String, Digest>, notices: &Notices) -> Vec<FileRecord> {
    let listed = tree.iter().filter(|(_, entry)| entry.kind != Kind::Folder);
    listed.map(|(path, entry)| record(path, entry, digests.get(path).copied(), notices)).collect()
}

fn record(path: &str, entry: &Entry, sha256: Option<Digest>, notices: &Notices) -> FileRecord {
    let target = match &entry.kind {
        Kind::Link(target) => Some(target.clone()),
        Kind::File(_) | Kind::Folder => None,
    };
    let package = (!entry.package.is_empty()).then(|| entry.package.to_string());
    let licence = package.as_deref().and_then(|package| notices.licence(package));
    FileRecord {
        path: path.to_owned(),
        mode: format!("{:04o}", entry.mode),
        bytes: entry.bytes(),
        packed_bytes: None,
        sha256,
        target,
        package,
        licence,
    }
}
