//! Whether an image is the plan's, found out while it passes by: by the hashes of its blocks where the plan knows the root of
//! the hash tree, else by its digest. Also says what has to lie behind the image on the slot.

use anyhow::{Result, ensure};
use cluster::Digest;
use cluster::verity::{BLOCK_BYTES, HashTree};
use sha2::{Digest as _, Sha256};

/// The image that the plan names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Its digest: its name, and what proves it if there is no root.
    pub(super) image: Digest,
    /// Its size in bytes.
    pub(super) bytes: u64,
    /// The root of its hash tree.
    pub(super) root: Option<Digest>,
}

impl Wanted {
    /// Size of the tree behind the image, in bytes.
    pub(super) fn tree_bytes(&self) -> u64 {
        self.root.map_or(0, |_| HashTree::bytes_for(self.bytes / BLOCK_BYTES as u64))
    }
}

/// What was seen of an image so far.
pub(super) enum Check {
    /// Its digest.
    Whole(Sha256),
    /// The hash of each of its blocks.
    Blocks(Vec<[u8; 32]>),
}

impl Check {
    /// Nothing was seen yet.
    pub(super) fn of(wanted: &Wanted) -> Self {
        if wanted.root.is_some() { Self::Blocks(Vec::new()) } else { Self::Whole(Sha256::new()) }
    }

    /// The next bytes: whole blocks, but for the end of the image.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        match self {
            Self::Whole(digest) => digest.update(bytes),
            Self::Blocks(hashes) => hashes.extend(bytes.chunks(BLOCK_BYTES).map(hash)),
        }
    }

    /// The hash tree of the whole image, which belongs behind it; empty where the plan has no root.
    ///
    /// # Errors
    /// It is another image.
    pub(super) fn end(self, wanted: &Wanted) -> Result<Vec<u8>> {
        let (right, tree) = match self {
            Self::Whole(digest) => (digest.finalize()[..] == wanted.image.0, Vec::new()),
            Self::Blocks(hashes) => {
                let tree = HashTree::over(&hashes, hash);
                (
                    tree.as_ref().map(|tree| tree.root) == wanted.root,
                    tree.map(|tree| tree.bytes).unwrap_or_default(),
                )
            }
        };
        ensure!(right, "the system image does not verify: it is not what the plan names");
        Ok(tree)
    }
}

fn hash(block: &[u8]) -> [u8; 32] {
    Sha256::digest(block).into()
}
