//! The initramfs: init, its modules and empty folders, as a cpio archive (newc) packed with zstd; and, where the recipe wants
//! it, the system image in an archive of its own. The same input gives the same bytes.

use anyhow::{Context, Result};
use cluster::manifest::SYSTEM_IN_INITRAMFS;

use crate::packer::{Method, Packer};
use crate::tree::{Kind, Tree};

/// Of 7.0 MB level 16 makes 1.78 MB in 1.7 s, 17 1.73 MB in 2.0 s, 18 and 19 1.68 MB in 2.6 and 2.9 s (zstd 1.5, one core). The kernel
/// unpacks any of them equally fast.
const ZSTD_LEVEL: i32 = 17;

/// One file of an archive.
struct Member<'a> {
    path: &'a str,
    mode: u32,
    /// Major and minor number of a device.
    device: (u32, u32),
    content: &'a [u8],
}

/// A member that is a file, in its mode.
const FILE: u32 = 0o100_000;
/// What ends an archive.
const TRAILER: Member<'static> = Member { path: "TRAILER!!!", mode: 0, device: (0, 0), content: &[] };

/// The packed archive of a tree.
///
/// # Errors
/// A file is larger than the format allows, or packing fails.
pub(crate) fn pack(tree: &Tree, time: u64, packer: &Packer) -> Result<Vec<u8>> {
    packer.pack(Method::Zstd(ZSTD_LEVEL), &archive(tree, time)?).context("packing the initramfs")
}

/// An initramfs with the system image in it. The image is packed already, so its archive is not packed again. It stands in front:
/// the kernel reads one archive after the other, and after a packed one it would have to know where that ends
/// (`unpack_to_rootfs` in init/initramfs.c; early microcode stands there for the same reason).
///
/// # Errors
/// The image is larger than the format allows.
pub(crate) fn with_system(small: &[u8], system: &[u8], time: u64) -> Result<Vec<u8>> {
    let mut both = Vec::with_capacity(small.len() + system.len() + 4096);
    let member = Member { path: SYSTEM_IN_INITRAMFS, mode: FILE | 0o444, device: (0, 0), content: system };
    append(&mut both, 1, &member, time)?;
    append(&mut both, 0, &TRAILER, 0)?;
    both.extend_from_slice(small);
    Ok(both)
}

/// A program as an archive of its own, not packed, that goes before an initramfs: the kernel unpacks both, and starts `path`
/// as PID 1 where its command line says so (`rdinit=/path`).
///
/// # Errors
/// The program is larger than the format allows.
pub fn of_program(path: &str, program: &[u8]) -> Result<Vec<u8>> {
    let mut tree = Tree::default();
    tree.put_file(path, 0o755, program);
    archive(&tree, 0)
}

fn archive(tree: &Tree, time: u64) -> Result<Vec<u8>> {
    const FOLDER: u32 = 0o040_000;
    const LINK: u32 = 0o120_000;
    const CHARACTER_DEVICE: u32 = 0o020_000;
    let mut archive = Vec::new();
    let mut number = 0;
    let mut put = |member: Member| {
        number += 1;
        append(&mut archive, number, &member, time)
    };
    for (path, entry) in tree.iter() {
        let (kind, content): (u32, &[u8]) = match &entry.kind {
            Kind::Folder => (FOLDER, &[]),
            Kind::File(content) => (FILE, content),
            Kind::Link(target) => (LINK, target.as_bytes()),
        };
        put(Member { path, mode: kind | entry.mode, device: (0, 0), content })?;
    }
    if tree.has("dev") {
        // The kernel opens it for init before init can mount anything.
        put(Member { path: "dev/console", mode: CHARACTER_DEVICE | 0o600, device: (5, 1), content: &[] })?;
    }
    append(&mut archive, 0, &TRAILER, 0)?;
    Ok(archive)
}

/// Appends a member: a header of 8-digit hex numbers, the path, the content, each filled up to 4 bytes
/// (Documentation/driver-api/early-userspace/buffer-format.rst).
fn append(archive: &mut Vec<u8>, number: u32, member: &Member, time: u64) -> Result<()> {
    let bytes =
        u32::try_from(member.content.len()).with_context(|| format!("{} is too large", member.path))?;
    let links = 1;
    let (major, minor) = member.device;
    // Inode, mode, user, group, links, time, size, device of the file system, device, path's size, checksum.
    let fields = [
        number,
        member.mode,
        0,
        0,
        links,
        time as u32,
        bytes,
        0,
        0,
        major,
        minor,
        member.path.len() as u32 + 1,
        0,
    ];
    archive.extend_from_slice(b"070701");
    for field in fields {
        archive.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    archive.extend_from_slice(member.path.as_bytes());
    archive.push(0);
    fill(archive);
    archive.extend_from_slice(member.content);
    fill(archive);
    Ok(())
}

fn fill(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_foreign_cpio_reads_the_archive() {
        let mut tree = Tree::default();
        tree.put_folder("dev", 0o755);
        tree.put_file("init", 0o755, *b"#!program");
        tree.put_link("sbin/modprobe", "/init");
        let archive = archive(&tree, 1_700_000_000).expect("small");
        let Ok(mut cpio) = Command::new("busybox")
            .args(["cpio", "-tv"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
        else {
            return;
        };
        cpio.stdin.take().expect("piped").write_all(&archive).expect("taken");
        let said = String::from_utf8(cpio.wait_with_output().expect("ended").stdout).expect("text");
        assert!(said.contains("-rwxr-xr-x") && said.contains(" init\n"), "{said}");
        assert!(said.contains("sbin/modprobe -> /init") || said.contains("sbin/modprobe"), "{said}");
        assert!(said.contains("dev/console"), "{said}");
    }

    /// The kernel reads the rest as an archive of its own; so does whoever looks for its magic number.
    #[test]
    fn the_system_image_stands_in_front_in_an_archive_of_its_own() {
        let system = vec![3; 10_001];
        let small = zstd::bulk::compress(b"small", 1).expect("packed");
        let both = with_system(&small, &system, 5).expect("made");
        let at = both.len() - small.len();
        assert!(
            both.starts_with(b"070701") && at.is_multiple_of(4),
            "the kernel looks for an archive at every fourth byte"
        );
        assert_eq!(both[at..], small);
        let folder = tempfile::tempdir().expect("a folder");
        let mut cpio = Command::new("busybox")
            .args(["cpio", "-i"])
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("busybox runs");
        // The foreign cpio ends at the trailer: not all that follows is taken.
        let _ = cpio.stdin.take().expect("piped").write_all(&both);
        assert!(cpio.wait().expect("ended").success());
        let found = std::fs::read(folder.path().join(SYSTEM_IN_INITRAMFS)).expect("unpacked");
        assert!(found == system);
    }

    #[test]
    fn the_same_tree_gives_the_same_bytes() {
        let mut tree = Tree::default();
        tree.put_file("b", 0o644, vec![7; 100_000]);
        tree.put_file("a", 0o644, *b"x");
        let folder = tempfile::tempdir().expect("a folder");
        let packer = Packer::new(folder.path()).expect("made");
        let first = pack(&tree, 5, &packer).expect("packed");
        assert_eq!(first, pack(&tree.clone(), 5, &packer).expect("packed"));
        assert_eq!(
            first,
            zstd::bulk::compress(&archive(&tree, 5).expect("small"), ZSTD_LEVEL).expect("packed")
        );
    }
}
