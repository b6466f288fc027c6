//! Images, read by the real `unsquashfs`.

use std::path::Path;
use std::process::Command;

use super::*;
use crate::progress::Silent;
use crate::tree::Entry;

fn packer() -> (tempfile::TempDir, Packer) {
    let folder = tempfile::tempdir().expect("a folder");
    let packer = Packer::new(&folder.path().join("packed")).expect("made");
    (folder, packer)
}

/// Bytes that do not pack, each time the same.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..bytes).map(|_| next()).collect()
}

/// Every shape of file: empty, small, of exactly one block, longer, packed and not, twice; long and many names.
fn tree() -> Tree {
    let mut tree = Tree::default();
    tree.put_file("empty", 0o600, Vec::new());
    tree.put_file("usr/bin/small", 0o755, *b"#!/bin/sh\n");
    tree.put_file("usr/bin/block", 0o4755, vec![7; BLOCK_BYTES]);
    tree.put_file("usr/bin/long", 0o755, vec![9; 2 * BLOCK_BYTES + 5]);
    tree.put_file("usr/bin/noise", 0o644, noise(BLOCK_BYTES + 70_000, 3));
    tree.put_file("usr/bin/again", 0o644, noise(BLOCK_BYTES + 70_000, 3));
    tree.put_file("usr/share/small again", 0o644, *b"#!/bin/sh\n");
    tree.put_file("usr/share/tail", 0o644, noise(BLOCK_BYTES - 3, 5));
    tree.put_link("bin", "usr/bin");
    tree.put_folder("tmp", 0o1777);
    tree.put_folder("var/empty", 0o700);
    for number in 0..3_000 {
        let name = format!("usr/lib/many/a-name-that-is-as-long-as-those-of-real-libraries-{number:05}");
        tree.put_file(&name, 0o644, number.to_string().into_bytes());
    }
    let owned = Entry { uid: 1000, gid: 33, ..Entry::own(Kind::File((*b"mine").into()), 0o640) };
    tree.put("home/mine", owned);
    tree
}

fn unsquashed(image: &[u8], folder: &Path, arguments: &[&str]) -> Option<String> {
    let file = folder.join("image");
    std::fs::write(&file, image).expect("written");
    let output = Command::new("unsquashfs").args(arguments).arg(&file).current_dir(folder).output().ok()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    Some(String::from_utf8(output.stdout).expect("text"))
}

#[test]
fn unsquashfs_reads_every_file_as_it_was() {
    let (folder, packer) = packer();
    let tree = tree();
    let packed = pack(&tree, &tree.digests(), 1_700_000_000, &packer, &mut Silent).expect("packed");
    // Without rights to give files away: contents and modes; owners are in the list below.
    let arguments = ["-no-progress", "-no-xattrs", "-dest", "out"];
    if unsquashed(&packed.image, folder.path(), &arguments).is_none() {
        return;
    }
    for (path, entry) in tree.iter() {
        let path = folder.path().join("out").join(path);
        let about = std::fs::symlink_metadata(&path).expect("there");
        match &entry.kind {
            Kind::Folder => assert!(about.is_dir(), "{path:?}"),
            Kind::File(content) => {
                assert!(std::fs::read(&path).expect("readable")[..] == content[..], "{path:?}")
            }
            Kind::Link(target) => assert_eq!(std::fs::read_link(&path).expect("a link"), Path::new(target)),
        }
        let mode = std::os::unix::fs::MetadataExt::mode(&about) & 0o7777;
        assert_eq!(mode, entry.mode, "{path:?}");
        assert_eq!(std::os::unix::fs::MetadataExt::mtime(&about), 1_700_000_000, "{path:?}");
    }
    let listed = unsquashed(&packed.image, folder.path(), &["-lln"]).expect("as before");
    assert!(listed.lines().any(|line| line.contains("1000/33") && line.ends_with("home/mine")), "{listed}");
    let count = listed.lines().filter(|line| line.contains("squashfs-root")).count();
    assert_eq!(count, tree.iter().count() + 1);
}

#[test]
fn the_same_tree_gives_the_same_bytes_with_and_without_a_memory() {
    let ((_one, first), (_other, second)) = (packer(), packer());
    let tree = tree();
    let image = |packer: &Packer| pack(&tree, &tree.digests(), 5, packer, &mut Silent).expect("packed").image;
    let fresh = image(&first);
    assert!(fresh == image(&first) && fresh == image(&second));
    assert!(fresh.starts_with(b"hsqs") && fresh.len() % PADDING_BYTES == 0);
}

#[test]
fn shares_add_up_to_the_blocks_and_copies_cost_nothing() {
    let (_folder, packer) = packer();
    let Packed { image, shares } = pack(&tree(), &tree().digests(), 5, &packer, &mut Silent).expect("packed");
    // Sorted by path, so `again` is the first of the two.
    assert_eq!(shares["usr/bin/again"], (BLOCK_BYTES + 70_000) as u64);
    assert_eq!(shares["usr/bin/noise"], 0);
    assert!(shares["usr/bin/long"] < 1_000);
    let sum: u64 = shares.values().sum();
    assert!(sum < image.len() as u64 && image.len() as u64 - sum < 100_000, "{sum} of {}", image.len());
}

#[test]
fn a_file_that_no_folder_would_list_is_told() {
    let (_folder, packer) = packer();
    let mut tree = Tree::default();
    tree.put_file("a", 0o644, *b"no folder");
    tree.put_file("b/c", 0o644, *b"x");
    tree.put_file("a/lost", 0o644, *b"y");
    let said = pack(&tree, &tree.digests(), 5, &packer, &mut Silent).err().expect("refused").to_string();
    assert!(said.contains("/a/lost lies in something that is no folder"), "{said}");
}

#[test]
fn an_empty_tree_is_an_image_too() {
    let (folder, packer) = packer();
    let packed = pack(&Tree::default(), &BTreeMap::new(), 5, &packer, &mut Silent).expect("packed");
    if let Some(listed) = unsquashed(&packed.image, folder.path(), &["-lln"]) {
        assert_eq!(listed.lines().filter(|line| line.contains("squashfs-root")).count(), 1, "{listed}");
    }
}
