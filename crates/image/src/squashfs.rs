//! The system image: a tree as SquashFS 4.0 (the kernel's `fs/squashfs/squashfs_fs.h`), packed with zstd. The same tree
//! gives the same bytes.
//!
//! Our own, because no tool takes blocks that were packed before: after a change of one file, `sqfstar` packs all of
//! them again, which is two thirds of a build. Knows folders, files and links; no devices, extended attributes, hard
//! links or sparse files.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use cluster::Digest;

use crate::packer::{Method, Packer};
use crate::progress::Progress;
use crate::tree::{Kind, Tree};

mod metadata;
mod tables;

/// The largest that SquashFS has: packs best, and made no difference to a node's start.
const BLOCK_BYTES: usize = 1 << BLOCK_LOG;
const BLOCK_LOG: u16 = 20;
const SUPERBLOCK_BYTES: usize = 96;
/// What an image is filled up to, so that it can be looked at as a disk.
const PADDING_BYTES: usize = 4096;
/// How a block of data is packed. Of an image's 198 MB a core packs 46 MB/s to 58.0 MB at level 10, 34 MB/s to 57.9 MB at
/// 12, 12 MB/s to 57.8 MB at 15, 6 MB/s to 55.7 MB at 16 (zstd 1.5, blocks of 1 MiB): 10 is where more time stops to buy
/// much.
const DATA: Method = Method::Zstd(10);
/// In a block's size: it is not packed.
const RAW: u32 = 1 << 24;
/// Larger images would need 64-bit inodes.
const IMAGE_BYTES_LIMIT: usize = u32::MAX as usize;

/// A finished file system.
pub(crate) struct Packed {
    /// Its bytes.
    pub(crate) image: Vec<u8>,
    /// Bytes that each file takes in it, by path: its blocks, and its part of a block that it shares. Of files with the
    /// same content the first has all.
    pub(crate) shares: BTreeMap<String, u64>,
}

/// A piece of a file's content.
#[derive(Clone)]
struct Piece {
    content: Arc<[u8]>,
    range: Range<usize>,
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        &self.content[self.range.clone()]
    }
}

/// Where a file's content is.
#[derive(Clone, Debug, Default)]
struct Layout {
    /// Its own blocks, by their numbers.
    blocks: Range<usize>,
    /// The block that it shares with others, and where in it.
    fragment: Option<(usize, u32)>,
    /// Whether another file with the same content came first.
    is_copy: bool,
}

/// What is to be packed, in the order in which it lies in the image.
#[derive(Default)]
struct Plan {
    /// The pieces of each block; those with more than one piece, or one small file, are fragments.
    blocks: Vec<Vec<Piece>>,
    /// The numbers of those blocks that are fragments.
    fragments: Vec<usize>,
    files: BTreeMap<String, Layout>,
}

/// A packed block in the image.
struct Block {
    start: u64,
    /// Its size as inodes have it: with [`RAW`].
    size: u32,
    /// Bytes before it was packed.
    content_bytes: usize,
}

/// Packs a tree. `digests` are those of its files' contents, by path; `time` is the time stamp of all its files, in seconds since 1970.
///
/// # Errors
/// It is too large, or a block cannot be packed.
pub(crate) fn pack(
    tree: &Tree,
    digests: &BTreeMap<String, Digest>,
    time: u64,
    packer: &Packer,
    progress: &mut dyn Progress,
) -> Result<Packed> {
    let plan = Plan::of(tree, digests)?;
    let contents: Vec<Cow<'_, [u8]>> = plan.blocks.iter().map(|pieces| joined(pieces)).collect();
    let packed = packer.pack_all(DATA, &contents, progress)?;
    let mut image = vec![0; SUPERBLOCK_BYTES];
    let mut blocks = Vec::new();
    for (content, packed) in contents.iter().zip(packed) {
        let is_raw = packed.len() >= content.len();
        let bytes: &[u8] = if is_raw { content } else { &packed };
        let size = bytes.len() as u32 | if is_raw { RAW } else { 0 };
        blocks.push(Block { start: image.len() as u64, size, content_bytes: content.len() });
        image.extend_from_slice(bytes);
        ensure!(image.len() < IMAGE_BYTES_LIMIT, "the system image has more than 4 GiB: leave packages out");
    }
    let time = u32::try_from(time).context("the time stamp is too late for SquashFS")?;
    tables::append(&mut image, tree, &plan, &blocks, time)?;
    image.resize(image.len().next_multiple_of(PADDING_BYTES), 0);
    Ok(Packed { image, shares: shares(&plan, &blocks) })
}

fn joined(pieces: &[Piece]) -> Cow<'_, [u8]> {
    match pieces {
        [piece] => piece.bytes().into(),
        pieces => pieces.iter().map(Piece::bytes).collect::<Vec<_>>().concat().into(),
    }
}

impl Plan {
    fn of(tree: &Tree, digests: &BTreeMap<String, Digest>) -> Result<Self> {
        let mut plan = Self::default();
        let mut known: HashMap<Digest, Layout> = HashMap::new();
        // Small files, which share blocks.
        let mut small: Vec<(String, Arc<[u8]>)> = Vec::new();
        for (path, entry) in tree.iter() {
            let Kind::File(content) = &entry.kind else { continue };
            let digest = *digests.get(path).with_context(|| format!("{path} has no digest"))?;
            if let Some(layout) = known.get(&digest) {
                plan.files.insert(path.to_owned(), layout.clone());
                continue;
            }
            if content.len() < BLOCK_BYTES {
                small.push((path.to_owned(), content.clone()));
                continue;
            }
            let layout = Layout { blocks: plan.add_blocks(content), ..Layout::default() };
            known.insert(digest, Layout { is_copy: true, ..layout.clone() });
            plan.files.insert(path.to_owned(), layout);
        }
        plan.add_small(small);
        Ok(plan)
    }

    /// A file's own blocks; the last may be short.
    fn add_blocks(&mut self, content: &Arc<[u8]>) -> Range<usize> {
        let first = self.blocks.len();
        for start in (0..content.len()).step_by(BLOCK_BYTES) {
            let range = start..(start + BLOCK_BYTES).min(content.len());
            self.blocks.push(vec![Piece { content: content.clone(), range }]);
        }
        first..self.blocks.len()
    }

    fn add_small(&mut self, small: Vec<(String, Arc<[u8]>)>) {
        let mut known: HashMap<Arc<[u8]>, Layout> = HashMap::new();
        let (mut open, mut bytes): (Vec<Piece>, usize) = (Vec::new(), 0);
        for (path, content) in small {
            if content.is_empty() {
                self.files.insert(path, Layout::default());
                continue;
            }
            if let Some(layout) = known.get(&content) {
                self.files.insert(path, Layout { is_copy: true, ..layout.clone() });
                continue;
            }
            if bytes + content.len() > BLOCK_BYTES {
                self.close(std::mem::take(&mut open));
                bytes = 0;
            }
            let layout = Layout { fragment: Some((self.fragments.len(), bytes as u32)), ..Layout::default() };
            bytes += content.len();
            open.push(Piece { content: content.clone(), range: 0..content.len() });
            known.insert(content, layout.clone());
            self.files.insert(path, layout);
        }
        if !open.is_empty() {
            self.close(open);
        }
    }

    fn close(&mut self, fragment: Vec<Piece>) {
        self.fragments.push(self.blocks.len());
        self.blocks.push(fragment);
    }
}

fn shares(plan: &Plan, blocks: &[Block]) -> BTreeMap<String, u64> {
    let stored = |block: &Block| u64::from(block.size & !RAW);
    let mut shares = BTreeMap::new();
    for (path, layout) in &plan.files {
        let mut bytes = 0;
        if !layout.is_copy {
            bytes += blocks[layout.blocks.clone()].iter().map(stored).sum::<u64>();
            if let Some((fragment, offset)) = layout.fragment {
                let number = plan.fragments[fragment];
                let own = piece_at(&plan.blocks[number], offset);
                bytes += stored(&blocks[number]) * own / (blocks[number].content_bytes.max(1) as u64);
            }
        }
        shares.insert(path.clone(), bytes);
    }
    shares
}

/// Bytes of the piece that begins at that place of a block.
fn piece_at(pieces: &[Piece], offset: u32) -> u64 {
    let mut start = 0;
    for piece in pieces {
        if start == offset as usize {
            return piece.range.len() as u64;
        }
        start += piece.range.len();
    }
    0
}

#[cfg(test)]
mod tests;
