//! One build from recipe to image: the table of contents of this crate.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cluster::Digest;
use cluster::configuration::Mistakes;
use cluster::manifest::{Manifest, Package as Ingredient};

use crate::compose::Dish;
use crate::copyright::Notices;
use crate::download::{Downloads, Gone};
use crate::inputs::{self, Inputs};
use crate::lock::{self, ADVICE, Lock, Pinned, fit};
use crate::mirror::RELEASE_FRESH;
use crate::modules::Kernel;
use crate::output::{self, Draft};
use crate::packer::{Method, Packer};
use crate::pantry::{self, Pantry};
use crate::progress::Progress;
use crate::recipe::{Form, Recipe};
use crate::tree::Tree;
use crate::{compose, files, firmware, initramfs, mirror, one_file, spdx, squashfs, update, verity};

pub(crate) const KERNEL_FILE: &str = "kernel";
pub(crate) const INITRAMFS_FILE: &str = "initramfs";
pub(crate) const SYSTEM_FILE: &str = "system.squashfs";
const ONE_FILE: &str = "one-file.itb";
/// The folder in the cache with what was packed and unpacked before.
pub(crate) const PACKED: &str = "packed";

/// What to build, from what, and where.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// The recipe, `image.toml`.
    pub recipe: PathBuf,
    /// The folder of the finished image; replaced if it holds an older one.
    pub out: PathBuf,
    /// The folder with `fledermaus-init` and `fledermaus-agent`, static programs for aarch64.
    pub node_binaries: PathBuf,
    /// The folder for downloads, such as `~/.cache/fledermaus/downloads`. Shared by all builds.
    pub cache: PathBuf,
    /// apt's folder, `/etc/apt`: where mirrors come from when the recipe names none.
    pub apt: PathBuf,
}

/// A finished image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// What it consists of.
    pub manifest: Manifest,
    /// Whether it was there already, made of the same inputs.
    pub unchanged: bool,
}

/// Why there is no image. The output folder is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The recipe is wrong (exit code 2).
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
    /// Something else; a sentence for people, printed with `{:#}` (exit code 1).
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

/// Builds the image, unless `out` holds one of the same inputs already: of the packages in the recipe's lock, or of
/// the newest ones if there is no lock yet, which is then written.
///
/// # Errors
/// The recipe's mistakes, all at once; or whatever stopped the build.
pub fn build(options: &BuildOptions, progress: &mut dyn Progress) -> Result<Built, BuildError> {
    run(options, progress).map_err(|error| match error {
        BuildError::Failed(error) if is_full(&error) => {
            let out = options.out.parent().unwrap_or(&options.out).display();
            BuildError::Failed(error.context(format!(
                "the disk is full: make room in {} or {out} (a build needs about 500 MB)",
                options.cache.display()
            )))
        }
        error => error,
    })
}

fn is_full(error: &anyhow::Error) -> bool {
    let causes = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    causes.into_iter().any(|cause| matches!(cause.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
        || format!("{error:#}").contains("No space left on device")
}

fn run(options: &BuildOptions, progress: &mut dyn Progress) -> Result<Built, BuildError> {
    progress.step("recipe");
    let text = fs::read_to_string(&options.recipe)
        .with_context(|| format!("reading {}", options.recipe.display()))?;
    let recipe = Recipe::parse(&options.recipe, &text)?;
    let inputs = inputs::read(options, &recipe)?;

    let downloads = Downloads::new(&options.cache)?;
    let lock_path = lock::path_of(&options.recipe);
    let (lock, is_new) = match lock::read(&lock_path)? {
        Some(lock) => (lock, false),
        None => (update::resolve(&recipe, &options.apt, &downloads, RELEASE_FRESH, progress)?, true),
    };
    fit::check(&lock, &lock_path, &recipe)?;
    let key = inputs::key(&text, &recipe, &inputs, &lock)?;
    if let Some(manifest) = output::unchanged(&options.out, key) {
        if is_new {
            lock::write(&lock_path, &lock)?;
        }
        return Ok(Built { manifest, unchanged: true });
    }
    progress.step("packages");
    let _guard = downloads.lock()?;
    let draft = Draft::begin(&options.out)?;
    let wanted = lock::wanted(lock.of_image(), &mirror::urls(&recipe, &options.apt));
    downloads.fetch_all(&wanted, progress).map_err(|error| explain_gone(error, &lock_path))?;

    progress.step("unpack");
    let pantry = pantry::unpack(&lock, &downloads, progress)?;

    let manifest =
        cook(&recipe, &lock, &pantry, inputs, &draft, &Packer::new(&downloads.named(PACKED))?, progress)?;
    if is_new {
        lock::write(&lock_path, &lock)?;
    }
    draft.keep(&manifest, key)?;
    downloads.note(&[&lock_path, &options.out])?;
    Ok(Built { manifest, unchanged: false })
}

/// Makes the image of what was unpacked.
fn cook(
    recipe: &Recipe,
    lock: &Lock,
    pantry: &Pantry,
    inputs: Inputs,
    draft: &Draft,
    packer: &Packer,
    progress: &mut dyn Progress,
) -> Result<Manifest, BuildError> {
    let kernel = Kernel::find(&pantry.kernel)?;
    // Kernel and initramfs have a thread each, the system image as many as there are cores.
    let (kernel_file, dish, digests, (small, system)) = std::thread::scope(|scope| {
        let kernel_file = scope.spawn(|| pack_kernel(&kernel, packer));
        progress.step("assemble");
        let dish = compose::compose(recipe, pantry, &kernel, inputs, lock.time, progress)?;
        let digests = dish.system.digests();
        progress.step("compress");
        let packed = pack(&dish, &digests, lock.time, packer, progress)?;
        Ok::<_, BuildError>((joined(kernel_file)?, dish, digests, packed))
    })?;
    packer.trim();
    let initramfs = match recipe.form {
        Form::Parts => small,
        Form::Initramfs | Form::OneFile => initramfs::with_system(&small, &system.image, lock.time)?,
    };
    draft.write(KERNEL_FILE, &kernel_file)?;
    draft.write(INITRAMFS_FILE, &initramfs)?;
    draft.write(SYSTEM_FILE, &system.image)?;
    if recipe.form == Form::OneFile {
        draft.write(ONE_FILE, &one_file::fit(&kernel_file, &initramfs, lock.time)?)?;
    }
    let manifest = Manifest {
        name: recipe.name.clone(),
        kernel_version: kernel.version.clone(),
        kernel: draft.artefact(KERNEL_FILE)?,
        initramfs: draft.artefact(INITRAMFS_FILE)?,
        system: draft.artefact(SYSTEM_FILE)?,
        one_file: if recipe.form == Form::OneFile { Some(draft.artefact(ONE_FILE)?) } else { None },
        verity: verity::root(&system.image),
        lab_uboot: firmware::write_lab_uboot(draft, &pantry.lab_uboot)?,
        firmware: firmware::write(draft, &pantry.firmware, &pantry.kernel)?,
        packages: ingredients(lock, &dish.system),
    };

    progress.step("papers");
    let notices = Notices::read([&pantry.system, &pantry.kernel, &pantry.lab_uboot, &pantry.firmware]);
    files::write(draft, &dish, &digests, &system.shares, &notices)?;
    spdx::write(draft, lock, &manifest, &notices)?;
    Ok(manifest)
}

/// The initramfs that holds no system image, and the system image.
fn pack(
    dish: &Dish,
    digests: &BTreeMap<String, Digest>,
    time: u64,
    packer: &Packer,
    progress: &mut dyn Progress,
) -> Result<(Vec<u8>, squashfs::Packed)> {
    std::thread::scope(|scope| {
        let initramfs_file = scope.spawn(|| initramfs::pack(&dish.initramfs, time, packer));
        let system = squashfs::pack(&dish.system, digests, time, packer, progress)?;
        Ok((joined(initramfs_file)?, system))
    })
}

/// What a thread packed.
///
/// # Errors
/// It could not.
pub(crate) fn joined(thread: std::thread::ScopedJoinHandle<'_, Result<Vec<u8>>>) -> Result<Vec<u8>> {
    thread.join().map_err(|_| anyhow::anyhow!("a thread that packs has ended"))?
}

/// What a person can do about a locked package that the mirrors have replaced by a newer one.
pub(crate) fn explain_gone(error: anyhow::Error, lock: &Path) -> anyhow::Error {
    if !error.is::<Gone>() {
        return error;
    }
    error.context(format!(
        "{} wants a version that is gone: {ADVICE} to take what the suite has now, or write a mirror that keeps old \
         versions (a snapshot of Debian's) into image.toml as [[mirrors]]",
        lock.display()
    ))
}

/// What went in, with the bytes that it takes in the system image.
fn ingredients(lock: &Lock, system: &Tree) -> Vec<Ingredient> {
    let mut bytes: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, entry) in system.iter() {
        *bytes.entry(&entry.package).or_default() += entry.bytes();
    }
    let ingredient = |package: &Pinned| Ingredient {
        name: package.name.clone(),
        version: package.version.clone(),
        sha256: package.sha256,
        installed_bytes: bytes.get(package.name.as_str()).copied().unwrap_or(0),
    };
    lock.of_image().map(ingredient).collect()
}

/// The kernel as U-Boot's `booti` takes it.
///
/// # Errors
/// The library's.
pub(crate) fn pack_kernel(kernel: &Kernel, packer: &Packer) -> Result<Vec<u8>> {
    if kernel.image.starts_with(b"\x1f\x8b") {
        return Ok(kernel.image.to_vec());
    }
    packer.pack(Method::Gzip, &kernel.image).context("packing the kernel")
}
