//! The folder that a build leaves behind. It appears as a whole or not at all: everything is written to a
//! folder beside it, which then takes its place.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cluster::Digest;
use cluster::manifest::{Artefact, FIRMWARE_FOLDER, MANIFEST_FILE, Manifest, SUMS_FILE};

use crate::download::digest_of;
use crate::files::FILES_FILE;
use crate::spdx::SBOM_FILE;

/// The file that holds the key of the inputs.
const KEY_FILE: &str = "build-key";
/// How the name of a folder begins that is being written.
pub(crate) const DRAFT: &str = ".image-";
/// How the name of an image's predecessor ends, which is kept to compare with and to go back to.
pub(crate) const PREVIOUS: &str = ".previous";

/// The manifest of the image in `out` if it was made of the inputs with this key and is whole.
pub(crate) fn unchanged(out: &Path, key: Digest) -> Option<Manifest> {
    let kept = fs::read_to_string(out.join(KEY_FILE)).ok()?;
    if kept.trim() != key.to_string() {
        return None;
    }
    let manifest: Manifest = serde_json::from_slice(&fs::read(out.join(MANIFEST_FILE)).ok()?).ok()?;
    is_whole(out, &manifest).then_some(manifest)
}

/// Whether all files are there and as long as they should be; digests are [`crate::verify`]'s.
fn is_whole(out: &Path, manifest: &Manifest) -> bool {
    let is_long = |folder: &Path, artefact: &Artefact| {
        fs::metadata(folder.join(&artefact.file)).is_ok_and(|file| file.len() == artefact.bytes)
    };
    let firmware = out.join(FIRMWARE_FOLDER);
    manifest.own_files().all(|artefact| is_long(out, artefact))
        && manifest.firmware.iter().all(|artefact| is_long(&firmware, artefact))
        && [FILES_FILE, SBOM_FILE, SUMS_FILE].iter().all(|file| out.join(file).is_file())
}

/// The files of an image's folder and the folders in it, by path.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn files_below(folder: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            files.extend(files_below(&entry.path())?.into_iter().map(|file| format!("{name}/{file}")));
        } else {
            files.push(name);
        }
    }
    files.sort();
    Ok(files)
}

/// A folder that is being written. Removed when dropped, unless it was kept.
pub(crate) struct Draft {
    folder: tempfile::TempDir,
    out: PathBuf,
}

impl Draft {
    /// Begins a folder beside `out`.
    ///
    /// # Errors
    /// `out` holds something that is no image, or its parent cannot be written.
    pub(crate) fn begin(out: &Path) -> Result<Self> {
        let foreign = out.is_file()
            || (fs::read_dir(out).is_ok_and(|mut files| files.next().is_some())
                && !out.join(MANIFEST_FILE).exists());
        if foreign {
            bail!("{} holds something that is no image: name another folder", out.display());
        }
        let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        let folder = tempfile::Builder::new().prefix(DRAFT).tempdir_in(parent);
        let folder = folder.with_context(|| format!("making a folder in {}", parent.display()))?;
        Ok(Self { folder, out: out.to_owned() })
    }

    /// Where a file of the folder goes.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(&self, file: &str, content: &[u8]) -> Result<()> {
        fs::write(self.path(file), content).with_context(|| format!("writing {file}"))
    }

    /// Writes a file of a folder in the folder; the artefact has its name alone.
    ///
    /// # Errors
    /// It cannot be written or read again.
    pub(crate) fn write_below(&self, folder: &str, file: &str, content: &[u8]) -> Result<Artefact> {
        fs::create_dir_all(self.path(folder)).with_context(|| format!("making {folder}"))?;
        let path = format!("{folder}/{file}");
        self.write(&path, content)?;
        Ok(Artefact { file: file.to_owned(), ..self.artefact(&path)? })
    }

    /// Size and digest of a file that was written.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn artefact(&self, file: &str) -> Result<Artefact> {
        let path = self.path(file);
        let bytes = fs::metadata(&path).with_context(|| format!("looking at {file}"))?.len();
        Ok(Artefact { file: file.to_owned(), bytes, sha256: digest_of(&path)? })
    }

    /// The digests of all files, as `sha256sum` prints and checks them.
    fn sums(&self) -> Result<String> {
        let mut text = String::new();
        for file in files_below(self.folder.path())? {
            let _ = writeln!(text, "{}  {file}", digest_of(&self.path(&file))?);
        }
        Ok(text)
    }

    /// Adds the manifest and takes the place of what was there, which is kept beside it until the next time.
    ///
    /// # Errors
    /// Something cannot be written or moved; then the old image is still in place.
    pub(crate) fn keep(self, manifest: &Manifest, key: Digest) -> Result<()> {
        self.write(MANIFEST_FILE, &serde_json::to_vec_pretty(manifest)?)?;
        self.write(KEY_FILE, format!("{key}\n").as_bytes())?;
        self.write(SUMS_FILE, self.sums()?.as_bytes())?;
        let moving = || format!("moving the image to {}", self.out.display());
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(self.folder.path(), readable).with_context(moving)?;
        let previous = previous(&self.out);
        let replaced = self.out.exists();
        if replaced {
            if previous.join(MANIFEST_FILE).exists() {
                fs::remove_dir_all(&previous).with_context(|| format!("removing {}", previous.display()))?;
            }
            fs::rename(&self.out, &previous).with_context(moving)?;
        }
        if let Err(error) = fs::rename(self.folder.path(), &self.out) {
            if replaced {
                fs::rename(&previous, &self.out).with_context(moving)?;
            }
            return Err(error).with_context(moving);
        }
        Ok(())
    }
}

/// Where the image goes that was in `out` before.
fn previous(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(PREVIOUS);
    out.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(draft: &Draft) -> Manifest {
        for file in ["kernel", FILES_FILE, SBOM_FILE] {
            draft.write(file, b"k").expect("written");
        }
        let artefact = draft.artefact("kernel").expect("there");
        Manifest {
            name: "n".to_owned(),
            kernel_version: "6".to_owned(),
            kernel: artefact.clone(),
            initramfs: artefact.clone(),
            system: artefact,
            verity: None,
            one_file: None,
            lab_uboot: None,
            firmware: Vec::new(),
            packages: Vec::new(),
        }
    }

    #[test]
    fn a_draft_takes_the_place_of_an_older_image() {
        let house = tempfile::tempdir().expect("a folder");
        let out = house.path().join("image");
        for key in [Digest([3; 32]), Digest([1; 32]), Digest([2; 32])] {
            let draft = Draft::begin(&out).expect("begun");
            let manifest = manifest(&draft);
            assert_eq!(unchanged(&out, key), None);
            draft.keep(&manifest, key).expect("kept");
            assert_eq!(unchanged(&out, key), Some(manifest));
        }
        let left = files_below(&house.path().join("image.previous")).expect("the image of before");
        assert_eq!(left, [SUMS_FILE, KEY_FILE, FILES_FILE, "kernel", MANIFEST_FILE, SBOM_FILE]);
        assert_eq!(fs::read_dir(house.path()).expect("a folder").count(), 2);
        fs::write(out.join("kernel"), b"longer").expect("written");
        assert_eq!(unchanged(&out, Digest([2; 32])), None);
    }

    #[test]
    fn a_draft_that_is_not_kept_leaves_nothing() {
        let house = tempfile::tempdir().expect("a folder");
        drop(Draft::begin(&house.path().join("image")).expect("begun"));
        assert_eq!(fs::read_dir(house.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn a_folder_with_other_things_is_left_alone() {
        let house = tempfile::tempdir().expect("a folder");
        fs::write(house.path().join("letter"), b"dear").expect("written");
        assert!(Draft::begin(house.path()).is_err());
        assert!(house.path().join("letter").exists());
    }
}
