//! Where an image comes from: the initramfs, if the boot loader brought it along, or the head.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cluster::manifest::SYSTEM_IN_INITRAMFS;

use super::Wanted;
use super::download::Download;
use crate::boot::Boot;

/// Where an initramfs has the system image, if the recipe wanted it in there.
pub(super) fn in_initramfs() -> PathBuf {
    Path::new("/").join(SYSTEM_IN_INITRAMFS)
}

/// An image on its way. Whether it is the plan's is found out by whoever takes it.
pub(super) enum Source {
    /// A file of the initramfs.
    Initramfs(File),
    /// The head's answers.
    Head(Download),
}

impl Source {
    /// The initramfs, if it holds an image of the wanted size; else the head.
    pub(super) fn of(boot: &Boot, wanted: &Wanted) -> Self {
        let file = File::open(in_initramfs()).ok();
        let fits = |file: &File| file.metadata().is_ok_and(|about| about.len() == wanted.bytes);
        match file.filter(fits) {
            Some(file) => Self::Initramfs(file),
            None => Self::Head(Download::new(boot.head(), boot.plan.system_path(), wanted.bytes)),
        }
    }

    /// Fills the buffer with the next bytes.
    ///
    /// # Errors
    /// There are no more, or the head gives none.
    pub(super) fn fill(&mut self, buffer: &mut [u8], progress: impl FnMut(u64)) -> Result<()> {
        match self {
            Self::Initramfs(file) => file.read_exact(buffer).context("reading the image in the initramfs"),
            Self::Head(download) => download.fill(buffer, progress),
        }
    }

    /// Takes back what did not do: the next try asks the head.
    pub(super) fn distrust(&self) {
        if matches!(self, Self::Initramfs(_)) {
            let _ = fs::remove_file(in_initramfs());
        }
    }
}
