//! A file system in memory: what the system image will hold, sorted by path. Writes nothing to disk, so
//! that owners, modes and links need no rights on the machine that builds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, bail};
use cluster::Digest;
use sha2::{Digest as _, Sha256};

/// Files by path. A path has no slash at its front or end and no `.` or `..`; the root has none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    entries: BTreeMap<String, Entry>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    /// Permission bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The package it came from; empty for what the kitchen made.
    pub(crate) package: Arc<str>,
}

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Folder,
    File(Arc<[u8]>),
    Link(String),
}

impl Tree {
    pub(crate) fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.entries.contains_key(path)
    }

    /// The content of a file; `None` for anything else.
    pub(crate) fn content(&self, path: &str) -> Option<&Arc<[u8]>> {
        match &self.entries.get(path)?.kind {
            Kind::File(content) => Some(content),
            _ => None,
        }
    }

    /// All files in the order of their paths: a folder before what is in it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// The digests of all files' contents, by path; worked out on all cores.
    pub(crate) fn digests(&self) -> BTreeMap<String, Digest> {
        let files: Vec<(&str, &Arc<[u8]>)> = self
            .iter()
            .filter_map(|(path, entry)| match &entry.kind {
                Kind::File(content) => Some((path, content)),
                _ => None,
            })
            .collect();
        let next = AtomicUsize::new(0);
        let worker = || {
            let mut own = Vec::new();
            while let Some((path, content)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                own.push(((*path).to_owned(), Digest(Sha256::digest(content).into())));
            }
            own
        };
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
        })
    }

    /// Puts an entry in place, with the folders above it. A folder never replaces what is there.
    pub(crate) fn put(&mut self, path: &str, entry: Entry) {
        if path.is_empty() || (entry.kind == Kind::Folder && self.has(path)) {
            return;
        }
        self.make_parents(path);
        self.entries.insert(path.to_owned(), entry);
    }

    pub(crate) fn put_file(&mut self, path: &str, mode: u32, content: impl Into<Arc<[u8]>>) {
        self.put(path, Entry::own(Kind::File(content.into()), mode));
    }

    pub(crate) fn put_link(&mut self, path: &str, target: &str) {
        self.put(path, Entry::own(Kind::Link(target.to_owned()), 0o777));
    }

    pub(crate) fn put_folder(&mut self, path: &str, mode: u32) {
        self.put(path, Entry::own(Kind::Folder, mode));
    }

    /// Takes all of another tree; its files replace those of the same path.
    pub(crate) fn merge(&mut self, other: Self) {
        for (path, entry) in other.entries {
            self.put(&path, entry);
        }
    }

    /// Removes what the predicate holds for. Folders that are empty thereby stay, and those above what stays.
    pub(crate) fn remove_if(&mut self, drop: impl Fn(&str) -> bool) {
        self.entries.retain(|path, _| !drop(path));
        let kept: Vec<String> = self.entries.keys().cloned().collect();
        kept.iter().for_each(|path| self.make_parents(path));
    }

    fn make_parents(&mut self, path: &str) {
        for (slash, _) in path.match_indices('/') {
            let folder = self.entries.entry(path[..slash].to_owned());
            folder.or_insert_with(|| Entry::own(Kind::Folder, 0o755));
        }
    }
}

impl Entry {
    /// An entry that no package brought: root's.
    pub(crate) fn own(kind: Kind, mode: u32) -> Self {
        Self { kind, mode, uid: 0, gid: 0, package: Arc::from("") }
    }

    /// Bytes of its content.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.kind {
            Kind::File(content) => content.len() as u64,
            _ => 0,
        }
    }
}

/// A path as archives write it, made one of a [`Tree`]: without `./`, and below `usr` where Debian's
/// root has links (`bin`, `sbin`, `lib`).
///
/// # Errors
/// It leads out of the root.
pub(crate) fn clean(path: &str) -> Result<String> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => bail!("the path `{path}` leads out of its root"),
            part => parts.push(part),
        }
    }
    if let Some(&("bin" | "sbin" | "lib")) = parts.first() {
        parts.insert(0, "usr");
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_what_is_in_them_and_are_kept() {
        let mut tree = Tree::default();
        tree.put_folder("a/b", 0o700);
        tree.put_file("a/b/c", 0o644, *b"x");
        tree.put_folder("a/b", 0o755);
        let all: Vec<_> = tree.iter().map(|(path, entry)| (path, entry.mode)).collect();
        assert_eq!(all, [("a", 0o755), ("a/b", 0o700), ("a/b/c", 0o644)]);
    }

    /// The copyright notices went into an image's list and not into the image: their folder had been removed.
    #[test]
    fn what_stays_keeps_the_folders_above_it() {
        let mut tree = Tree::default();
        tree.put_file("usr/share/doc/x/copyright", 0o644, *b"terms");
        tree.put_file("usr/share/doc/x/changelog", 0o644, *b"long");
        tree.remove_if(|path| path.starts_with("usr/share/doc") && !path.ends_with("copyright"));
        let all: Vec<_> = tree.iter().map(|(path, _)| path).collect();
        assert_eq!(
            all,
            ["usr", "usr/share", "usr/share/doc", "usr/share/doc/x", "usr/share/doc/x/copyright"]
        );
    }

    #[test]
    fn paths_stay_inside_and_below_usr() {
        assert_eq!(clean("./bin/sh").expect("inside"), "usr/bin/sh");
        assert_eq!(clean("/usr//lib/./x").expect("inside"), "usr/lib/x");
        assert_eq!(clean("./").expect("inside"), "");
        assert!(clean("a/../../etc").is_err());
    }
}
