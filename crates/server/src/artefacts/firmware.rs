//! The firmware of an image: verified once at start, kept open, read when a board asks. Boots are rare and the files are
//! some megabytes, which the head does not hold between them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use cluster::manifest::{FIRMWARE_FOLDER, Manifest};

/// The files, by the names that they have in the manifest.
#[derive(Debug, Default)]
pub(crate) struct Firmware {
    files: BTreeMap<String, Kept>,
}

/// One file. It stays open: the one that lies there by then may be another image's.
#[derive(Debug)]
struct Kept {
    file: File,
    bytes: usize,
    /// The content while a transfer has it, so that fifty boards that power on at once share one copy. Locked while the
    /// file is read.
    shared: Mutex<Option<Weak<[u8]>>>,
}

impl Firmware {
    /// Opens and verifies what the manifest names.
    pub(super) fn open(directory: &Path, manifest: &Manifest) -> anyhow::Result<Self> {
        let folder = directory.join(FIRMWARE_FOLDER);
        let mut files = BTreeMap::new();
        for artefact in &manifest.firmware {
            let file = super::open_verified(&folder, artefact)?;
            let bytes = usize::try_from(artefact.bytes)?;
            files.insert(artefact.file.clone(), Kept { file, bytes, shared: Mutex::default() });
        }
        Ok(Self { files })
    }

    /// Whether the image was made without any.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Whether there is such a file.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// A file's content; `None` if there is no such file. Reads the disk: not for the task that owns the state.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub(crate) fn read(&self, name: &str) -> io::Result<Option<Arc<[u8]>>> {
        self.files.get(name).map(Kept::read).transpose()
    }
}

impl Kept {
    fn read(&self) -> io::Result<Arc<[u8]>> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(content) = shared.as_ref().and_then(Weak::upgrade) {
            return Ok(content);
        }
        let content = super::read_whole(&self.file, self.bytes)?;
        *shared = Some(Arc::downgrade(&content));
        Ok(content)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use cluster::Digest;
    use cluster::manifest::Artefact;
    use sha2::{Digest as _, Sha256};

    use super::*;

    /// Firmware of the given files, in a folder that is gone by then.
    pub(crate) fn firmware(files: &[(&str, &[u8])]) -> Firmware {
        let (house, manifest) = image(files);
        Firmware::open(house.path(), &manifest).expect("verified")
    }

    fn image(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Manifest) {
        let house = tempfile::tempdir().expect("a folder");
        let folder = house.path().join(FIRMWARE_FOLDER);
        std::fs::create_dir(&folder).expect("a folder");
        let artefact = |(name, content): &(&str, &[u8])| {
            std::fs::write(folder.join(name), content).expect("written");
            let sha256 = Digest(Sha256::digest(content).into());
            Artefact { file: (*name).to_owned(), bytes: content.len() as u64, sha256 }
        };
        let firmware: Vec<Artefact> = files.iter().map(artefact).collect();
        let other = Artefact { file: "x".to_owned(), bytes: 0, sha256: Digest([0; 32]) };
        let manifest = Manifest {
            name: "n".to_owned(),
            kernel_version: "6".to_owned(),
            kernel: other.clone(),
            initramfs: other.clone(),
            system: other,
            verity: None,
            one_file: None,
            lab_uboot: None,
            firmware,
            packages: Vec::new(),
        };
        (house, manifest)
    }

    #[test]
    fn a_file_is_the_one_that_was_verified_and_is_held_while_it_is_sent() {
        let (house, manifest) = image(&[("start.elf", b"good"), ("fixup.dat", b"fix")]);
        let firmware = Firmware::open(house.path(), &manifest).expect("verified");
        let path = house.path().join("firmware/start.elf");
        std::fs::remove_file(&path).expect("removed");
        std::fs::write(&path, b"evil").expect("written");
        let first = firmware.read("start.elf").expect("readable").expect("there");
        let second = firmware.read("start.elf").expect("readable").expect("there");
        assert!(Arc::ptr_eq(&first, &second), "two transfers, two copies");
        assert_eq!(&first[..], b"good");
        drop((first, second));
        let shared = firmware.files["start.elf"].shared.lock().expect("whole").clone();
        assert!(shared.is_some_and(|shared| shared.upgrade().is_none()), "held without need");
        assert!(firmware.read("start4.elf").expect("readable").is_none());
    }

    #[test]
    fn firmware_with_another_content_is_refused_by_name() {
        let (house, mut manifest) = image(&[("start.elf", b"good")]);
        std::fs::write(house.path().join("firmware/start.elf"), b"evil").expect("written");
        let said = format!("{:#}", Firmware::open(house.path(), &manifest).expect_err("not what was signed"));
        assert!(said.contains("firmware/start.elf"), "{said}");
        manifest.firmware[0].file = "../manifest.json".to_owned();
        assert!(Firmware::open(house.path(), &manifest).is_err());
    }
}
