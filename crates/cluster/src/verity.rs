//! dm-verity's hash tree, format 1 without salt (Documentation/admin-guide/device-mapper/verity.rst): made of the hashes of
//! an image's blocks, so that whoever knows the root can tell of each block by itself whether it is right. No IO, and no
//! hash function: it is handed in.
//!
//! ```text
//!   root ◄─hash─ [top block] ◄─hash─ … ◄─hash─ [128 hashes per block, zeros at the end] ◄─hash─ [blocks of the image]
//! ```
//!
//! The tree's levels lie behind each other, the top first.

use crate::Digest;

/// Size of a block, of the image and of the tree, in bytes.
pub const BLOCK_BYTES: usize = 4_096;
/// Size of a hash (SHA-256), in bytes.
const HASH_BYTES: usize = 32;

/// A hash tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashTree {
    /// What it all hangs on.
    pub root: Digest,
    /// The levels as they lie on a disk, a whole number of blocks; empty for an image of one block.
    pub bytes: Vec<u8>,
}

impl HashTree {
    /// The tree over the hashes of an image's blocks, in their order. `None`: there are no blocks.
    pub fn over(leaves: &[[u8; HASH_BYTES]], hash: impl Fn(&[u8]) -> [u8; HASH_BYTES]) -> Option<Self> {
        let mut hashes = leaves.to_vec();
        let mut levels: Vec<Vec<u8>> = Vec::new();
        while hashes.len() > 1 {
            let mut level = hashes.concat();
            level.resize(level.len().next_multiple_of(BLOCK_BYTES), 0);
            hashes = level.chunks(BLOCK_BYTES).map(&hash).collect();
            levels.push(level);
        }
        let root = Digest(*hashes.first()?);
        levels.reverse();
        Some(Self { root, bytes: levels.concat() })
    }

    /// How many bytes the tree of an image with so many blocks has.
    pub fn bytes_for(blocks: u64) -> u64 {
        let per_block = (BLOCK_BYTES / HASH_BYTES) as u64;
        let (mut left, mut total) = (blocks, 0);
        while left > 1 {
            left = left.div_ceil(per_block);
            total += left;
        }
        total * BLOCK_BYTES as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Not a good hash, but a function of every byte and its place.
    fn hash(block: &[u8]) -> [u8; 32] {
        let mut hash = [0_u8; 32];
        for (place, byte) in block.iter().enumerate() {
            hash[place % 32] = hash[place % 32].rotate_left(3) ^ byte ^ (place / 32) as u8;
        }
        hash
    }

    fn leaves(count: usize) -> Vec<[u8; 32]> {
        (0..count).map(|number| hash(&number.to_le_bytes())).collect()
    }

    #[test]
    fn a_tree_has_the_size_that_is_told_before() {
        for (count, blocks) in [(1, 0), (2, 1), (128, 1), (129, 3), (128 * 128, 129), (128 * 128 + 1, 132)] {
            let tree = HashTree::over(&leaves(count), hash).expect("blocks");
            assert_eq!(tree.bytes.len(), blocks * BLOCK_BYTES, "{count} leaves");
            assert_eq!(HashTree::bytes_for(count as u64), tree.bytes.len() as u64);
        }
        assert_eq!(HashTree::over(&[], hash), None);
    }

    #[test]
    fn every_leaf_counts() {
        let right = HashTree::over(&leaves(300), hash).expect("blocks");
        for place in [0, 127, 128, 299] {
            let mut wrong = leaves(300);
            wrong[place][31] ^= 1;
            assert_ne!(HashTree::over(&wrong, hash).expect("blocks").root, right.root, "{place}");
        }
    }
}
