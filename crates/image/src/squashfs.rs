//! The system image: a tree as SquashFS, made by the real `sqfstar`, which reads a tar stream. Nothing is
//! unpacked on the way.

use std::io::{BufWriter, ErrorKind, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::progress::Progress;
use crate::tree::{Entry, Kind, Tree};

/// At its own level, 15: sqfstar 4.5 refuses `-Xcompression-level` for zstd whatever follows it, and level
/// 19 takes ten times as long as 12 and saves a tenth (55.7 against 6 s, 49 against 54 MB on two cores).
const COMPRESSOR: &str = "zstd";
/// The largest that SquashFS has: packs best, and made no difference to a node's start.
const BLOCK_BYTES: &str = "1M";
/// The most of sqfstar's complaints that go into a message, in bytes.
const COMPLAINT_BYTES_LIMIT: u64 = 4096;

/// Whether `sqfstar` is there, asked before the long work begins.
///
/// # Errors
/// It is not.
pub(crate) fn check_tool() -> Result<()> {
    let asked = Command::new("sqfstar").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.map(|_| ()).map_err(explain)
}

/// Writes the tree as a SquashFS to `file`. `time` is the time stamp of all its files.
///
/// # Errors
/// `sqfstar` is not installed or fails.
pub(crate) fn write(tree: &Tree, time: u64, file: &Path, progress: &mut dyn Progress) -> Result<()> {
    let mut child = Command::new("sqfstar")
        .args(["-comp", COMPRESSOR, "-b", BLOCK_BYTES])
        .args(["-reproducible", "-no-xattrs", "-no-progress", "-quiet", "-exit-on-error"])
        // Not -root-time: sqfstar 4.5 takes it and stamps the root folder with the present time all the same.
        .args(["-mkfs-time", &time.to_string(), "-all-time", &time.to_string(), "-root-mode", "755"])
        .args(["-root-uid", "0", "-root-gid", "0"])
        .arg(file)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(explain)?;
    let stdin = child.stdin.take().context("sqfstar takes no input")?;
    let stderr = child.stderr.take().context("sqfstar has no error output")?;
    let complaint = std::thread::spawn(move || {
        let mut said = String::new();
        let _ = stderr.take(COMPLAINT_BYTES_LIMIT).read_to_string(&mut said);
        said
    });
    let fed = feed(tree, time, stdin, progress);
    let status = child.wait().context("waiting for sqfstar")?;
    let complaint = complaint.join().unwrap_or_default();
    if !status.success() {
        bail!("sqfstar ended with {status}: {}", complaint.trim());
    }
    fed.context("feeding sqfstar")
}

fn explain(error: std::io::Error) -> anyhow::Error {
    let missing = error.kind() == ErrorKind::NotFound;
    let error = anyhow::Error::new(error);
    if missing {
        return error.context("sqfstar is not installed: apt install squashfs-tools");
    }
    error.context("starting sqfstar")
}

fn feed(tree: &Tree, time: u64, to: impl Write, progress: &mut dyn Progress) -> Result<()> {
    let total = tree.iter().map(|(_, entry)| entry.bytes()).sum();
    let mut done = 0;
    let mut tar = tar::Builder::new(BufWriter::new(to));
    for (path, entry) in tree.iter() {
        append(&mut tar, path, entry, time)?;
        done += entry.bytes();
        progress.bytes(done, total);
    }
    tar.into_inner()?.flush()?;
    Ok(())
}

/// Appends one file to a tar stream, with the given time stamp.
///
/// # Errors
/// The stream takes no more.
pub(crate) fn append(tar: &mut tar::Builder<impl Write>, path: &str, entry: &Entry, time: u64) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(entry.mode);
    header.set_uid(u64::from(entry.uid));
    header.set_gid(u64::from(entry.gid));
    header.set_mtime(time);
    header.set_size(entry.bytes());
    match &entry.kind {
        Kind::Folder => {
            header.set_entry_type(tar::EntryType::Directory);
            tar.append_data(&mut header, format!("{path}/"), std::io::empty())?;
        }
        Kind::File(content) => tar.append_data(&mut header, path, &content[..])?,
        Kind::Link(target) => {
            header.set_entry_type(tar::EntryType::Symlink);
            tar.append_link(&mut header, path, target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::progress::Silent;

    /// sqfstar's `-root-time` did nothing: two builds a second apart differed in the root's time stamp.
    #[test]
    fn the_same_tree_gives_the_same_bytes_a_second_later() {
        let mut tree = Tree::default();
        tree.put_file("usr/bin/a", 0o755, vec![7; 3_000_000]);
        tree.put_link("bin", "usr/bin");
        let folder = tempfile::tempdir().expect("a folder");
        let image = |name: &str| {
            let file = folder.path().join(name);
            write(&tree, 1_700_000_000, &file, &mut Silent).expect("squashfs-tools are installed");
            std::fs::read(file).expect("there")
        };
        let first = image("first");
        let begun = SystemTime::now();
        while begun.elapsed().is_ok_and(|elapsed| elapsed < Duration::from_millis(1100)) {
            assert_eq!(image("again"), first);
            std::fs::remove_file(folder.path().join("again")).expect("removed");
        }
        assert!(first.starts_with(b"hsqs"));
    }
}
