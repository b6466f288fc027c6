//! What an image is made of: written by the kitchen, read by the head and the lab.

use serde::{Deserialize, Serialize};

use crate::Digest;

/// The file in an image's directory that holds its [`Manifest`] as JSON.
pub const MANIFEST_FILE: &str = "manifest.json";

/// The file in an image's directory with the digests of all others, for `sha256sum -c`; its own digest names the image.
pub const SUMS_FILE: &str = "SHA256SUMS";

/// The folder in an image's directory that holds the files of [`Manifest::firmware`].
pub const FIRMWARE_FOLDER: &str = "firmware";

/// The file in an initramfs that holds the system image, where the recipe wants it in there. A node that finds it, and finds
/// it to be the one of its plan, asks nobody for another.
pub const SYSTEM_IN_INITRAMFS: &str = "system.squashfs";

/// The one configuration in a FIT of kernel and initramfs. It has to be named: a U-Boot that chooses by the board
/// (`CONFIG_FIT_BEST_MATCH`) finds none.
pub const ONE_FILE_CONFIGURATION: &str = "boot";

/// An image: kernel, initramfs, system image. Lies in one directory with the files that it names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Name from the recipe.
    pub name: String,
    /// Version of the kernel, as `uname -r` prints it.
    pub kernel_version: String,
    /// Compressed kernel, as U-Boot's `booti` takes it.
    pub kernel: Artefact,
    /// Compressed cpio archive with init and its modules.
    pub initramfs: Artefact,
    /// Kernel and initramfs in one file, a FIT as U-Boot's `bootm` takes it; if there is one, U-Boot is given this. The
    /// firmware of a board without a card cannot start it and is given the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_file: Option<Artefact>,
    /// The read-only root file system.
    pub system: Artefact,
    /// Root of dm-verity's hash tree over the system image ([`crate::verity`]): with it a node knows of each block by itself
    /// whether it is right. The tree is not part of the image: a node makes it while the image streams.
    #[serde(default)]
    pub verity: Option<Digest>,
    /// Firmware for the lab's emulated boards: the real U-Boot from the suite. Never sent to a node.
    #[serde(default)]
    pub lab_uboot: Option<Artefact>,
    /// What boards without a card fetch: boot loader, firmware and device trees, by the names of their packages, in
    /// [`FIRMWARE_FOLDER`]. Empty: the recipe wants none.
    #[serde(default)]
    pub firmware: Vec<Artefact>,
    /// What went in.
    pub packages: Vec<Package>,
}

impl Manifest {
    /// The files in the image's own directory.
    pub fn own_files(&self) -> impl Iterator<Item = &Artefact> {
        let always = [&self.kernel, &self.initramfs, &self.system];
        always.into_iter().chain(&self.one_file).chain(&self.lab_uboot)
    }
}

/// One file of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artefact {
    /// File name in the image's directory, or in its folder.
    pub file: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 of the content.
    pub sha256: Digest,
}

/// One Debian package in an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Package name.
    pub name: String,
    /// Version.
    pub version: String,
    /// SHA-256 of the `.deb`.
    pub sha256: Digest,
    /// Bytes of its files in the system image, before compression.
    pub installed_bytes: u64,
}
