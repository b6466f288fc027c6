//! The packages of a lock, unpacked in memory, sorted by what they are for. Fetches nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::download::Downloads;
use crate::lock::{Lock, Part, Pinned};
use crate::progress::Progress;
use crate::tree::Tree;
use crate::{deb, firmware, rules};

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
    let next = AtomicUsize::new(0);
    let unpacked: Mutex<BTreeMap<&str, (Part, Tree)>> = Mutex::default();
    let (told, hear) = std::sync::mpsc::channel::<Result<u64>>();
    std::thread::scope(|scope| {
        for _ in 0..UNPACKERS {
            let (told, next, all, unpacked) = (told.clone(), &next, &all, &unpacked);
            scope.spawn(move || {
                while let Some(package) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = unpack_one(package, downloads).map(|tree| {
                        let mut unpacked = unpacked.lock().unwrap_or_else(PoisonError::into_inner);
                        unpacked.insert(&package.name, (package.part, tree));
                        package.bytes
                    });
                    if told.send(result).is_err() {
                        return;
                    }
                }
            });
        }
        drop(told);
        let mut done = 0;
        for step in hear {
            done += step?;
            progress.bytes(done, total);
        }
        anyhow::Ok(())
    })?;
    let mut pantry = Pantry::default();
    // By name, so that which of two packages has its way with a file does not depend on the threads.
    for (part, tree) in unpacked.into_inner().unwrap_or_else(PoisonError::into_inner).into_values() {
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

fn unpack_one(package: &Pinned, downloads: &Downloads) -> Result<Tree> {
    let content = downloads.read(&format!("{} {}", package.name, package.version), package.sha256)?;
    let keep = |path: &str| match package.part {
        Part::Lab => path == firmware::LAB_UBOOT.1 || rules::is_notice(path),
        Part::Firmware => firmware::is_wanted(path),
        Part::System | Part::Kernel => !rules::is_dropped(path),
        Part::Card => false,
    };
    deb::unpack(&package.name, &content, &keep).with_context(|| format!("unpacking {}", package.name))
}
