//! What can be thrown away: predecessors of images, what killed builds left, and cached packages that no lock and no
//! image needs. Looking and throwing away are two steps; a person stands between them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use cluster::manifest::MANIFEST_FILE;
use serde::Serialize;

use super::open;
use crate::build::BuildError;
use crate::download::{Downloads, KEPT, REFUSED};
use crate::lock;
use crate::output::{DRAFT, PREVIOUS, files_below};

/// Where to look.
#[derive(Clone, Debug)]
pub struct SweepOptions {
    /// The folder for downloads, shared with builds.
    pub cache: PathBuf,
    /// Images that are kept, beside those that builds with this cache made and that still are there.
    pub images: Vec<PathBuf>,
    /// Locks whose packages are kept, beside those that builds with this cache used and that still are there.
    pub locks: Vec<PathBuf>,
}

/// Something that nobody needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rubbish {
    /// The file or folder.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// What it is: half a sentence.
    pub why: String,
}

/// What nobody needs, the largest first.
///
/// # Errors
/// Something cannot be read. A lock or manifest that cannot be understood is one: what it needs is not known.
pub fn rubbish(options: &SweepOptions) -> Result<Vec<Rubbish>> {
    let downloads = Downloads::new(&options.cache)?;
    // No build is under way while we look.
    let _guard = downloads.lock()?;
    let (mut images, mut locks) = (options.images.clone(), options.locks.clone());
    for path in downloads.known()? {
        if path.is_dir() { images.push(path) } else { locks.push(path) }
    }
    for paths in [&mut images, &mut locks] {
        paths.sort();
        paths.dedup();
    }
    let mut all = Vec::new();
    for image in &images {
        all.extend(beside(image)?);
    }
    let needed = needed(&images, &locks)?;
    all.extend(cached(&options.cache, &needed)?);
    all.sort_by(|one, other| (other.bytes, &one.path).cmp(&(one.bytes, &other.path)));
    all.dedup();
    Ok(all)
}

/// Throws away, and gives the bytes that this made free. Goes on after what cannot be removed.
///
/// # Errors
/// What could not be removed, all of it.
pub fn sweep(cache: &Path, rubbish: &[Rubbish]) -> Result<u64> {
    let _guard = Downloads::new(cache)?.lock()?;
    let (mut freed, mut complaints) = (0, Vec::new());
    for Rubbish { path, bytes, .. } in rubbish {
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        match removed {
            Ok(()) => freed += bytes,
            Err(error) => complaints.push(format!("removing {}: {error}", path.display())),
        }
    }
    if complaints.is_empty() { Ok(freed) } else { Err(anyhow!(complaints.join("\n"))) }
}

/// An image's predecessor, and drafts of builds that were killed.
fn beside(image: &Path) -> Result<Vec<Rubbish>> {
    let mut found = Vec::new();
    let parent = image.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let previous = image.file_name().map(|name| format!("{}{PREVIOUS}", name.to_string_lossy()));
    for entry in fs::read_dir(parent).into_iter().flatten() {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if Some(&name) == previous.as_ref() && path.join(MANIFEST_FILE).is_file() {
            found.push(rubbish_of(&path, "an image that another one replaced")?);
        } else if name.starts_with(DRAFT) && path.is_dir() {
            found.push(rubbish_of(&path, "what a build left that was ended")?);
        }
    }
    Ok(found)
}

/// Digests of packages that images and locks name.
fn needed(images: &[PathBuf], locks: &[PathBuf]) -> Result<BTreeSet<String>> {
    let mut needed = BTreeSet::new();
    for image in images.iter().filter(|image| image.join(MANIFEST_FILE).is_file()) {
        needed.extend(open(image)?.manifest.packages.iter().map(|package| package.sha256.to_string()));
    }
    for path in locks {
        let lock = lock::read(path).map_err(|error| match error {
            BuildError::Mistakes(mistakes) => anyhow::Error::new(mistakes),
            BuildError::Failed(error) => error,
        });
        let lock = lock.context("a lock cannot be read, so nobody knows which packages it needs")?;
        let packages = lock.map(|lock| lock.packages).unwrap_or_default();
        needed.extend(packages.iter().map(|package| package.sha256.to_string()));
    }
    Ok(needed)
}

fn cached(cache: &Path, needed: &BTreeSet<String>) -> Result<Vec<Rubbish>> {
    let names: Vec<(PathBuf, String)> = fs::read_dir(cache)
        .with_context(|| format!("reading {}", cache.display()))?
        .flatten()
        .filter(|entry| entry.path().is_file())
        .map(|entry| (entry.path(), entry.file_name().to_string_lossy().into_owned()))
        .collect();
    // Lists of packages are needed as long as a Release that is kept vouches for them.
    let releases = names.iter().filter(|(_, name)| name.starts_with(KEPT));
    let releases: String = releases.map(|(path, _)| fs::read_to_string(path).unwrap_or_default()).collect();
    let mut found = Vec::new();
    for (path, name) in &names {
        let is_digest = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        let why = if name.ends_with(REFUSED) {
            "a download that was changed after it was fetched"
        } else if name.ends_with(".part") {
            "a download that was broken off"
        } else if is_digest && !needed.contains(name) && !releases.contains(name.as_str()) {
            "a download that no lock and no image names"
        } else {
            continue;
        };
        found.push(rubbish_of(path, why)?);
    }
    Ok(found)
}

fn rubbish_of(path: &Path, why: &str) -> Result<Rubbish> {
    let mut bytes = 0;
    let files = if path.is_dir() { files_below(path)? } else { vec![String::new()] };
    for file in files {
        let file = if file.is_empty() { path.to_owned() } else { path.join(file) };
        bytes += fs::metadata(&file).with_context(|| format!("looking at {}", file.display()))?.len();
    }
    Ok(Rubbish { path: path.to_owned(), bytes, why: why.to_owned() })
}
