//! Moves a lock to what the suite has now, and says what that changes. Fetches lists, no packages.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use crate::build::BuildError;
use crate::download::Downloads;
use crate::lock::{self, Lock, Pinned};
use crate::progress::Progress;
use crate::recipe::Recipe;
use crate::shopping::shop;
use crate::{mirror, version};

/// What to update, and from where.
#[derive(Clone, Debug)]
pub struct UpdateOptions {
    /// The recipe, `image.toml`; its lock lies beside it.
    pub recipe: PathBuf,
    /// The folder for downloads, shared with builds.
    pub cache: PathBuf,
    /// apt's folder, `/etc/apt`: where mirrors come from when the recipe names none.
    pub apt: PathBuf,
}

/// A lock that was updated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Updated {
    /// The lock's file.
    pub lock: PathBuf,
    /// When the suite's Release was made, seconds since 1970.
    pub time: u64,
    /// How many packages it has.
    pub packages: usize,
    /// Bytes of all packages, as they are downloaded.
    pub bytes: u64,
    /// What is other than before, by name. Everything is new if there was no lock.
    pub changes: Vec<Change>,
}

/// One package that is other than before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The package.
    pub name: String,
    /// What happened to it.
    pub kind: ChangeKind,
    /// Version and bytes of before, as far as it was there.
    pub old: Option<Side>,
    /// Version and bytes of now, as far as it is there.
    pub new: Option<Side>,
}

/// A package before or after a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Side {
    /// Its version.
    pub version: String,
    /// Bytes: of the `.deb` when a lock changes, of the installed files when images are compared.
    pub bytes: u64,
}

/// What happened to a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It was not there before.
    Added,
    /// It is not there any more.
    Removed,
    /// The version is a later one.
    Upgraded,
    /// The version is an earlier one.
    Downgraded,
    /// The version is the same, the content is not.
    Rebuilt,
}

/// Writes the lock of a recipe anew, from the signed lists of its mirrors.
///
/// # Errors
/// The recipe's mistakes; or a mirror that does not answer, is not signed or does not have what is wanted. The lock is
/// as it was before.
pub fn update(options: &UpdateOptions, progress: &mut dyn Progress) -> Result<Updated, BuildError> {
    let text = fs::read_to_string(&options.recipe)
        .with_context(|| format!("reading {}", options.recipe.display()))?;
    let recipe = Recipe::parse(&options.recipe, &text)?;
    let downloads = Downloads::new(&options.cache)?;
    let path = lock::path_of(&options.recipe);
    let old = readable(&path, progress);
    // Asked for anew: whoever updates has heard that there is something newer.
    let new = resolve(&recipe, &options.apt, &downloads, Duration::ZERO, progress)?;
    if old.as_ref().is_some_and(|old| old.time > new.time) {
        progress.notice("the mirror's Release is older than the one that the lock was made of: it may be behind, or replayed");
    }
    if old.as_ref() != Some(&new) {
        lock::write(&path, &new)?;
        let _guard = downloads.lock()?;
        downloads.note(&[&path])?;
    }
    let old = old.map(|lock| lock.packages).unwrap_or_default();
    Ok(Updated {
        lock: path,
        time: new.time,
        packages: new.packages.len(),
        bytes: new.packages.iter().map(|package| package.bytes).sum(),
        changes: changes(&old, &new.packages),
    })
}

/// A lock that cannot be read is what an update mends.
fn readable(path: &Path, progress: &mut dyn Progress) -> Option<Lock> {
    match lock::read(path) {
        Ok(lock) => lock,
        Err(error) => {
            progress.notice(&format!("the lock is made anew: {error}"));
            None
        }
    }
}

/// The packages that the recipe's mirrors have for it. Releases younger than `fresh` are not asked for again.
///
/// # Errors
/// As [`update`].
pub(crate) fn resolve(
    recipe: &Recipe,
    apt: &Path,
    downloads: &Downloads,
    fresh: Duration,
    progress: &mut dyn Progress,
) -> Result<Lock, BuildError> {
    progress.step("release");
    let mirrors = mirror::verified(recipe, apt, downloads, fresh, progress)?;
    progress.step("package list");
    let _guard = downloads.lock()?;
    let index = mirror::index(&mirrors, &recipe.architecture, downloads, progress)?;
    let time = mirrors.iter().map(|verified| verified.release.date).max().unwrap_or(0);
    shop(recipe, &index, time, progress)
}

fn changes(old: &[Pinned], new: &[Pinned]) -> Vec<Change> {
    let side = |package: &Pinned| Side { version: package.version.clone(), bytes: package.bytes };
    let find = |list: &'_ [Pinned], name: &str| list.iter().find(|package| package.name == name).cloned();
    let mut names: Vec<&str> = old.iter().chain(new).map(|package| &*package.name).collect();
    names.sort_unstable();
    names.dedup();
    let mut changes = Vec::new();
    for name in names {
        let (old, new) = (find(old, name), find(new, name));
        let digests = (old.as_ref().map(|old| old.sha256), new.as_ref().map(|new| new.sha256));
        if digests.0 == digests.1 {
            continue;
        }
        let (old, new) = (old.as_ref().map(side), new.as_ref().map(side));
        changes.push(Change {
            name: name.to_owned(),
            kind: ChangeKind::of(old.as_ref(), new.as_ref()),
            old,
            new,
        });
    }
    changes
}

impl ChangeKind {
    /// What led from one to the other; they are not the same.
    pub(crate) fn of(old: Option<&Side>, new: Option<&Side>) -> Self {
        let (Some(old), Some(new)) = (old, new) else {
            return if old.is_none() { Self::Added } else { Self::Removed };
        };
        match version::compare(&old.version, &new.version) {
            Ordering::Less => Self::Upgraded,
            Ordering::Greater => Self::Downgraded,
            Ordering::Equal => Self::Rebuilt,
        }
    }
}
