//! `SHA256SUMS`, an image's table of contents, as `sha256sum` writes it. What a bucket holds may be anybody's: its
//! paths stay in the image's folder.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use cluster::Digest;

/// The most bytes of the file.
pub(crate) const INDEX_BYTES_LIMIT: u64 = 1024 * 1024;
/// The most files of an image.
const FILES_LIMIT: usize = 1_000;
/// How deep they may lie: `firmware/start.elf`.
const DEPTH_LIMIT: usize = 3;

/// The digests of an image's files, by their paths in its folder.
///
/// # Errors
/// It is no such file, or names something outside the folder.
pub(crate) fn parse(text: &str) -> Result<BTreeMap<String, Digest>> {
    let mut files = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let reading = || format!("line {}", number + 1);
        let (sha256, path) = line.split_once("  ").context("is no digest and path").with_context(reading)?;
        let sha256 = sha256.parse().with_context(reading)?;
        let is_odd = |part: &str| part.is_empty() || part.starts_with('.') || part.contains(['\\', '\0']);
        if path.split('/').any(is_odd)
            || path.split('/').count() > DEPTH_LIMIT
            || path == cluster::manifest::SUMS_FILE
        {
            bail!("line {}: `{}` is no file of an image", number + 1, path.escape_debug());
        }
        files.insert(path.to_owned(), sha256);
        ensure!(files.len() <= FILES_LIMIT, "it has more than {FILES_LIMIT} files");
    }
    ensure!(
        files.contains_key(cluster::manifest::MANIFEST_FILE),
        "it names no {}",
        cluster::manifest::MANIFEST_FILE
    );
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_the_folder() {
        let digest = Digest([7; 32]);
        let whole = format!("{digest}  firmware/start.elf\n{digest}  manifest.json\n");
        assert_eq!(parse(&whole).expect("a table").len(), 2);
        for path in ["../manifest.json", "/etc/passwd", "a//b", ".hidden", "a/b/c/d", "", "SHA256SUMS"] {
            let said = format!("{:#}", parse(&format!("{whole}{digest}  {path}\n")).expect_err(path));
            assert!(said.contains("line 3"), "{said}");
        }
        assert!(parse(&format!("{digest}  kernel\n")).is_err(), "an image has a manifest");
        assert!(parse("short  manifest.json\n").is_err());
    }
}
