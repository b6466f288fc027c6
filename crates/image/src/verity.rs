//! The hash tree over the system image: its root goes into the manifest, the tree nowhere. It would be 450 KB more of every
//! node's stream and of the image, and a node has to hash what it streams anyway.

use cluster::Digest;
use cluster::verity::{BLOCK_BYTES, HashTree};
use sha2::{Digest as _, Sha256};

/// The root of an image's tree; `None` if the image is no whole number of blocks.
pub(crate) fn root(image: &[u8]) -> Option<Digest> {
    if !image.len().is_multiple_of(BLOCK_BYTES) {
        return None;
    }
    let hash = |block: &[u8]| -> [u8; 32] { Sha256::digest(block).into() };
    let leaves: Vec<[u8; 32]> = image.chunks(BLOCK_BYTES).map(hash).collect();
    HashTree::over(&leaves, hash).map(|tree| tree.root)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// The tree as a node writes it, behind the image.
    fn with_tree(image: &[u8]) -> Vec<u8> {
        let hash = |block: &[u8]| -> [u8; 32] { Sha256::digest(block).into() };
        let leaves: Vec<[u8; 32]> = image.chunks(BLOCK_BYTES).map(hash).collect();
        [image, &HashTree::over(&leaves, hash).expect("blocks").bytes].concat()
    }

    /// Whether the real veritysetup finds the image right under this root.
    fn verifies(file: &[u8], image_bytes: usize, root: &Digest) -> bool {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("slot");
        std::fs::write(&path, file).expect("written");
        let blocks = format!("--data-blocks={}", image_bytes / BLOCK_BYTES);
        let ended = Command::new("veritysetup")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .args(["verify", "--no-superblock", "--salt=-", &blocks, &format!("--hash-offset={image_bytes}")])
            .args([&path, &path])
            .arg(root.to_string())
            .output()
            .expect("veritysetup (package cryptsetup-bin)");
        ended.status.success()
    }

    #[test]
    fn veritysetup_verifies_what_we_make_and_finds_what_is_flipped() {
        // One level, exactly full ones, two and three levels.
        for blocks in [2, 128, 129, 128 * 128 + 5] {
            let image: Vec<u8> =
                (0..blocks * BLOCK_BYTES).map(|place| (place / 7 + place / 4_099) as u8).collect();
            let root = root(&image).expect("whole blocks");
            let mut slot = with_tree(&image);
            assert!(verifies(&slot, image.len(), &root), "{blocks} blocks");
            for place in [image.len() / 2, image.len() + 3] {
                slot[place] ^= 1;
                assert!(!verifies(&slot, image.len(), &root), "{blocks} blocks, byte {place}");
                slot[place] ^= 1;
            }
        }
    }

    #[test]
    fn half_a_block_has_no_tree() {
        assert_eq!(root(&[0; BLOCK_BYTES + 1]), None);
        assert_eq!(root(&[]), None);
    }
}
