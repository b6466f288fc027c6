//! Buildroot's root, read from `rootfs.tar` into a tree. Keeps owners and modes; devices are left out, because the kernel
//! makes those of a node itself, and SquashFS as the kitchen writes it has none.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use crate::tree::{Entry, Kind, Tree};

/// The largest root, unpacked, in bytes.
const ROOT_BYTES_LIMIT: u64 = 4 * 1024 * 1024 * 1024;

/// A root and when its newest file was made, in seconds since 1970: the time stamp of everything that is made of it.
pub(super) struct Rootfs {
    pub(super) tree: Tree,
    pub(super) time: u64,
}

/// Reads the archive. `packages` says which package brought which file.
///
/// # Errors
/// It is no tar archive, or ends too early.
pub(super) fn read(archive: impl Read, packages: &BTreeMap<String, Arc<str>>) -> Result<Rootfs> {
    let mut tree = Tree::default();
    let mut time = 0;
    let nobody: Arc<str> = Arc::from("");
    for member in tar::Archive::new(archive.take(ROOT_BYTES_LIMIT)).entries()? {
        let mut member = member?;
        let path = plain(&String::from_utf8_lossy(&member.path_bytes()))?;
        let Some(kind) = kind(&mut member, &tree).with_context(|| format!("reading {path}"))? else {
            continue;
        };
        let header = member.header();
        time = time.max(header.mtime()?);
        let (mode, uid, gid) = (header.mode()? & 0o7777, header.uid()? as u32, header.gid()? as u32);
        let package = packages.get(&path).unwrap_or(&nobody).clone();
        tree.put(&path, Entry { kind, mode, uid, gid, package });
    }
    Ok(Rootfs { tree, time })
}

/// `None` for devices, pipes and sockets.
fn kind(member: &mut tar::Entry<'_, impl Read>, tree: &Tree) -> Result<Option<Kind>> {
    let target = |member: &tar::Entry<'_, _>| {
        let bytes = member.link_name_bytes().context("a link without a target")?;
        anyhow::Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(match member.header().entry_type() {
        tar::EntryType::Directory => Some(Kind::Folder),
        tar::EntryType::Symlink => Some(Kind::Link(target(member)?)),
        tar::EntryType::Link => {
            let first = plain(&target(member)?)?;
            Some(
                tree.get(&first)
                    .with_context(|| format!("it is a link to {first}, which is not there"))?
                    .kind
                    .clone(),
            )
        }
        tar::EntryType::Regular | tar::EntryType::Continuous => {
            let mut content = Vec::new();
            member.read_to_end(&mut content)?;
            Some(Kind::File(content.into()))
        }
        _ => None,
    })
}

/// A path without `./` at its front and `/` at its end.
fn plain(path: &str) -> Result<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        bail!("the path `{path}` leads out of its root");
    }
    Ok(parts.join("/"))
}

/// Which package brought which file, by Buildroot's `build/packages-file-list.txt` (`package,./path` per line) beside `images`. An
/// `images` folder that was carried away has none; then nobody knows.
pub(super) fn packages(images: &Path) -> BTreeMap<String, Arc<str>> {
    let Some(list) = images.parent().map(|output| output.join("build/packages-file-list.txt")) else {
        return BTreeMap::new();
    };
    let text = std::fs::read_to_string(list).unwrap_or_default();
    let mut names: BTreeMap<&str, Arc<str>> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let Some((package, path)) = line.split_once(',') else { continue };
        let name = names.entry(package).or_insert_with(|| Arc::from(package)).clone();
        found.extend(plain(path).ok().map(|path| (path, name)));
    }
    found
}
