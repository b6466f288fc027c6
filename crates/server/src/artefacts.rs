//! The image that is served: all its files verified once at start, and open since.

mod file;
mod images;
mod source;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use cluster::Digest;
use cluster::manifest::{Artefact, FIRMWARE_FOLDER, MANIFEST_FILE, Manifest};
use sha2::{Digest as _, Sha256};

pub(crate) use self::file::ImageFile;
pub(crate) use self::images::{DEFAULT, Images, Sources};
pub(crate) use self::source::Source;

/// An image whose files were all verified.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// SHA-256 of its manifest: another kernel makes another image, even of the same system image.
    pub(crate) id: Digest,
    /// The name of its recipe.
    pub(crate) recipe: String,
    pub(crate) kernel_version: String,
    pub(crate) kernel: Arc<ImageFile>,
    pub(crate) initramfs: Arc<ImageFile>,
    /// Both in one file, if the recipe wants that: what U-Boot is given instead.
    pub(crate) one_file: Option<Arc<ImageFile>>,
    /// What boards without a card fetch, by the names that the files have in the manifest.
    pub(crate) firmware: BTreeMap<String, Arc<ImageFile>>,
    /// The system image. It stays open: an image that is composed anew into the same directory is another file,
    /// and its bytes must not be served under this one's digest.
    pub(crate) system: Arc<File>,
    pub(crate) system_sha256: Digest,
    pub(crate) system_bytes: u64,
    /// Root of its hash tree, if the kitchen made one.
    pub(crate) verity: Option<Digest>,
}

impl Image {
    /// Opens the image in a directory and verifies every file against the manifest.
    pub(crate) fn open(directory: &Path) -> anyhow::Result<Self> {
        let path = directory.join(MANIFEST_FILE);
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!(
                "there is no image in {}: make one with `fledermaus image build --out DIR`",
                directory.display()
            )
        })?;
        let manifest: Manifest =
            serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
        let small = |artefact| anyhow::Ok(Arc::new(ImageFile::open(directory, artefact)?));
        let kernel = small(&manifest.kernel)?;
        let initramfs = small(&manifest.initramfs)?;
        let one_file = manifest.one_file.as_ref().map(small).transpose()?;
        let folder = directory.join(FIRMWARE_FOLDER);
        let mut firmware = BTreeMap::new();
        for artefact in &manifest.firmware {
            firmware.insert(artefact.file.clone(), Arc::new(ImageFile::open(&folder, artefact)?));
        }
        let system = Arc::new(open_verified(directory, &manifest.system)?);
        let (system_sha256, system_bytes) = (manifest.system.sha256, manifest.system.bytes);
        let verity = manifest.verity;
        let (recipe, kernel_version) = (manifest.name, manifest.kernel_version);
        Ok(Self {
            id: Digest(Sha256::digest(&text).into()),
            recipe,
            kernel_version,
            kernel,
            initramfs,
            one_file,
            firmware,
            system,
            system_sha256,
            system_bytes,
            verity,
        })
    }
}

#[cfg(test)]
impl Image {
    /// One like no other, with nothing in it.
    pub(crate) fn numbered(number: u8) -> Self {
        Self {
            id: Digest([number; 32]),
            recipe: format!("recipe{number}"),
            kernel_version: "6.12".to_owned(),
            kernel: Arc::new(ImageFile::of(b"kernel")),
            initramfs: Arc::new(ImageFile::of(b"initramfs")),
            one_file: None,
            firmware: BTreeMap::new(),
            system: Arc::new(File::open("/dev/null").expect("it is there")),
            system_sha256: Digest([number; 32]),
            system_bytes: 7,
            verity: None,
        }
    }

    /// Writes an image into a directory: small, and sound.
    pub(crate) fn write(directory: &Path, recipe: &str) {
        std::fs::create_dir_all(directory).expect("a folder");
        let write = |file: &str| {
            let content = format!("{file} of {recipe}").into_bytes();
            std::fs::write(directory.join(file), &content).expect("written");
            let sha256 = Digest(Sha256::digest(&content).into());
            Artefact { file: file.to_owned(), bytes: content.len() as u64, sha256 }
        };
        let manifest = Manifest {
            name: recipe.to_owned(),
            kernel_version: "6.12".to_owned(),
            kernel: write("kernel"),
            initramfs: write("initramfs"),
            system: write("system.squashfs"),
            verity: None,
            one_file: None,
            lab_uboot: None,
            firmware: Vec::new(),
            packages: Vec::new(),
        };
        let text = serde_json::to_string(&manifest).expect("JSON");
        std::fs::write(directory.join(MANIFEST_FILE), text).expect("written");
    }
}

/// Opens a file and verifies it; holds nothing of it in memory.
fn open_verified(directory: &Path, artefact: &Artefact) -> anyhow::Result<File> {
    let file = open(directory, artefact)?;
    verify(&file, directory, artefact)?;
    Ok(file)
}

fn open(directory: &Path, artefact: &Artefact) -> anyhow::Result<File> {
    let path = place(directory, artefact)?;
    File::open(&path).with_context(|| format!("opening {}", path.display()))
}

/// A manifest names files of its own directory, nothing else.
fn place(directory: &Path, artefact: &Artefact) -> anyhow::Result<PathBuf> {
    if artefact.file.is_empty() || artefact.file.contains('/') || artefact.file.starts_with('.') {
        bail!("the image's manifest names `{}`, which is no file of its directory", artefact.file);
    }
    Ok(directory.join(&artefact.file))
}

/// Reads it to its end.
fn verify(mut file: &File, directory: &Path, artefact: &Artefact) -> anyhow::Result<()> {
    let path = place(directory, artefact)?;
    let mut hash = Sha256::new();
    let bytes = std::io::copy(&mut file, &mut hash).with_context(|| format!("reading {}", path.display()))?;
    if bytes != artefact.bytes || Digest(hash.finalize().into()) != artefact.sha256 {
        bail!("{} is not what the image's manifest says: build the image anew", path.display());
    }
    Ok(())
}
