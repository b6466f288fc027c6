//! Reads a `.deb`: its files, in memory. Runs no maintainer script and makes nothing of what control files say.

use std::io::Read;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};

use crate::tree::{Entry, Kind, Tree, clean};

/// The most that one package's files may take, unpacked, in bytes.
const UNPACKED_BYTES_LIMIT: u64 = 2 * 1024 * 1024 * 1024;

/// The most memory that is made ready for a file before it is read, in bytes.
const READ_AHEAD_BYTES_LIMIT: u64 = 64 * 1024 * 1024;
/// The most threads that unpack one package.
const THREADS_LIMIT: usize = 8;
/// The most memory that they may take, in bytes; beyond that it is one thread. A block of the kernel's takes 30 MB.
const XZ_THREADS_BYTES_LIMIT: u64 = 512 * 1024 * 1024;
/// The most memory that one thread may take, in bytes; xz -9 takes 65 MB.
const XZ_BYTES_LIMIT: u64 = 1024 * 1024 * 1024;

/// The files of a package for which `keep` holds.
///
/// # Errors
/// The package cannot be read, or holds what no package here may hold: devices, paths out of the root.
pub(crate) fn unpack(name: &str, deb: &[u8], keep: &dyn Fn(&str) -> bool) -> Result<Tree> {
    files(name, archive(deb, "data.tar")?, keep)
}

/// What a package says of itself.
///
/// # Errors
/// As [`unpack`].
pub(crate) fn control(deb: &[u8]) -> Result<Tree> {
    files("", archive(deb, "control.tar")?, &|_| true)
}

/// One of the two archives in a package, unpacked.
fn archive<'a>(deb: &'a [u8], archive: &str) -> Result<impl Read + 'a> {
    let (member, data) = member(deb, archive)?;
    let stream: Box<dyn Read + 'a> = match member.strip_prefix(archive) {
        Some(".xz") => Box::new(xz(data)?),
        Some(".zst") => Box::new(zstd::Decoder::new(data)?),
        Some(".gz") => Box::new(flate2::read::MultiGzDecoder::new(data)),
        Some("") => Box::new(data),
        _ => bail!("its files are packed as {member}, which this program does not know"),
    };
    Ok(stream.take(UNPACKED_BYTES_LIMIT))
}

/// The kernel's package, two thirds of all bytes, would keep one core busy while the others have nothing to do: dpkg-deb
/// packs large packages in blocks that can be unpacked at the same time.
fn xz(data: &[u8]) -> Result<impl Read> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_LIMIT);
    let stream = liblzma::stream::MtStreamBuilder::new()
        .threads(threads as u32)
        .memlimit_threading(XZ_THREADS_BYTES_LIMIT)
        .memlimit_stop(XZ_BYTES_LIMIT)
        .decoder()
        .context("starting to unpack")?;
    Ok(liblzma::bufread::XzDecoder::new_stream(data, stream))
}

/// The member of the ar archive whose name begins so, with its name (deb(5)).
fn member<'a>(deb: &'a [u8], front: &str) -> Result<(&'a str, &'a [u8])> {
    const HEADER: usize = 60;
    let mut rest = deb.strip_prefix(b"!<arch>\n").context("it is no Debian package")?;
    while rest.len() >= HEADER {
        let (header, body) = rest.split_at(HEADER);
        let text = |range: std::ops::Range<usize>| std::str::from_utf8(&header[range]).map(str::trim);
        let name = text(0..16)?.trim_end_matches('/');
        let bytes: usize = text(48..58)?.parse().context("reading the size of a member")?;
        ensure!(bytes <= body.len(), "it ends too early");
        if name.starts_with(front) {
            return Ok((name, &body[..bytes]));
        }
        // Members start at even places.
        rest = body.get(bytes + bytes % 2..).unwrap_or_default();
    }
    bail!("it holds no {front}")
}

/// The files of a tar archive for which `keep` holds.
///
/// # Errors
/// As [`unpack`].
pub(crate) fn files(package: &str, stream: impl Read, keep: &dyn Fn(&str) -> bool) -> Result<Tree> {
    let mut tree = Tree::default();
    let package: Arc<str> = Arc::from(package);
    let mut archive = tar::Archive::new(stream);
    for member in archive.entries()? {
        let mut member = member?;
        let path = clean(&String::from_utf8_lossy(&member.path_bytes()))?;
        if !keep(&path) {
            continue;
        }
        let kind = kind(&mut member, &tree).with_context(|| format!("reading {path}"))?;
        let Some(kind) = kind else { continue };
        // base-files has `bin -> usr/bin`; paths have gone that way already, so the link would be one to itself.
        if matches!(&kind, Kind::Link(target) if clean(target).is_ok_and(|target| target == path)) {
            continue;
        }
        let header = member.header();
        let (mode, uid, gid) = (header.mode()? & 0o7777, header.uid()? as u32, header.gid()? as u32);
        tree.put(&path, Entry { kind, mode, uid, gid, package: package.clone() });
    }
    Ok(tree)
}

/// `None` for a hard link to a file that is not kept.
fn kind(member: &mut tar::Entry<'_, impl Read>, tree: &Tree) -> Result<Option<Kind>> {
    let target = |member: &tar::Entry<'_, _>| {
        let bytes = member.link_name_bytes().context("a link without a target")?;
        anyhow::Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    match member.header().entry_type() {
        tar::EntryType::Directory => Ok(Some(Kind::Folder)),
        tar::EntryType::Symlink => Ok(Some(Kind::Link(target(member)?))),
        tar::EntryType::Link => Ok(tree.get(&clean(&target(member)?)?).map(|entry| entry.kind.clone())),
        tar::EntryType::Regular | tar::EntryType::Continuous => Ok(Some(Kind::File(content(member)?))),
        other => bail!("a file of type {other:?} has no place in a package"),
    }
}

/// A file's content, read to where it stays: copied once more, 300 MB would be, for a system image.
fn content(member: &mut tar::Entry<'_, impl Read>) -> Result<Arc<[u8]>> {
    // What the header says is a claim: a hostile one must not make room for more than there is.
    let mut place: Arc<[u8]> =
        std::iter::repeat_n(0, member.size().min(READ_AHEAD_BYTES_LIMIT) as usize).collect();
    let room = Arc::get_mut(&mut place).context("nobody else has it yet")?;
    member.read_exact(room).context("it ends too early")?;
    let mut rest = Vec::new();
    member.read_to_end(&mut rest)?;
    Ok(if rest.is_empty() { place } else { [&place[..], &rest].concat().into() })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A package of the given files: path, content.
    pub(crate) fn deb(files: &[(&str, &[u8])]) -> Vec<u8> {
        deb_with_control(&[], files)
    }

    /// The same with control files.
    pub(crate) fn deb_with_control(control: &[(&str, &[u8])], files: &[(&str, &[u8])]) -> Vec<u8> {
        let (control, data) = (tar(control), tar(files));
        ar(&[("debian-binary", b"2.0\n"), ("control.tar", &control), ("data.tar", &data)])
    }

    fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            tar.append_data(&mut header, path, *content).expect("fits");
        }
        tar.into_inner().expect("whole")
    }

    fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = b"!<arch>\n".to_vec();
        for (name, content) in members {
            let header =
                format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", content.len());
            archive.extend_from_slice(header.as_bytes());
            archive.extend_from_slice(content);
            archive.resize(archive.len() + content.len() % 2, b'\n');
        }
        archive
    }

    /// `bin -> usr/bin` of base-files stood where the folder usr/bin belongs, and no program had a place.
    #[test]
    fn the_links_of_a_merged_usr_are_no_files() {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, target) in [("./bin", "usr/bin"), ("./usr/share/common-licenses/GPL", "GPL-3")] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            header.set_mode(0o777);
            header.set_uid(0);
            header.set_gid(0);
            tar.append_link(&mut header, path, target).expect("fits");
        }
        let stream = tar.into_inner().expect("whole");
        let tree = files("base-files", &stream[..], &|_| true).expect("unpacked");
        assert!(!tree.has("usr/bin") && tree.has("usr/share/common-licenses/GPL"));
    }

    #[test]
    fn the_files_that_are_wanted_are_read() {
        let package = deb(&[("./usr/bin/a", b"one"), ("./bin/b", b"two"), ("./usr/share/doc/c", b"three")]);
        let tree = unpack("p", &package, &|path| !path.starts_with("usr/share/doc")).expect("readable");
        assert_eq!(tree.content("usr/bin/b").map(|content| &content[..]), Some(&b"two"[..]));
        assert_eq!(tree.get("usr/bin/a").map(|entry| &*entry.package), Some("p"));
        assert!(!tree.has("usr/share/doc/c"));
    }

    #[test]
    fn broken_packages_are_refused() {
        let good = deb(&[("./a", b"one")]);
        assert!(unpack("p", b"", &|_| true).is_err());
        assert!(unpack("p", &good[..good.len() - 2000], &|_| true).is_err());
        assert!(unpack("p", &ar(&[("debian-binary", b"2.0\n")]), &|_| true).is_err());
        assert!(unpack("p", &ar(&[("data.tar.7z", b"x")]), &|_| true).is_err());
    }
}
