//! What is other in one image than in another: packages, and single files.

use std::collections::BTreeMap;

use anyhow::Result;
use cluster::manifest::Package;
use serde::Serialize;

use super::{Image, files};
use crate::files::FileRecord;
use crate::update::{Change, ChangeKind, Side};

/// What is other in the second of two images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Kernel versions, if they differ: first and second.
    pub kernel: Option<(String, String)>,
    /// Packages that came, went or changed, by name; their bytes are those of the installed files.
    pub packages: Vec<Change>,
    /// Files that came, went or changed, by tree and path.
    pub files: Vec<FileChange>,
}

/// A file that is other, or is in one of the two only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// `system` or `initramfs`.
    pub tree: &'static str,
    /// Its path, without a slash at the front.
    pub path: String,
    /// Its package, in the second image if it is there.
    pub package: Option<String>,
    /// Its bytes in the first image, if it is there.
    pub old_bytes: Option<u64>,
    /// Its bytes in the second image, if it is there.
    pub new_bytes: Option<u64>,
}

impl Difference {
    /// Whether the images hold the same.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Compares two images.
///
/// # Errors
/// One of them was made before files were listed, or cannot be read.
pub fn difference(one: &Image, other: &Image) -> Result<Difference> {
    let (old, new) = (files(one)?, files(other)?);
    let mut changes = file_changes("system", &old.system, &new.system);
    changes.extend(file_changes("initramfs", &old.initramfs, &new.initramfs));
    let kernels = (one.manifest.kernel_version.clone(), other.manifest.kernel_version.clone());
    Ok(Difference {
        kernel: (kernels.0 != kernels.1).then_some(kernels),
        packages: package_changes(&one.manifest.packages, &other.manifest.packages),
        files: changes,
    })
}

fn package_changes(old: &[Package], new: &[Package]) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, (old, new)) in pairs(old, new, |package| &package.name) {
        if old.map(|old| old.sha256) == new.map(|new| new.sha256) {
            continue;
        }
        let side =
            |package: &Package| Side { version: package.version.clone(), bytes: package.installed_bytes };
        let (old, new) = (old.map(side), new.map(side));
        changes.push(Change {
            name: name.to_owned(),
            kind: ChangeKind::of(old.as_ref(), new.as_ref()),
            old,
            new,
        });
    }
    changes
}

fn file_changes(tree: &'static str, old: &[FileRecord], new: &[FileRecord]) -> Vec<FileChange> {
    let mut changes = Vec::new();
    for (path, (old, new)) in pairs(old, new, |file| &file.path) {
        let what = |file: &FileRecord| (file.sha256, file.target.clone(), file.mode.clone());
        if old.map(what) == new.map(what) {
            continue;
        }
        changes.push(FileChange {
            tree,
            path: path.to_owned(),
            package: new.or(old).and_then(|file| file.package.clone()),
            old_bytes: old.map(|file| file.bytes),
            new_bytes: new.map(|file| file.bytes),
        });
    }
    changes
}

/// Two lists side by side, by a key that each has once.
fn pairs<'a, T>(
    old: &'a [T],
    new: &'a [T],
    key: impl Fn(&'a T) -> &'a str,
) -> BTreeMap<&'a str, (Option<&'a T>, Option<&'a T>)> {
    let mut pairs: BTreeMap<&str, (Option<&T>, Option<&T>)> = BTreeMap::new();
    for item in old {
        pairs.entry(key(item)).or_default().0 = Some(item);
    }
    for item in new {
        pairs.entry(key(item)).or_default().1 = Some(item);
    }
    pairs
}
