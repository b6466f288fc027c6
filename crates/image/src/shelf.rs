//! Finished images in folders: which there are, what is in them, whether they are whole. Makes none.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use cluster::Digest;
use cluster::manifest::{MANIFEST_FILE, Manifest, SUMS_FILE};
use serde::Serialize;

use crate::download::digest_of;
use crate::files::{FILES_FILE, Files};
use crate::output::files_below;

mod difference;
mod export;
mod sweep;
mod verify;

pub use difference::{Difference, FileChange, difference};
pub use export::{AlreadyThere, export};
pub use sweep::{Rubbish, SweepOptions, rubbish, sweep};
pub use verify::{Damage, Verified, verify};

/// An image in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Image {
    /// The folder.
    pub folder: PathBuf,
    /// What names this image and no other: the SHA-256 of its file of digests. None if it was made before there was one.
    pub id: Option<Digest>,
    /// When it was put there, seconds since 1970.
    pub made: u64,
    /// Bytes of all its files.
    pub bytes: u64,
    /// What it consists of.
    pub manifest: Manifest,
}

/// A folder without an image was named (exit code 2).
#[derive(Debug, thiserror::Error)]
#[error("{} holds no image: it has no {MANIFEST_FILE} (`fledermaus image build --out DIR` makes one)", .0.display())]
pub struct NoImage(pub PathBuf);

/// What a package takes of the system image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// The package; none for what the kitchen and the recipe's overlay brought.
    pub package: Option<String>,
    /// Its version, if it is a package.
    pub version: Option<String>,
    /// How many files it has there.
    pub files: usize,
    /// Bytes of their contents.
    pub installed_bytes: u64,
    /// Bytes that they take in the image, compressed. None if the image does not say.
    pub packed_bytes: Option<u64>,
    /// The licences that it names for machines.
    pub licence: Option<String>,
}

/// The image in a folder.
///
/// # Errors
/// [`NoImage`]; or something in the folder cannot be read.
pub fn open(folder: &Path) -> Result<Image> {
    let path = folder.join(MANIFEST_FILE);
    let text = match fs::read(&path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Err(NoImage(folder.to_owned()).into());
        }
        text => text.with_context(|| format!("reading {}", path.display()))?,
    };
    let manifest = serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))?;
    let made = fs::metadata(&path)?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut bytes = 0;
    for file in files_below(folder)? {
        bytes += fs::metadata(folder.join(&file)).with_context(|| format!("looking at {file}"))?.len();
    }
    let sums = folder.join(SUMS_FILE);
    let id = if sums.is_file() { Some(digest_of(&sums)?) } else { None };
    Ok(Image { folder: folder.to_owned(), id, made, bytes, manifest })
}

/// The image in a folder and those in the folders in it, by path.
///
/// # Errors
/// The folder cannot be read. One that is not there holds none.
pub fn list(folder: &Path) -> Result<Vec<Image>> {
    let mut folders = vec![folder.to_owned()];
    match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => {
            for entry in entries.with_context(|| format!("reading {}", folder.display()))? {
                folders.push(entry?.path());
            }
        }
    }
    folders.sort();
    folders.retain(|folder| folder.join(MANIFEST_FILE).is_file() && !is_draft(folder));
    folders.iter().map(|folder| open(folder)).collect()
}

/// Whether a folder is a build's that is not done.
fn is_draft(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

/// The lists of an image's files.
///
/// # Errors
/// The image was made before there were such lists, or they cannot be read.
pub fn files(image: &Image) -> Result<Files> {
    let path = image.folder.join(FILES_FILE);
    let text = fs::read(&path).with_context(|| {
        format!("reading {} (an image of an older fledermaus has none: build it anew)", path.display())
    })?;
    serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))
}

/// Where the bytes of an image's system image go, the largest first.
///
/// # Errors
/// As [`files`].
pub fn shares(image: &Image) -> Result<Vec<Share>> {
    let mut shares: BTreeMap<Option<String>, Share> = BTreeMap::new();
    for file in files(image)?.system {
        let share = shares.entry(file.package.clone()).or_insert_with(|| Share {
            package: file.package.clone(),
            packed_bytes: Some(0),
            licence: file.licence.clone(),
            ..Share::default()
        });
        share.files += 1;
        share.installed_bytes += file.bytes;
        let packed = if file.sha256.is_some() { file.packed_bytes } else { Some(0) };
        share.packed_bytes = share.packed_bytes.zip(packed).map(|(all, own)| all + own);
    }
    let mut shares: Vec<Share> = shares.into_values().collect();
    for share in &mut shares {
        let own = |package: &&cluster::manifest::Package| Some(&package.name) == share.package.as_ref();
        share.version = image.manifest.packages.iter().find(own).map(|package| package.version.clone());
    }
    shares.sort_by_key(|share| std::cmp::Reverse((share.packed_bytes, share.installed_bytes)));
    Ok(shares)
}
