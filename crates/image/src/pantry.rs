//! The packages of a lock, unpacked in memory, sorted by what they are for. Fetches nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::build::PACKED;
use crate::download::Downloads;
use crate::lock::{Lock, Part, Pinned};
use crate::progress::Progress;
use crate::recall::{recall, remember};
use crate::tree::Tree;
use crate::{crew, deb, firmware, modules, rules};

/// How many packages are unpacked at once.
const UNPACKERS: usize = 4;

/// Unpacked packages.
#[derive(Default)]
pub(crate) struct Pantry {
    pub(crate) system: Tree,
    pub(crate) kernel: Tree,
    pub(crate) lab_uboot: Tree,
    pub(crate) firmware: Tree,
}

/// Unpacks all packages; they have to be in the cache.
///
/// # Errors
/// A package is not what the lock says, or cannot be read.
pub(crate) fn unpack(lock: &Lock, downloads: &Downloads, progress: &mut dyn Progress) -> Result<Pantry> {
    let mut all: Vec<&Pinned> = lock.of_image().collect();
    all.sort_by_key(|package| std::cmp::Reverse(package.bytes));
    let total: u64 = all.iter().map(|package| package.bytes).sum();
    let mut done = 0;
    let mut unpacked: BTreeMap<&str, (Part, Tree)> = BTreeMap::new();
    let work = |number, package: &&Pinned, told: &dyn Fn((usize, Tree)) -> bool| {
        told((number, unpack_one(package, downloads)?));
        Ok(())
    };
    crew::run(UNPACKERS, &all, work, |(number, tree)| {
        let package = all[number];
        unpacked.insert(&package.name, (package.part, tree));
        done += package.bytes;
        progress.bytes(done, total);
    })?;
    let mut pantry = Pantry::default();
    // By name, so that which of two packages has its way with a file does not depend on the threads.
    for (part, tree) in unpacked.into_values() {
        match part {
            Part::System => pantry.system.merge(tree),
            Part::Kernel => pantry.kernel = tree,
            Part::Lab => pantry.lab_uboot = tree,
            Part::Firmware => pantry.firmware = tree,
            Part::Card => {}
        }
    }
    Ok(pantry)
}

/// Where the files of a package lie that were unpacked before, if it is one whose files are kept.
pub(crate) fn remembered(package: &Pinned, downloads: &Downloads) -> PathBuf {
    downloads.named(PACKED).join(format!("{}.tar", package.sha256))
}

fn unpack_one(package: &Pinned, downloads: &Downloads) -> Result<Tree> {
    let content = downloads.read(&format!("{} {}", package.name, package.version), package.sha256)?;
    let keep = |path: &str| match package.part {
        Part::Lab => path == firmware::LAB_UBOOT.1 || rules::is_notice(path),
        Part::Firmware => firmware::is_wanted(path),
        Part::System => !rules::is_dropped(path),
        // A third of this package are device trees of boards that are no Raspberry Pi.
        Part::Kernel => modules::is_wanted(path) || firmware::is_device_tree(path) || rules::is_notice(path),
        Part::Card => false,
    };
    let unpack =
        || deb::unpack(&package.name, &content, &keep).with_context(|| format!("unpacking {}", package.name));
    if package.part != Part::Kernel {
        return unpack();
    }
    let remembered = remembered(package, downloads);
    if let Some(tree) = recall(&remembered, &package.name, &content, &keep) {
        return Ok(tree);
    }
    let tree = unpack()?;
    remember(&remembered, &tree);
    Ok(tree)
}
