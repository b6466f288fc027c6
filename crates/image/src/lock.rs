//! `image.lock`: the packages of an image, exactly, beside the recipe that asks for them. With it a build needs no
//! list of packages and gives the same bytes next year; without it the newest signed list decides.
//!
//! Text in and out, and whether a recipe still fits. Resolves nothing and fetches nothing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cluster::Digest;

use crate::build::BuildError;
use crate::download::Wanted;
use crate::wishes::Wishes;

pub(crate) mod fit;
mod text;

/// What a person is told to do about a lock that does not serve.
pub(crate) const ADVICE: &str = "run `fledermaus image update`";

/// The packages of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lock {
    pub(crate) suite: String,
    pub(crate) architecture: String,
    /// When the suite's Release was made, seconds since 1970: the time stamp of every file of an image.
    pub(crate) time: u64,
    /// What the packages were chosen for; another recipe needs another lock.
    pub(crate) wishes: Wishes,
    /// By name, each once.
    pub(crate) packages: Vec<Pinned>,
}

/// One package, and the only content that it may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pinned {
    pub(crate) name: String,
    pub(crate) version: String,
    /// `all` is every one.
    pub(crate) architecture: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: Digest,
    /// Where the `.deb` is, below a mirror's URL.
    pub(crate) pool: String,
    pub(crate) part: Part,
}

/// What a package is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The system image.
    System,
    /// The kernel and its modules.
    Kernel,
    /// Firmware of the lab's emulated boards.
    Lab,
    /// Firmware that boards without a card fetch.
    Firmware,
    /// The boot loader on a card; nothing of it is in the image.
    Card,
}

impl Part {
    /// Each with its name in the file.
    pub(crate) const ALL: [(&str, Self); 5] = [
        ("system", Self::System),
        ("kernel", Self::Kernel),
        ("lab", Self::Lab),
        ("firmware", Self::Firmware),
        ("card", Self::Card),
    ];

    /// Its name in the file.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, part)| *part == self).map_or("", |(name, _)| name)
    }
}

/// Where the lock of a recipe is: `image.toml` has `image.lock`.
pub(crate) fn path_of(recipe: &Path) -> PathBuf {
    recipe.with_extension("lock")
}

/// The lock in a file; `None` if there is no such file.
///
/// # Errors
/// It cannot be read, or it is no lock: with all mistakes and their lines.
pub(crate) fn read(path: &Path) -> Result<Option<Lock>, BuildError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(Lock::parse(path, &text)?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(anyhow::Error::new(error).context(format!("reading {}", path.display())).into()),
    }
}

/// Writes a lock; it is there as a whole or not at all.
///
/// # Errors
/// The folder cannot be written.
pub(crate) fn write(path: &Path, lock: &Lock) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let writing = || format!("writing {}", path.display());
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(writing)?;
    std::io::Write::write_all(&mut file, lock.to_text().as_bytes()).with_context(writing)?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(readable).with_context(writing)?;
    file.as_file().sync_all().with_context(writing)?;
    file.persist(path).map(drop).with_context(writing)
}

impl Lock {
    /// The packages that are for something.
    pub(crate) fn of(&self, part: Part) -> impl Iterator<Item = &Pinned> {
        self.packages.iter().filter(move |package| package.part == part)
    }

    /// The packages that an image is made of.
    pub(crate) fn of_image(&self) -> impl Iterator<Item = &Pinned> {
        self.packages.iter().filter(|package| package.part != Part::Card)
    }
}

/// What to download, from any of the mirrors with these URLs.
pub(crate) fn wanted<'a>(packages: impl Iterator<Item = &'a Pinned>, mirrors: &[String]) -> Vec<Wanted> {
    let wanted = |package: &Pinned| Wanted {
        name: format!("{} {}", package.name, package.version),
        urls: mirrors.iter().map(|mirror| format!("{mirror}/{}", package.pool)).collect(),
        bytes: package.bytes,
        sha256: package.sha256,
    };
    let mut all: Vec<Wanted> = packages.map(wanted).collect();
    // The largest first, so that no worker is left alone with it at the end.
    all.sort_by_key(|file| std::cmp::Reverse(file.bytes));
    all
}

#[cfg(test)]
mod tests;
