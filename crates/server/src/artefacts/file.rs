//! One file of an image: verified once at start, kept open, read when somebody asks for it. Boots are rare and the files
//! are some megabytes, which the head does not hold between them.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::bail;
use cluster::Digest;
use cluster::manifest::Artefact;
use sha2::{Digest as _, Sha256};

/// The largest kernel, initramfs or file of the firmware, in bytes: it is in memory while it is sent.
const BYTES_LIMIT: u64 = 256 * 1024 * 1024;

/// It stays open: the file that has its name by then may be another image's.
#[derive(Debug)]
pub(crate) struct ImageFile {
    file: File,
    bytes: usize,
    sha256: Digest,
    /// As it was before it was verified.
    stamp: Stamp,
    /// The content while a transfer has it, so that fifty boards that power on at once share one copy. Locked while the
    /// file is read. Not `Weak<[u8]>`: that would hold the bytes themselves when nobody has them any more.
    shared: Mutex<Weak<Vec<u8>>>,
}

/// Length, and when anything about the file changed last, in seconds and nanoseconds: nobody can write to a file without
/// that (inode(7), `ctime`).
type Stamp = (u64, i64, i64);

fn stamp(file: &File) -> io::Result<Stamp> {
    let about = file.metadata()?;
    Ok((about.len(), about.ctime(), about.ctime_nsec()))
}

impl ImageFile {
    /// Opens a file of a folder and verifies it.
    ///
    /// # Errors
    /// It is not there, is not what the manifest says, or is too large.
    pub(super) fn open(folder: &Path, artefact: &Artefact) -> anyhow::Result<Self> {
        let file = super::open(folder, artefact)?;
        // Before: what somebody writes meanwhile is noticed when it is read.
        let stamp = stamp(&file)?;
        super::verify(&file, folder, artefact)?;
        if artefact.bytes > BYTES_LIMIT {
            let path = folder.join(&artefact.file);
            bail!("{} has {} bytes; at most {BYTES_LIMIT} are served", path.display(), artefact.bytes);
        }
        let (bytes, sha256) = (artefact.bytes as usize, artefact.sha256);
        Ok(Self { file, bytes, sha256, stamp, shared: Mutex::default() })
    }

    /// How long it is, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The content, if a transfer has it: reads no disk, waits for nobody.
    pub(crate) fn at_hand(&self) -> Option<Arc<Vec<u8>>> {
        self.shared.try_lock().ok()?.upgrade()
    }

    /// The content. Reads the disk, unless a transfer has it: not for the task that owns the state.
    ///
    /// # Errors
    /// The disk cannot be read, or somebody wrote to the file since it was verified.
    pub(crate) fn read(&self) -> io::Result<Arc<Vec<u8>>> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(content) = shared.upgrade() {
            return Ok(content);
        }
        let mut content = vec![0; self.bytes];
        self.file.read_exact_at(&mut content, 0)?;
        // Afterwards: what was read before a change is good.
        if stamp(&self.file)? != self.stamp && Digest(Sha256::digest(&content).into()) != self.sha256 {
            let text =
                "it was changed since the head opened it: build the image anew, and `fledermaus apply`";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let content = Arc::new(content);
        *shared = Arc::downgrade(&content);
        Ok(content)
    }
}

#[cfg(test)]
impl ImageFile {
    /// One with this content.
    pub(crate) fn of(content: &[u8]) -> Self {
        let file = tempfile::tempfile().expect("a file");
        file.write_all_at(content, 0).expect("written");
        let (bytes, sha256) = (content.len(), Digest(Sha256::digest(content).into()));
        let stamp = stamp(&file).expect("there");
        Self { file, bytes, sha256, stamp, shared: Mutex::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artefact(name: &str, content: &[u8]) -> Artefact {
        let sha256 = Digest(Sha256::digest(content).into());
        Artefact { file: name.to_owned(), bytes: content.len() as u64, sha256 }
    }

    /// A file with the word `good` in it, and its folder.
    fn good(name: &str) -> (tempfile::TempDir, ImageFile) {
        let house = tempfile::tempdir().expect("a folder");
        std::fs::write(house.path().join(name), b"good").expect("written");
        let file = ImageFile::open(house.path(), &artefact(name, b"good")).expect("verified");
        (house, file)
    }

    #[test]
    fn a_file_is_the_one_that_was_verified_and_is_held_while_it_is_sent() {
        let (house, file) = good("start.elf");
        let path = house.path().join("start.elf");
        std::fs::remove_file(&path).expect("removed");
        std::fs::write(&path, b"evil").expect("written");
        assert!(file.at_hand().is_none());
        let first = file.read().expect("readable");
        let second = file.read().expect("readable");
        assert!(Arc::ptr_eq(&first, &second), "two transfers, two copies");
        assert!(file.at_hand().is_some_and(|content| Arc::ptr_eq(&first, &content)));
        assert_eq!(&first[..], b"good");
        drop((first, second));
        assert!(file.at_hand().is_none(), "held without need");
    }

    #[test]
    fn what_somebody_wrote_into_the_file_is_not_served() {
        let (house, file) = good("kernel");
        let open = std::fs::OpenOptions::new().write(true).open(house.path().join("kernel")).expect("there");
        // Until the clock of the file system has gone on.
        let write = |content: &[u8]| {
            let before = stamp(&file.file).expect("there");
            while stamp(&file.file).expect("there") == before {
                open.write_all_at(content, 0).expect("written");
            }
        };
        write(b"good");
        assert_eq!(&file.read().expect("readable")[..], b"good", "no other content");
        write(b"evil");
        let refused = file.read().expect_err("not what was verified").to_string();
        assert!(refused.contains("it was changed since"), "{refused}");
    }

    #[test]
    fn a_content_that_nobody_has_takes_no_memory() {
        let file = tempfile::tempfile().expect("a file");
        let bytes = 64 * 1024 * 1024;
        file.set_len(bytes as u64).expect("long");
        let stamp = stamp(&file).expect("there");
        let file = ImageFile { file, bytes, sha256: Digest([0; 32]), stamp, shared: Mutex::default() };
        let resident = || {
            let status = std::fs::read_to_string("/proc/self/status").expect("readable");
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
            line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
        };
        let before = resident();
        let content = file.read().expect("readable");
        assert!(resident() > before + bytes / 2);
        drop(content);
        assert!(resident() < before + bytes / 2);
    }

    #[test]
    fn a_file_with_another_content_or_out_of_its_folder_is_refused_by_name() {
        let house = tempfile::tempdir().expect("a folder");
        std::fs::write(house.path().join("start.elf"), b"evil").expect("written");
        let refused = |artefact| {
            let error = ImageFile::open(house.path(), &artefact).expect_err("not what was signed");
            format!("{error:#}")
        };
        assert!(refused(artefact("start.elf", b"good")).contains("start.elf"));
        assert!(refused(artefact("../manifest.json", b"evil")).contains("../manifest.json"));
    }
}
