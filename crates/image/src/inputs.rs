//! Everything beside packages that goes into an image, and the key that changes when any of it does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use cluster::Digest;
use sha2::{Digest as _, Sha256};

use crate::build::BuildOptions;
use crate::download::digest_of;
use crate::lists;
use crate::lock::Lock;
use crate::recipe::{Container, Recipe};
use crate::rules;
use crate::tree::{Entry, Kind, Tree};

/// Raised when the same inputs give another image because the kitchen's code changed.
const KITCHEN: &str = "kitchen 7";
/// The most files and folders that an overlay may have.
const OVERLAY_FILES_LIMIT: usize = 20_000;
/// The deepest that an overlay's folders may nest.
const OVERLAY_DEPTH_LIMIT: usize = 40;
/// The programs of the node: name of the file, path in the system image.
const NODE_PROGRAMS: [(&str, &str); 2] =
    [("fledermaus-init", "usr/sbin/fledermaus-init"), ("fledermaus-agent", "usr/sbin/fledermaus-agent")];

/// Files that are laid over the root.
pub(crate) struct Inputs {
    /// The node's own programs.
    pub(crate) programs: Tree,
    /// The recipe's overlay.
    pub(crate) overlay: Tree,
}

/// Reads the node's programs and the overlay.
///
/// # Errors
/// One of them is missing or cannot be read.
pub(crate) fn read(options: &BuildOptions, recipe: &Recipe) -> Result<Inputs> {
    let mut programs = Tree::default();
    for (name, path) in NODE_PROGRAMS {
        programs.put_file(path, 0o755, program(&options.node_binaries.join(name))?);
    }
    let mut overlay = Tree::default();
    if let Some(folder) = &recipe.overlay {
        add_folder(folder, "", OVERLAY_DEPTH_LIMIT, &mut overlay)
            .with_context(|| format!("reading the overlay {}", folder.display()))?;
    }
    Ok(Inputs { programs, overlay })
}

fn program(path: &Path) -> Result<Vec<u8>> {
    const AARCH64: u8 = 0xb7;
    let content = fs::read(path).with_context(|| {
        format!(
            "reading {} (build the node's programs with \
             cargo build --profile node --target aarch64-unknown-linux-musl -p init -p agent)",
            path.display()
        )
    })?;
    if !content.starts_with(b"\x7fELF") || content.get(18) != Some(&AARCH64) {
        bail!("{} is no program for 64-bit ARM: build it for aarch64-unknown-linux-musl", path.display());
    }
    Ok(content)
}

fn add_folder(folder: &Path, below: &str, depth: usize, tree: &mut Tree) -> Result<()> {
    if depth == 0 || tree.iter().count() > OVERLAY_FILES_LIMIT {
        bail!("it has more than {OVERLAY_FILES_LIMIT} files or {OVERLAY_DEPTH_LIMIT} levels");
    }
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().with_context(|| format!("{} is no UTF-8", entry.path().display()))?;
        let path = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
        let place = crate::tree::clean(&path)?;
        let about = entry.metadata()?;
        let mode = about.permissions().mode() & 0o7777;
        let kind = if about.is_dir() {
            Kind::Folder
        } else if about.is_symlink() {
            Kind::Link(fs::read_link(entry.path())?.to_string_lossy().into_owned())
        } else if about.is_file() {
            Kind::File(
                fs::read(entry.path()).with_context(|| format!("reading {}", entry.path().display()))?.into(),
            )
        } else {
            bail!("{} is neither file, folder nor link", entry.path().display());
        };
        let is_folder = kind == Kind::Folder;
        tree.put(&place, Entry::own(kind, mode));
        if is_folder {
            add_folder(&entry.path(), &path, depth - 1, tree)?;
        }
    }
    Ok(())
}

/// The key of an image: the same for the same inputs.
///
/// # Errors
/// A container archive cannot be read.
pub(crate) fn key(recipe_text: &str, recipe: &Recipe, inputs: &Inputs, lock: &Lock) -> Result<Digest> {
    let mut hasher = Sha256::new();
    let mut add = |part: &[u8]| {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    };
    add(KITCHEN.as_bytes());
    add(recipe_text.as_bytes());
    for list in
        [lists::PACKAGES, lists::EXCLUDED, lists::DROPPED, lists::INITRAMFS_MODULES, lists::SYSTEM_MODULES]
    {
        add(list.as_bytes());
    }
    for (path, _, content) in rules::BASE {
        add(path.as_bytes());
        add(content.as_bytes());
    }
    add(lock.to_text().as_bytes());
    for (path, entry) in inputs.programs.iter().chain(inputs.overlay.iter()) {
        add(path.as_bytes());
        add(&entry.mode.to_le_bytes());
        match &entry.kind {
            Kind::Folder => add(b"folder"),
            Kind::File(content) => add(content),
            Kind::Link(target) => add(target.as_bytes()),
        }
    }
    for container in &recipe.containers {
        if let Container::Archive(path) = container {
            add(&digest_of(path)?.0);
        }
    }
    Ok(Digest(hasher.finalize().into()))
}
