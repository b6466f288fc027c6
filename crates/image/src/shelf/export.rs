//! An image as one tar archive, to carry elsewhere: unpacked, its folder is an image again. The same image gives the
//! same archive.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cluster::Digest;
use sha2::{Digest as _, Sha256};

use super::{Image, verify};
use crate::progress::Progress;
use cluster::manifest::SUMS_FILE;

/// A file that would have been overwritten was named (exit code 2).
#[derive(Debug, thiserror::Error)]
#[error("{} is there already: name another file, or remove it", .0.display())]
pub struct AlreadyThere(pub PathBuf);

/// Writes all files of an image to a new archive, below a folder that is called as the image, and gives its bytes.
///
/// # Errors
/// [`AlreadyThere`]; a file of the image is damaged, which it names; or the archive cannot be written. Then there is no
/// archive.
pub fn export(image: &Image, archive: &Path, progress: &mut dyn Progress) -> Result<u64> {
    if archive.exists() {
        return Err(AlreadyThere(archive.to_owned()).into());
    }
    let writing = || format!("writing {}", archive.display());
    let folder = archive.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(folder).with_context(writing)?;
    let mut tar = tar::Builder::new(BufWriter::new(file));
    let expected = verify::expected(image)?;
    let sums = image.folder.join(SUMS_FILE);
    let total: u64 = image.bytes;
    let mut done = 0;
    progress.step("archive");
    for (name, sha256) in
        expected.iter().map(|(name, sha256)| (name.as_str(), Some(*sha256))).chain([(SUMS_FILE, None)])
    {
        let path = if name == SUMS_FILE { sums.clone() } else { image.folder.join(name) };
        let mut file = Hashed {
            file: File::open(&path).with_context(|| format!("opening {}", path.display()))?,
            hasher: Sha256::new(),
        };
        let bytes = file.file.metadata()?.len();
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(0o644);
        header.set_mtime(0);
        tar.append_data(&mut header, format!("{}/{name}", image.manifest.name), &mut file)
            .with_context(writing)?;
        if sha256.is_some_and(|sha256| sha256 != Digest(file.hasher.finalize().into())) {
            bail!(
                "{} does not have the digest that it was made with: see `fledermaus image verify`",
                path.display()
            );
        }
        done += bytes;
        progress.bytes(done, total);
    }
    let mut file = tar.into_inner().with_context(writing)?;
    file.flush().with_context(writing)?;
    let file = file.into_inner().map_err(|error| error.into_error()).with_context(writing)?;
    fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .with_context(writing)?;
    file.persist_noclobber(archive).with_context(writing)?;
    Ok(fs::metadata(archive).with_context(writing)?.len())
}

/// A file whose digest is that of what was read of it, not of what it is later.
struct Hashed {
    file: File,
    hasher: Sha256,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}
