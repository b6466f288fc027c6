//! Writes a card image: into a file that appears as a whole, or onto a device that is read again afterwards. Whether a
//! device may be written is decided elsewhere.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use nix::fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise};

use crate::progress::Progress;

/// How much is written or read at once, in bytes. Each is on the card before the next, so that progress is no lie.
const CHUNK: usize = 1 << 20;
/// The sector with the partition table, in bytes. It is written last.
const TABLE: usize = 512;

/// Writes the image into a file, in place of one that is there.
///
/// # Errors
/// `out` is no plain file, or its folder cannot be written; then it is as it was.
pub fn write_file(image: &[u8], out: &Path) -> Result<()> {
    if let Ok(about) = fs::metadata(out) {
        ensure!(about.is_file(), "{} is no plain file: devices are written with --device", out.display());
    }
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let writing = || format!("writing {}", out.display());
    let mut draft = tempfile::Builder::new().prefix(".card-").tempfile_in(folder).with_context(writing)?;
    draft.write_all(image).with_context(writing)?;
    draft.as_file().set_permissions(PermissionsExt::from_mode(0o644)).with_context(writing)?;
    draft.as_file().sync_all().with_context(writing)?;
    draft.persist(out).map_err(|error| error.error).with_context(writing)?;
    Ok(())
}

/// A device that nobody else on this machine can use until this is dropped: neither mount it nor write it.
#[derive(Debug)]
pub struct Claimed {
    file: File,
    path: PathBuf,
}

impl Claimed {
    /// Claims a device. The kernel refuses if anything on this machine uses it or a partition of it.
    ///
    /// # Errors
    /// The device is in use, or cannot be opened for writing.
    pub fn open(device: &Path) -> Result<Self> {
        let mut options = File::options();
        options.read(true).write(true).custom_flags(OFlag::O_EXCL.bits());
        let file = options.open(device).map_err(|error| {
            let hint = match error.kind() {
                ErrorKind::ResourceBusy => ": something on this machine uses it",
                ErrorKind::PermissionDenied => {
                    ": writing a device takes root, so put sudo before the command"
                }
                _ => "",
            };
            anyhow::Error::new(error).context(format!("opening {}{hint}", device.display()))
        })?;
        Ok(Self { file, path: device.to_owned() })
    }

    /// Writes the image from the device's first byte, then reads it back.
    ///
    /// A card that was written by half has no partition table: it goes first, and comes last.
    ///
    /// # Errors
    /// The device cannot be written, or does not hold what was written.
    pub fn write(&self, image: &[u8], progress: &mut dyn Progress) -> Result<()> {
        progress.step("write");
        let writing = || format!("writing {}", self.path.display());
        let put = |bytes: &[u8], at: usize| {
            self.file.write_all_at(bytes, at as u64).and_then(|()| self.file.sync_data())
        };
        ensure!(image.len() > TABLE, "the image has no content");
        put(&[0; TABLE], 0).with_context(writing)?;
        for start in (TABLE..image.len()).step_by(CHUNK) {
            let end = image.len().min(start + CHUNK);
            put(&image[start..end], start).with_context(writing)?;
            progress.bytes(end as u64, image.len() as u64);
        }
        put(&image[..TABLE], 0).with_context(writing)?;
        verify(image, &self.file, progress).with_context(|| format!("verifying {}", self.path.display()))
    }
}

fn verify(image: &[u8], file: &File, progress: &mut dyn Progress) -> Result<()> {
    progress.step("verify");
    file.sync_all().context("waiting until everything is written")?;
    // Without this the kernel would read what it remembers, not what the card holds.
    posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).context("emptying the page cache")?;
    let mut chunk = vec![0; CHUNK];
    for (number, expected) in image.chunks(CHUNK).enumerate() {
        let found = &mut chunk[..expected.len()];
        file.read_exact_at(found, (number * CHUNK) as u64).context("reading back")?;
        if let Some(at) = found.iter().zip(expected).position(|(found, expected)| found != expected) {
            let at = number * CHUNK + at;
            bail!("byte {at} is not what was written: the card is worn out or a fake; use another");
        }
        progress.bytes((number * CHUNK + expected.len()) as u64, image.len() as u64);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    fn image() -> Vec<u8> {
        (0..3 * CHUNK as u32 + 700).map(|byte| (byte / 7) as u8).collect()
    }

    #[test]
    fn a_file_appears_as_a_whole_and_replaces_only_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("card.img");
        fs::write(&out, b"an older one").expect("written");
        write_file(&image(), &out).expect("written");
        assert!(fs::read(&out).expect("there") == image());
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
        assert!(write_file(&image(), folder.path()).is_err());
        let said = write_file(&image(), Path::new("/dev/null")).expect_err("refused").to_string();
        assert!(said.contains("--device"), "{said}");
    }

    #[test]
    fn a_device_holds_the_image_and_keeps_what_is_behind_it() {
        let device = tempfile::NamedTempFile::new().expect("a file");
        device.as_file().write_all_at(&[9; 10], 4 * CHUNK as u64).expect("written");
        Claimed::open(device.path()).expect("claimed").write(&image(), &mut Silent).expect("written");
        let found = fs::read(device.path()).expect("there");
        assert!(found[..image().len()] == image());
        assert_eq!(found[4 * CHUNK..], [9; 10]);
    }

    #[test]
    fn what_was_not_kept_by_the_card_is_noticed() {
        let file = tempfile::tempfile().expect("a file");
        let mut other = image();
        other[CHUNK + 5] ^= 1;
        file.write_all_at(&other, 0).expect("written");
        let said = verify(&image(), &file, &mut Silent).expect_err("noticed").to_string();
        assert!(said.contains(&format!("byte {} ", CHUNK + 5)), "{said}");
    }
}
