//! An image of what Buildroot made: `output/images` in, the same kind of folder as [`crate::build`]'s out.
//!
//! ```text
//!   Image, rootfs.tar ─► parts ─► kernel, initramfs (init, modules) ─┐
//!   rootfs.squashfs, or rootfs.tar packed ───────────────────────────┼─► output
//!   *.dtb, rpi-firmware/ ─► firmware ────────────────────────────────┤
//!                           u-boot.bin ──────────────────────────────┴─► card (if one is wanted)
//! ```
//!
//! Trusts the folder: it is what its user built. Compiles nothing and changes nothing in it; [`crate::buildroot`] runs Buildroot.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cluster::Digest;
use cluster::manifest::Manifest;
use sha2::{Digest as _, Sha256};

use crate::build::{INITRAMFS_FILE, KERNEL_FILE, PACKED, SYSTEM_FILE, joined, pack_kernel};
use crate::compose::{Dish, assemble_initramfs, loaded_at_once};
use crate::copyright::Notices;
use crate::download::Downloads;
use crate::lists::{self, items};
use crate::modules::Kernel;
use crate::output::Draft;
use crate::packer::Packer;
use crate::progress::Progress;
use crate::{files, firmware, initramfs, squashfs, verity};

mod card;
mod parts;
mod rootfs;

use parts::Parts;

/// What to import, and where to.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// Buildroot's folder `output/images`.
    pub images: PathBuf,
    /// The folder of the finished image; replaced if it holds an older one.
    pub out: PathBuf,
    /// The image's name in its manifest.
    pub name: String,
    /// U-Boot for the lab's emulated boards (`qemu_arm64`), if the image is to boot there.
    pub lab_uboot: Option<PathBuf>,
    /// Where a card's image goes, if one is wanted: made of the folder's firmware and U-Boot.
    pub card: Option<PathBuf>,
    /// The folder for what was packed before, as for [`crate::build`].
    pub cache: PathBuf,
}

/// Makes an image of Buildroot's files.
///
/// # Errors
/// A file is missing that a node cannot do without (the sentence says which, and which of Buildroot's options makes it), or
/// one is not what its name says; or the image cannot be written. Then `out` is as it was.
pub fn import(options: &ImportOptions, progress: &mut dyn Progress) -> Result<Manifest> {
    progress.step("read");
    let parts = parts::read(&options.images)?;
    // Looked at first: what is missing for a card is known before minutes go into the image.
    let firmware_files = parts.firmware_files()?;
    let card = options.card.as_ref().map(|path| anyhow::Ok((path, card::image(&parts)?))).transpose()?;
    let kernel = Kernel::find(&parts.kernel)?;
    let dish = compose(&parts, &kernel, progress)?;
    let downloads = Downloads::new(&options.cache)?;
    let _guard = downloads.lock()?;
    let packer = Packer::new(&downloads.named(PACKED))?;
    let draft = Draft::begin(&options.out)?;

    progress.step("compress");
    let digests = dish.system.digests();
    let (root, shares) = pack(&parts, &kernel, &dish, &digests, &draft, &packer, progress)?;
    packer.trim();
    let lab_uboot = options.lab_uboot.as_deref().map(|path| lab_uboot(&draft, path)).transpose()?;
    let manifest = Manifest {
        name: options.name.clone(),
        kernel_version: kernel.version.clone(),
        kernel: draft.artefact(KERNEL_FILE)?,
        initramfs: draft.artefact(INITRAMFS_FILE)?,
        system: draft.artefact(SYSTEM_FILE)?,
        one_file: None,
        verity: root,
        lab_uboot,
        firmware: firmware::write_all(&draft, &firmware_files)?,
        packages: Vec::new(),
    };
    progress.step("papers");
    files::write(&draft, &dish, &digests, &shares, &Notices::default())?;
    if let Some((path, content)) = card {
        write_whole(path, &content)?;
    }
    draft.keep(&manifest, key(&manifest))?;
    downloads.note(&[&options.out])?;
    Ok(manifest)
}

/// The two trees: Buildroot's root as it is, and the initramfs that the kitchen would make for its kernel.
fn compose(parts: &Parts, kernel: &Kernel, progress: &mut dyn Progress) -> Result<Dish> {
    let small = kernel.choose(items(lists::INITRAMFS_MODULES).map(|item| item.name));
    let small = small.context("choosing modules of the initramfs")?;
    let loaded = loaded_at_once(lists::INITRAMFS_MODULES, &small);
    let absent: Vec<&str> = items(lists::INITRAMFS_MODULES)
        .filter(|item| item.marked && small.missing.contains(&item.name.replace('-', "_")))
        .map(|item| item.name)
        .collect();
    if !absent.is_empty() {
        progress.notice(&format!(
            "the kernel {} has no {}, neither built in nor as modules: see whether init still finds what it needs",
            kernel.version,
            absent.join(", ")
        ));
    }
    let initramfs = assemble_initramfs(kernel, &small, parts.init(), loaded)?;
    Ok(Dish { initramfs, system: parts.system.clone() })
}

/// Writes kernel, initramfs and system image; gives the root of the latter's hash tree and what each file takes in it.
fn pack(
    parts: &Parts,
    kernel: &Kernel,
    dish: &Dish,
    digests: &BTreeMap<String, Digest>,
    draft: &Draft,
    packer: &Packer,
    progress: &mut dyn Progress,
) -> Result<(Option<Digest>, BTreeMap<String, u64>)> {
    std::thread::scope(|scope| {
        let kernel_file = scope.spawn(|| pack_kernel(kernel, packer));
        let initramfs_file = scope.spawn(|| initramfs::pack(&dish.initramfs, parts.time, packer));
        let (image, shares) = match &parts.squashfs {
            Some(image) => (image.clone(), BTreeMap::new()),
            None => {
                let packed = squashfs::pack(&dish.system, digests, parts.time, packer, progress)?;
                (packed.image, packed.shares)
            }
        };
        draft.write(SYSTEM_FILE, &image)?;
        draft.write(INITRAMFS_FILE, &joined(initramfs_file)?)?;
        draft.write(KERNEL_FILE, &joined(kernel_file)?)?;
        Ok((verity::root(&image), shares))
    })
}

fn lab_uboot(draft: &Draft, path: &Path) -> Result<cluster::manifest::Artefact> {
    let content = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    draft.write(firmware::LAB_UBOOT_FILE, &content)?;
    draft.artefact(firmware::LAB_UBOOT_FILE)
}

/// A key of its own for each content, which no recipe's build has.
fn key(manifest: &Manifest) -> Digest {
    let parts = [&manifest.kernel, &manifest.initramfs, &manifest.system].map(|artefact| artefact.sha256.0);
    Digest(Sha256::digest([b"import".as_slice(), &parts.concat()].concat()).into())
}

/// Writes a file beside its place and moves it there.
fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let writing = || format!("writing {}", path.display());
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(writing)?;
    std::io::Write::write_all(&mut file, content).with_context(writing)?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(readable).with_context(writing)?;
    file.persist(path).with_context(writing)?;
    Ok(())
}

#[cfg(test)]
mod tests;
