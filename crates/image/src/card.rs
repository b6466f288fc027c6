//! The card of a node that starts U-Boot from it: an image of 40 MiB with the firmware, U-Boot and a boot script.
//!
//! ```text
//!   image.lock ─► download ─► raspi-firmware, u-boot-rpi, kernel (device trees) ─┐
//!   boot (config.txt, commands) ─► script ────────────────────────────────────► fat ─► mbr ─► media ─► file or device
//!                                                                                        device: may it be written? ─┘
//! ```
//!
//! Packages come as they do for [`crate::build`]: signed, from the cache. The same packages give the same bytes. Makes one
//! partition; init makes the others at the node's first boot.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cluster::Digest;
use cluster::configuration::Mistakes;
use sha2::{Digest as _, Sha256};

use crate::build::{BuildError, explain_gone};
use crate::download::Downloads;
use crate::lock::{self, ADVICE, Lock, Part, Pinned, fit};
use crate::mirror::RELEASE_FRESH;
use crate::progress::Progress;
use crate::recall::recall;
use crate::recipe::{Firmware, Recipe};
use crate::tree::Tree;
use crate::{deb, firmware, mirror, pantry, update};

pub(crate) mod boot;
pub mod device;
pub mod fat;
pub mod mbr;
pub mod media;
pub mod script;

/// The size of a card image in bytes. Its partition has just the clusters that make it a FAT32.
pub const BYTES: u64 = 40 << 20;
/// What a volume needs beside its files and tables, generously.
const ROOM_BYTES: usize = 256 << 10;
/// The label by which init knows the card, as it stands in the directory.
pub const LABEL: &[u8; 11] = b"FLEDERMAUS ";
/// The file that U-Boot looks for.
pub const SCRIPT_FILE: &str = "boot.scr";

/// The package with U-Boot for the boards.
pub(crate) const UBOOT_PACKAGE: &str = "u-boot-rpi";
const UBOOT_LICENCE: &str = "usr/share/doc/u-boot-rpi/copyright";
/// Boards whose device trees go onto the card: Pi 3 and Zero 2, Pi 4. Without those of a Pi 5, which has to pass over it.
const DEVICE_TREES: [&str; 2] = ["bcm2837-rpi-", "bcm2711-rpi-"];
/// Names of device trees that firmware asks for and the kernel has under another.
const OTHER_NAMES: [(&str, &str); 2] =
    [("bcm2710-rpi-cm3.dtb", "bcm2837-rpi-cm3-io3.dtb"), ("bcm2711-rpi-cm4.dtb", "bcm2711-rpi-cm4-io.dtb")];

/// What to make a card of.
#[derive(Clone, Debug)]
pub struct CardOptions {
    /// The recipe, `image.toml`: mirrors, suite, kernel, firmware.
    pub recipe: PathBuf,
    /// The folder for downloads, as for [`crate::build`].
    pub cache: PathBuf,
    /// apt's folder, `/etc/apt`: where mirrors come from when the recipe names none.
    pub apt: PathBuf,
    /// The head, where another server answers DHCP. `None`: the boot plan is asked of the server that DHCP names.
    pub server: Option<Ipv4Addr>,
}

/// A card's content.
#[derive(Clone, Debug)]
pub struct Card {
    /// Every byte, [`BYTES`] of them.
    pub image: Vec<u8>,
    /// SHA-256 of the image.
    pub sha256: Digest,
    /// Its files with their sizes in bytes.
    pub files: Vec<(String, u64)>,
    /// The packages that they come from: name and version.
    pub packages: Vec<(String, String)>,
}

/// Looks at a recipe: whether a card can be made by it, as far as that can be said without asking anybody.
///
/// # Errors
/// It cannot be read; or its mistakes, of which one is to name no firmware.
pub fn check(recipe: &Path) -> Result<(), BuildError> {
    wanted_firmware(&read(recipe)?)?;
    Ok(())
}

fn read(recipe: &Path) -> Result<Recipe, BuildError> {
    let text = fs::read_to_string(recipe).with_context(|| format!("reading {}", recipe.display()))?;
    Ok(Recipe::parse(recipe, &text)?)
}

/// Makes a card's content.
///
/// # Errors
/// What [`check`] finds; or whatever kept the packages away.
pub fn compose(options: &CardOptions, progress: &mut dyn Progress) -> Result<Card, BuildError> {
    progress.step("recipe");
    let recipe = read(&options.recipe)?;
    let wanted = wanted_firmware(&recipe)?;

    let downloads = Downloads::new(&options.cache)?;
    let lock_path = lock::path_of(&options.recipe);
    let lock = match lock::read(&lock_path)? {
        Some(lock) => lock,
        None => update::resolve(&recipe, &options.apt, &downloads, RELEASE_FRESH, progress)?,
    };
    fit::check(&lock, &lock_path, &recipe)?;
    let packages = choose(&lock, &lock_path, wanted, &recipe)?;

    progress.step("packages");
    let _guard = downloads.lock()?;
    let files = lock::wanted(packages.into_iter(), &mirror::urls(&recipe, &options.apt));
    downloads.fetch_all(&files, progress).map_err(|error| explain_gone(error, &lock_path))?;

    progress.step("unpack");
    let [firmware, uboot, kernel] = unpack(&packages, &downloads)?;
    Ok(assemble(&firmware, &uboot, &kernel, &packages, options.server)?)
}

/// The firmware is not free software: it goes onto a card only if the recipe asks for it by name.
fn wanted_firmware(recipe: &Recipe) -> Result<&Firmware, Mistakes> {
    let Some(wanted) = &recipe.firmware else {
        let mut mistakes = Mistakes::default();
        let advice = "it names no [firmware], without which no Raspberry Pi starts from a card: add [firmware] and \
                      package = \"raspi-firmware\" (it is not free software, so it is taken only if it is named)";
        mistakes.add(&recipe.file, 1, advice);
        return Err(mistakes);
    };
    Ok(wanted)
}

/// Firmware, U-Boot and kernel.
fn choose<'a>(
    lock: &'a Lock,
    path: &Path,
    wanted: &Firmware,
    recipe: &Recipe,
) -> Result<[&'a Pinned; 3], Mistakes> {
    let mut mistakes = Mistakes::default();
    let parts = [
        (Part::Firmware, &*wanted.package.name),
        (Part::Card, UBOOT_PACKAGE),
        (Part::Kernel, &*recipe.kernel.name),
    ];
    let found = parts.map(|(part, name)| {
        let package = lock.of(part).next();
        if package.is_none() {
            let text = format!("{} has no package `{name}`, which a card needs: {ADVICE}", path.display());
            mistakes.add(&recipe.file, wanted.package.line, text);
        }
        package
    });
    let [Some(firmware), Some(uboot), Some(kernel)] = found else { return Err(mistakes) };
    Ok([firmware, uboot, kernel])
}

/// Of each package the files that a card needs. The kernel is large and takes longest: all at once.
fn unpack(packages: &[&Pinned; 3], downloads: &Downloads) -> Result<[Tree; 3]> {
    let keep: [fn(&str) -> bool; 3] = [
        firmware::is_wanted,
        |path| path == UBOOT_LICENCE || boot::LOADERS.iter().any(|loader| loader.path == path),
        |path| firmware::is_device_tree(path) || is_kernel_licence(path),
    ];
    let unpacked = std::thread::scope(|scope| {
        let one = |number: usize| {
            let package = packages[number];
            let content = downloads.read(&format!("{} {}", package.name, package.version), package.sha256)?;
            // A build remembers the kernel's files, those of a card among them.
            let remembered =
                recall(&pantry::remembered(package, downloads), &package.name, &content, &keep[number]);
            if let Some(tree) = remembered {
                return Ok(tree);
            }
            let tree = deb::unpack(&package.name, &content, &keep[number]);
            tree.with_context(|| format!("unpacking {}", package.name))
        };
        let workers = [0, 1, 2].map(|number| scope.spawn(move || one(number)));
        workers.map(|worker| worker.join().map_err(|_| anyhow::anyhow!("unpacking failed"))?)
    });
    let [firmware, uboot, kernel] = unpacked;
    Ok([firmware?, uboot?, kernel?])
}

fn is_kernel_licence(path: &str) -> bool {
    path.strip_prefix("usr/share/doc/linux-image-").is_some_and(|rest| rest.ends_with("/copyright"))
}

fn assemble(
    firmware: &Tree,
    uboot: &Tree,
    kernel: &Tree,
    packages: &[&Pinned; 3],
    server: Option<Ipv4Addr>,
) -> Result<Card> {
    let configuration = boot::configuration(&boot::LOADERS);
    let script = script::image(&boot::commands(server));
    let list: String =
        packages.iter().map(|one| format!("{} {} {}\n", one.name, one.version, one.sha256)).collect();
    let mut files = vec![
        (SCRIPT_FILE, &script[..]),
        ("config.txt", configuration.as_bytes()),
        ("packages.txt", list.as_bytes()),
    ];
    for loader in boot::LOADERS {
        let content = uboot.content(loader.path);
        files
            .push((loader.file, content.with_context(|| format!("{UBOOT_PACKAGE} has no {}", loader.path))?));
    }
    let board = firmware::files(firmware, kernel)?;
    let is_ours =
        |name: &str| !name.ends_with(".dtb") || DEVICE_TREES.iter().any(|front| name.starts_with(front));
    // The licences are told apart by names of their own.
    files.extend(board.iter().filter(|(name, _)| is_ours(name) && !firmware::LICENCE.ends_with(name)));
    files.extend(other_names(&board));
    let kernel_licence = kernel.iter().map(|(path, _)| path).find(|path| is_kernel_licence(path));
    for (name, tree, path) in [
        ("firmware.copyright", firmware, Some(firmware::LICENCE)),
        ("linux.copyright", kernel, kernel_licence),
        ("u-boot.copyright", uboot, Some(UBOOT_LICENCE)),
    ] {
        files.extend(path.and_then(|path| tree.content(path)).map(|content| (name, &**content)));
    }
    files.sort();
    let image = disk(&files)?;
    Ok(Card {
        sha256: Digest(Sha256::digest(&image).into()),
        image,
        files: files.iter().map(|(name, content)| ((*name).to_owned(), content.len() as u64)).collect(),
        packages: packages.iter().map(|package| (package.name.clone(), package.version.clone())).collect(),
    })
}

/// Device trees once more, under the names that firmware asks for.
pub(crate) fn other_names<'a>(board: &[(&'a str, &'a [u8])]) -> Vec<fat::File<'a>> {
    let mut found = Vec::new();
    for (other, name) in OTHER_NAMES {
        found.extend(board.iter().filter(|(file, _)| *file == name).map(|(_, content)| (other, *content)));
    }
    found
}

/// The whole image: partition table, FAT, and the rest of it, which is empty. [`BYTES`] long, or as long as the files want.
///
/// # Errors
/// They want more than a FAT can be.
pub(crate) fn disk(files: &[fat::File<'_>]) -> Result<Vec<u8>> {
    let before = mbr::FIRST_SECTOR as usize * fat::SECTOR;
    let wanted = files.iter().map(|(_, content)| content.len().next_multiple_of(fat::SECTOR)).sum::<usize>();
    // Two tables of four bytes for each sector, the folder, and the reserved sectors.
    let bytes = (before + wanted + wanted / 50 + ROOM_BYTES).next_multiple_of(1 << 20).max(BYTES as usize);
    let sectors = u32::try_from(bytes / fat::SECTOR)? - mbr::FIRST_SECTOR;
    let volume = fat::volume(LABEL, mbr::FIRST_SECTOR, sectors, files)?;
    let mut image = vec![0; bytes];
    image[..fat::SECTOR].copy_from_slice(&mbr::sector(sectors));
    image[before..before + volume.len()].copy_from_slice(&volume);
    Ok(image)
}

#[cfg(test)]
mod tests;
