//! Whether an image's files are still those that were made. Mends nothing.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use cluster::Digest;
use cluster::manifest::{FIRMWARE_FOLDER, SUMS_FILE};
use serde::Serialize;

use super::Image;
use crate::download::digest_of;
use crate::output::files_below;

/// What looking at an image's files gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// How many files were read.
    pub files: usize,
    /// What is wrong, by file. Empty: the image is whole.
    pub damages: Vec<Damage>,
}

/// A file that is not as it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// Its path in the image's folder.
    pub file: String,
    /// What is wrong with it: half a sentence.
    pub what: String,
}

/// Reads all files of an image and compares their digests.
///
/// # Errors
/// A file cannot be read, or the file of digests is none.
pub fn verify(image: &Image) -> Result<Verified> {
    let expected = expected(image)?;
    let mut verified = Verified::default();
    let mut damage = |file: &str, what: String| verified.damages.push(Damage { file: file.to_owned(), what });
    for (file, sha256) in &expected {
        let path = image.folder.join(file);
        if !path.is_file() {
            damage(file, "is missing".to_owned());
            continue;
        }
        verified.files += 1;
        let found = digest_of(&path)?;
        if found != *sha256 {
            damage(file, format!("has the SHA-256 {found}, was made with {sha256}"));
        }
    }
    for file in files_below(&image.folder)? {
        if file != SUMS_FILE && !expected.contains_key(&file) {
            damage(&file, "does not belong to the image".to_owned());
        }
    }
    verified.damages.sort_by(|one, other| one.file.cmp(&other.file));
    Ok(verified)
}

/// The digests that the files should have: those of the manifest, and of the file of digests where it says more. They
/// may contradict each other if one of the two was changed; then the manifest, which the head believes too, wins, and is
/// itself the file that differs.
pub(super) fn expected(image: &Image) -> Result<BTreeMap<String, Digest>> {
    let path = image.folder.join(SUMS_FILE);
    let text = fs::read_to_string(&path).with_context(|| {
        format!("reading {} (an image of an older fledermaus has none: build it anew)", path.display())
    })?;
    let mut expected = BTreeMap::new();
    for line in text.lines() {
        let (sha256, file) = line
            .split_once("  ")
            .with_context(|| format!("reading {}: a line is no digest", path.display()))?;
        let sha256 = sha256.parse().with_context(|| format!("reading {}", path.display()))?;
        expected.insert(file.to_owned(), sha256);
    }
    let manifest = &image.manifest;
    for artefact in manifest.own_files() {
        expected.insert(artefact.file.clone(), artefact.sha256);
    }
    for artefact in &manifest.firmware {
        expected.insert(format!("{FIRMWARE_FOLDER}/{}", artefact.file), artefact.sha256);
    }
    Ok(expected)
}
