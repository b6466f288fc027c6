//! What lies in Buildroot's `output/images`, looked at before anything is made of it: what is missing is said here, each with
//! the option of Buildroot's configuration that brings it.

use std::fs::{self, File};
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use object::Object;

use super::rootfs;
use crate::tree::{Kind, Tree};

/// The largest kernel, unpacked, in bytes: one that carries the root too.
const KERNEL_BYTES_LIMIT: u64 = 1024 * 1024 * 1024;
/// What the kernel says of itself before its version.
const BANNER: &[u8] = b"Linux version ";
/// Where an arm64 kernel says that it is one (Documentation/arch/arm64/booting.rst).
const MAGIC: (usize, &[u8]) = (0x38, b"ARM\x64");
/// Where the modules of a root are, as a path of [`Kernel`](crate::modules::Kernel)'s package.
const MODULES: &str = "usr/lib/modules/";

/// What a node runs, where it looks for it, and what in Buildroot's configuration brings it. `fledermaus-init` is first.
const PROGRAMS: [(&str, &str); 10] = [
    (INIT, "BR2_PACKAGE_FLEDERMAUS_INIT=y"),
    ("usr/sbin/fledermaus-agent", "BR2_PACKAGE_FLEDERMAUS_AGENT=y"),
    ("usr/sbin/init", "BR2_INIT_BUSYBOX=y"),
    ("usr/sbin/mke2fs", "BR2_PACKAGE_E2FSPROGS=y"),
    ("usr/sbin/dockerd", "BR2_PACKAGE_DOCKER_ENGINE=y and the post-build script"),
    ("usr/bin/docker", "BR2_PACKAGE_DOCKER_CLI=y"),
    ("usr/bin/containerd", "BR2_PACKAGE_DOCKER_ENGINE=y"),
    ("usr/bin/runc", "BR2_PACKAGE_DOCKER_ENGINE=y"),
    ("usr/sbin/iptables", "BR2_PACKAGE_IPTABLES=y"),
    ("etc/init.d/rcS", "the post-build script"),
];
const INIT: &str = "usr/sbin/fledermaus-init";
/// What the start of each kind of board needs, all of it or nothing, and what brings it.
const FIRMWARE: [(&str, &[&str], &str); 2] = [
    (
        "Pi 3",
        &["bootcode.bin", "start.elf", "fixup.dat"],
        "BR2_PACKAGE_RPI_FIRMWARE_BOOTCODE_BIN=y and BR2_PACKAGE_RPI_FIRMWARE_VARIANT_PI=y",
    ),
    ("Pi 4", &["start4.elf", "fixup4.dat"], "BR2_PACKAGE_RPI_FIRMWARE_VARIANT_PI4=y"),
];
/// Folders that init mounts something on, while the root cannot be written.
const MOUNT_POINTS: [&str; 10] = [
    "proc",
    "sys",
    "dev",
    "run",
    "tmp",
    "mnt/system",
    "mnt/data",
    "data",
    "var/lib/docker",
    "var/lib/containerd",
];

/// The folder's content.
pub(super) struct Parts {
    /// Kernel and modules, with the paths of Debian's package.
    pub(super) kernel: Tree,
    /// The root.
    pub(super) system: Tree,
    /// The root as Buildroot packed it, if it did.
    pub(super) squashfs: Option<Vec<u8>>,
    /// Seconds since 1970 of everything that is made of it.
    pub(super) time: u64,
    /// Device trees, by name.
    pub(super) device_trees: Vec<(String, Vec<u8>)>,
    /// The files of `rpi-firmware`, by name.
    pub(super) firmware: Vec<(String, Vec<u8>)>,
    /// Where all this was.
    pub(super) folder: PathBuf,
}

/// Reads what Buildroot made.
///
/// # Errors
/// Something is missing that a node cannot do without, or is not what its name says.
pub(super) fn read(folder: &Path) -> Result<Parts> {
    let image = kernel(folder)?;
    let version = version(&image).with_context(|| format!("the kernel in {}", folder.display()))?;
    let archive = open(folder, "rootfs.tar", "BR2_TARGET_ROOTFS_TAR=y")?;
    let root = rootfs::read(BufReader::new(archive), &rootfs::packages(folder));
    let root = root.with_context(|| format!("reading {}", folder.join("rootfs.tar").display()))?;
    check(&root.tree).with_context(|| format!("the root in {}", folder.join("rootfs.tar").display()))?;
    let squashfs = match fs::read(folder.join("rootfs.squashfs")) {
        Ok(content) => Some(whole_blocks(content)?),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error).context("reading rootfs.squashfs"),
    };
    let is_tree = |name: &str| name.ends_with(".dtb");
    let is_firmware = |name: &str| FIRMWARE.iter().any(|(_, set, _)| set.contains(&name));
    Ok(Parts {
        kernel: kernel_package(image, &version, &root.tree)?,
        system: root.tree,
        squashfs,
        time: root.time,
        device_trees: named_files(folder, is_tree)?,
        firmware: named_files(&folder.join("rpi-firmware"), is_firmware)?,
        folder: folder.to_owned(),
    })
}

impl Parts {
    /// The program that becomes PID 1 of the initramfs.
    pub(super) fn init(&self) -> &Arc<[u8]> {
        self.system.content(INIT).expect("it was looked for when the root was read")
    }

    /// What boards without a card fetch, by name and sorted; nothing if Buildroot brought no firmware.
    ///
    /// # Errors
    /// A file is missing that belongs to one that is there.
    pub(super) fn firmware_files(&self) -> Result<Vec<(&str, &[u8])>> {
        if self.firmware.is_empty() {
            return Ok(Vec::new());
        }
        let has = |name: &str| self.firmware.iter().any(|(found, _)| found == name);
        let folder = self.folder.join("rpi-firmware");
        for (board, set, options) in FIRMWARE {
            let missing: Vec<&str> = set.iter().copied().filter(|name| !has(name)).collect();
            ensure!(
                missing.is_empty() || missing.len() == set.len(),
                "{} lacks {}, without which no {board} starts: set {options} in Buildroot's configuration",
                folder.display(),
                missing.join(", ")
            );
        }
        ensure!(
            !self.device_trees.is_empty(),
            "{} has no device trees (*.dtb): set BR2_LINUX_KERNEL_DTS_SUPPORT=y and BR2_LINUX_KERNEL_INTREE_DTS_NAME",
            self.folder.display()
        );
        let all = self.firmware.iter().chain(&self.device_trees);
        let mut files: Vec<(&str, &[u8])> =
            all.map(|(name, content)| (name.as_str(), content.as_slice())).collect();
        files.sort();
        Ok(files)
    }

    /// A file that only a card has.
    ///
    /// # Errors
    /// It is not there; `option` is what brings it.
    pub(super) fn file(&self, name: &str, option: &str) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        let read = open(&self.folder, name, option)?.read_to_end(&mut content);
        read.with_context(|| format!("reading {}", self.folder.join(name).display()))?;
        Ok(content)
    }
}

fn open(folder: &Path, name: &str, option: &str) -> Result<File> {
    let path = folder.join(name);
    File::open(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound if !folder.is_dir() => {
            anyhow::anyhow!("{} is no folder: name Buildroot's output/images", folder.display())
        }
        ErrorKind::NotFound => {
            anyhow::anyhow!("{} has no {name}: set {option} in Buildroot's configuration", folder.display())
        }
        _ => anyhow::Error::new(error).context(format!("opening {}", path.display())),
    })
}

/// The kernel, unpacked: `Image`, or else `Image.gz`.
fn kernel(folder: &Path) -> Result<Vec<u8>> {
    let mut image = Vec::new();
    if folder.join("Image.gz").is_file() && !folder.join("Image").is_file() {
        let packed = open(folder, "Image.gz", "BR2_LINUX_KERNEL=y")?;
        let read = flate2::read::GzDecoder::new(packed).take(KERNEL_BYTES_LIMIT).read_to_end(&mut image);
        read.with_context(|| format!("unpacking {}", folder.join("Image.gz").display()))?;
    } else {
        let mut file = open(folder, "Image", "BR2_LINUX_KERNEL=y")?.take(KERNEL_BYTES_LIMIT);
        file.read_to_end(&mut image)
            .with_context(|| format!("reading {}", folder.join("Image").display()))?;
    }
    Ok(image)
}

/// What `uname -r` will print.
fn version(image: &[u8]) -> Result<String> {
    const VERSION_LIMIT: usize = 64;
    ensure!(
        image.get(MAGIC.0..).is_some_and(|rest| rest.starts_with(MAGIC.1)),
        "is none for 64-bit ARM: set BR2_aarch64=y in Buildroot's configuration"
    );
    for at in memchr_all(image, BANNER) {
        let rest = &image[at + BANNER.len()..];
        let word: Vec<u8> =
            rest.iter().take(VERSION_LIMIT).copied().take_while(|byte| *byte != b' ').collect();
        // "Linux version %s" is in there too.
        if word.first().is_some_and(u8::is_ascii_digit) && word.len() < VERSION_LIMIT {
            return String::from_utf8(word).context("has a version that is no text");
        }
    }
    bail!("does not say which version it is")
}

/// Where a short text is in a long one.
fn memchr_all<'a>(text: &'a [u8], wanted: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let first = wanted[0];
    (0..text.len()).filter(move |&at| text[at] == first && text[at..].starts_with(wanted))
}

/// Kernel and modules as [`Kernel::find`](crate::modules::Kernel::find) takes them.
fn kernel_package(image: Vec<u8>, version: &str, root: &Tree) -> Result<Tree> {
    let mut package = Tree::default();
    package.put_file(&format!("boot/vmlinuz-{version}"), 0o644, image);
    let versions: Vec<&str> = root
        .iter()
        .filter_map(|(path, entry)| (entry.kind == Kind::Folder).then_some(path)?.strip_prefix(MODULES))
        .filter(|rest| !rest.contains('/'))
        .collect();
    ensure!(
        versions.is_empty() || versions.contains(&version),
        "the kernel is {version}, and the root has modules of {}: run Buildroot's `make clean` and build again",
        versions.join(", ")
    );
    let folder = format!("{MODULES}{version}/");
    for (path, entry) in root.iter().filter(|(path, _)| path.starts_with(&folder)) {
        package.put(path, entry.clone());
    }
    Ok(package)
}

/// Whether a node can run this root. All that is missing, at once.
fn check(root: &Tree) -> Result<()> {
    let merged = |name| matches!(root.get(name).map(|entry| &entry.kind), Some(Kind::Link(_)));
    ensure!(
        ["bin", "sbin", "lib"].into_iter().all(merged),
        "has bin, sbin and lib apart from usr: set BR2_ROOTFS_MERGED_USR=y in Buildroot's configuration"
    );
    let mut missing: Vec<String> = PROGRAMS
        .iter()
        .filter(|(path, _)| !root.has(path))
        .map(|(path, option)| format!("{path} ({option})"))
        .collect();
    missing.extend(
        MOUNT_POINTS
            .iter()
            .filter(|path| !root.has(path))
            .map(|path| format!("the folder {path} (the post-build script)")),
    );
    ensure!(missing.is_empty(), "lacks {}", missing.join(", "));
    let init = root.content(INIT).with_context(|| format!("has a {INIT} that is no file"))?;
    let program =
        object::File::parse(&init[..]).with_context(|| format!("has a {INIT} that is no program"))?;
    ensure!(
        program.architecture() == object::Architecture::Aarch64,
        "has a {INIT} for another processor: set BR2_aarch64=y in Buildroot's configuration"
    );
    ensure!(
        program.section_by_name(".interp").is_none(),
        "has a {INIT} that needs libraries, and the initramfs has none: link it statically"
    );
    Ok(())
}

/// A SquashFS that a hash tree can be laid over. mksquashfs fills up to 4096 bytes unless it is told not to.
fn whole_blocks(mut content: Vec<u8>) -> Result<Vec<u8>> {
    ensure!(content.starts_with(b"hsqs"), "rootfs.squashfs is no SquashFS");
    content.resize(content.len().next_multiple_of(cluster::verity::BLOCK_BYTES), 0);
    Ok(content)
}

/// The files of a folder whose names are wanted; none if there is no such folder.
fn named_files(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_wanted(&name) {
            let content =
                fs::read(entry.path()).with_context(|| format!("reading {}", entry.path().display()))?;
            found.push((name, content));
        }
    }
    found.sort();
    Ok(found)
}
