//! The image that nodes boot: checked against its manifest at start, kernel and initramfs held in memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use cluster::Digest;
use cluster::manifest::{Artefact, MANIFEST_FILE, Manifest};
use sha2::{Digest as _, Sha256};

/// The largest manifest, in bytes.
const MANIFEST_LIMIT: u64 = 4 * 1024 * 1024;
/// The largest kernel or initramfs that is held in memory, in bytes.
const IN_MEMORY_LIMIT: u64 = 128 * 1024 * 1024;
/// Bytes that are read at once.
const CHUNK_BYTES: usize = 1024 * 1024;

/// An image whose files are what the manifest says.
#[derive(Debug)]
pub struct Image {
    /// The kernel.
    pub kernel: Arc<[u8]>,
    /// The initramfs.
    pub initramfs: Arc<[u8]>,
    /// Digest of the system image.
    pub system: Digest,
    /// Size of the system image in bytes.
    pub system_bytes: u64,
    /// The system image: opened once, so that an image that is built meanwhile does not mix in.
    pub system_file: Arc<File>,
}

impl Image {
    /// Reads and checks an image's directory. Takes as long as reading and hashing its files.
    ///
    /// # Errors
    /// There is no image, or a file is not what the manifest says.
    pub fn open(directory: &Path) -> anyhow::Result<Self> {
        let manifest = manifest(directory)?;
        let checked = |artefact| check(directory, artefact);
        let (kernel, _) = in_memory(&manifest.kernel).and_then(checked)?;
        let (initramfs, _) = in_memory(&manifest.initramfs).and_then(checked)?;
        let (_, system_file) = hashed(directory, &manifest.system)?;
        Ok(Self {
            kernel: kernel.into(),
            initramfs: initramfs.into(),
            system: manifest.system.sha256,
            system_bytes: manifest.system.bytes,
            system_file: Arc::new(system_file),
        })
    }
}

fn manifest(directory: &Path) -> anyhow::Result<Manifest> {
    let file = directory.join(MANIFEST_FILE);
    let opened = match File::open(&file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
            "there is no image in {}: make one with `fledermaus image build --out {}`",
            directory.display(),
            directory.display()
        ),
        Err(error) => return Err(error).with_context(|| format!("opening {}", file.display())),
    };
    let mut text = Vec::new();
    opened.take(MANIFEST_LIMIT).read_to_end(&mut text).with_context(|| format!("reading {}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| {
        format!("reading {}: it is not this version's; make it anew with `fledermaus image build`", file.display())
    })
}

fn in_memory(artefact: &Artefact) -> anyhow::Result<&Artefact> {
    if artefact.bytes > IN_MEMORY_LIMIT {
        bail!("`{}` has {} bytes; a node can load {IN_MEMORY_LIMIT}", artefact.file, artefact.bytes);
    }
    Ok(artefact)
}

/// The file's content, checked.
fn check(directory: &Path, artefact: &Artefact) -> anyhow::Result<(Vec<u8>, File)> {
    let mut content = Vec::new();
    let file = read(directory, artefact, &mut |chunk| content.extend_from_slice(chunk))?;
    Ok((content, file))
}

/// The open file, checked.
fn hashed(directory: &Path, artefact: &Artefact) -> anyhow::Result<((), File)> {
    read(directory, artefact, &mut |_| {}).map(|file| ((), file))
}

/// Reads a file of the image once, and compares size and digest.
fn read(directory: &Path, artefact: &Artefact, take: &mut dyn FnMut(&[u8])) -> anyhow::Result<File> {
    if !crate::userdata::is_file_name(&artefact.file) {
        bail!("the manifest in {} names a file outside its directory", directory.display());
    }
    let path = directory.join(&artefact.file);
    let mut file = File::open(&path)
        .with_context(|| format!("opening {}; make it anew with `fledermaus image build`", path.display()))?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut bytes = 0;
    loop {
        let length = file.read(&mut chunk).with_context(|| format!("reading {}", path.display()))?;
        bytes += length as u64;
        if length == 0 || bytes > artefact.bytes {
            break;
        }
        hash.update(&chunk[..length]);
        take(&chunk[..length]);
    }
    if bytes != artefact.bytes || hash.finalize()[..] != artefact.sha256.0 {
        bail!(
            "{} is not what the image's manifest says: make the image anew with `fledermaus image build`",
            path.display()
        );
    }
    Ok(file)
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn artefact(directory: &Path, file: &str, content: &[u8]) -> Artefact {
        std::fs::write(directory.join(file), content).unwrap();
        let sha256 = Digest(Sha256::digest(content).into());
        Artefact { file: file.to_owned(), bytes: content.len() as u64, sha256 }
    }

    /// Writes an image with the given system image.
    pub(crate) fn write(directory: &Path, system: &[u8]) -> Manifest {
        let manifest = Manifest {
            name: "test".to_owned(),
            kernel_version: "6.12".to_owned(),
            kernel: artefact(directory, "kernel", b"the kernel"),
            initramfs: artefact(directory, "initramfs", b"the initramfs"),
            system: artefact(directory, "system.squashfs", system),
            lab_uboot: None,
            packages: Vec::new(),
        };
        std::fs::write(directory.join(MANIFEST_FILE), serde_json::to_vec(&manifest).unwrap()).unwrap();
        manifest
    }

    #[test]
    fn an_image_is_what_its_manifest_says() {
        let directory = tempfile::tempdir().unwrap();
        let manifest = write(directory.path(), b"system");
        let image = Image::open(directory.path()).unwrap();
        assert_eq!((&image.kernel[..], image.system_bytes), (&b"the kernel"[..], 6));
        assert_eq!(image.system, manifest.system.sha256);
        for content in [&b"sYstem"[..], b"system and more", b""] {
            std::fs::write(directory.path().join("system.squashfs"), content).unwrap();
            let error = Image::open(directory.path()).unwrap_err().to_string();
            assert!(error.contains("system.squashfs is not what the image's manifest says"), "{error}");
        }
    }

    #[test]
    fn a_missing_image_says_how_to_make_one() {
        let directory = tempfile::tempdir().unwrap();
        let error = Image::open(directory.path()).unwrap_err().to_string();
        assert!(error.contains("fledermaus image build"), "{error}");
    }
}
