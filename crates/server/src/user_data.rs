//! User data: a template per node or one for all; where they are, and how they are read and written.

pub(crate) mod diff;
mod render;

use std::fmt;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use cluster::{Mac, NodeName};
use tempfile::NamedTempFile;

use crate::disk;

pub(crate) use self::render::{check_syntax, expression, render};

/// The largest user data, template or rendered, in bytes.
pub const BYTES_LIMIT: usize = 10 * 1024 * 1024;

/// The most templates that are listed, and how deep the folders in the user data directory are looked through.
const LIST_LIMIT: usize = 1_000;
const DEPTH_LIMIT: usize = 8;
/// The longest name of a template with its folders, in bytes: file systems take 255 for each part.
const NAME_LIMIT: usize = 255;

/// Whose versions are kept together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A node's own, whatever its name is then.
    Node(Mac),
    /// A template that nodes share, by its file's name.
    Shared(String),
}

impl fmt::Display for Owner {
    /// What the store calls it: no hardware address begins with a slash.
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Node(mac) => mac.fmt(formatter),
            Self::Shared(name) => write!(formatter, "/{name}"),
        }
    }
}

/// A template that is not written yet.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// Its file's name in the user data directory.
    pub(crate) name: String,
    pub(crate) text: String,
}

/// What a template can name.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) name: NodeName,
    pub(crate) mac: Mac,
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) role: &'static str,
    pub(crate) cluster: String,
    pub(crate) domain: String,
    pub(crate) head: Ipv4Addr,
}

/// Where the templates are.
#[derive(Clone, Debug)]
pub(crate) struct Library {
    pub(crate) directory: PathBuf,
    pub(crate) default: String,
    /// Another server that has the user data of all nodes. Ours then serves none.
    pub(crate) url: Option<String>,
    /// How long it may run on a node.
    pub(crate) limit_secs: u32,
    /// Where the configuration names them.
    pub(crate) line: usize,
}

impl Library {
    /// The file of a node: its own, else the one the configuration names, else the default.
    pub(crate) fn file(&self, node: &NodeName, named: Option<&str>) -> PathBuf {
        let own = self.own(node);
        if own.is_file() { own } else { self.directory.join(named.unwrap_or(&self.default)) }
    }

    /// The file that is the node's alone.
    pub(crate) fn own(&self, node: &NodeName) -> PathBuf {
        self.directory.join(format!("{node}.sh"))
    }

    /// The names of all templates, and how long they are in bytes, by name. Reads the disk.
    pub(crate) fn list(&self) -> Vec<(String, u64)> {
        let mut found = Vec::new();
        look_through(&self.directory, "", DEPTH_LIMIT, &mut found);
        found.sort();
        found
    }
}

fn look_through(folder: &Path, before: &str, depth: usize, found: &mut Vec<(String, u64)>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let (name, path) = (format!("{before}{name}"), entry.path());
        if found.len() >= LIST_LIMIT || !is_file_name(&name) {
            continue;
        }
        // As a template that is included: a link counts as what it leads to.
        match std::fs::metadata(&path) {
            Ok(about) if about.is_dir() && depth > 0 => {
                look_through(&path, &format!("{name}/"), depth - 1, found);
            }
            Ok(about) if about.is_file() => found.push((name, about.len())),
            _ => {}
        }
    }
}

/// Whether it names a file in the user data directory, if need be in a folder of it; nothing that is hidden, and nothing outside
/// but by an operator's link.
pub(crate) fn is_file_name(name: &str) -> bool {
    let is_plain = |part: &str| !part.is_empty() && !part.starts_with('.');
    name.len() <= NAME_LIMIT && !name.contains(['\\', '\0', '\n']) && name.split('/').all(is_plain)
}

/// Reads a template.
pub(crate) fn read(file: &Path) -> anyhow::Result<String> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("reading the user data {}", file.display()))?;
    if text.len() > BYTES_LIMIT {
        bail!("the user data {} is larger than {BYTES_LIMIT} bytes", file.display());
    }
    if text.contains('\0') {
        bail!("the user data {} has a NUL in it: it has to be text, as every script", file.display());
    }
    Ok(text)
}

/// Whether two paths lead to one file.
pub(crate) fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    one == other || real(one).is_some_and(|real_one| real(other) == Some(real_one))
}

/// Whether a template can be written: only folders on the way to it, and no link, which would be lost or lead outside.
pub(crate) fn check_place(directory: &Path, name: &str) -> anyhow::Result<()> {
    let mut path = directory.to_owned();
    let mut parts = name.split('/').peekable();
    while let Some(part) = parts.next() {
        path.push(part);
        let shown = path.display();
        match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error).with_context(|| format!("looking at {shown}")),
            Ok(about) if about.is_symlink() => bail!("{shown} is a link: change what it leads to"),
            Ok(about) if about.is_dir() && parts.peek().is_none() => bail!("{shown} is a folder"),
            Ok(about) if !about.is_dir() && parts.peek().is_some() => bail!("{shown} is no folder"),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// A text on the disk that has no name yet.
pub(crate) struct Written(NamedTempFile);

/// Writes a text beside the file that it is to replace.
pub(crate) fn write(file: &Path, text: &str) -> anyhow::Result<Written> {
    let directory = disk::folder_of(file);
    disk::make_folder(directory).with_context(|| format!("making the folder {}", directory.display()))?;
    let mut temporary = NamedTempFile::new_in(directory)
        .with_context(|| format!("writing into the user data directory {}", directory.display()))?;
    temporary.write_all(text.as_bytes()).context("writing the user data")?;
    // A new one is its owner's alone; who may read the old one may read this one.
    if let Ok(about) = std::fs::metadata(file) {
        temporary.as_file().set_permissions(about.permissions()).context("writing the user data")?;
    }
    temporary.as_file().sync_all().context("writing the user data")?;
    Ok(Written(temporary))
}

impl Written {
    /// Replaces the file in one step: there is never half a script. It is on the disk when this returns.
    pub(crate) fn replace(self, file: &Path) -> anyhow::Result<()> {
        disk::replace(file, self.0).with_context(|| format!("replacing {}", file.display()))
    }
}
