//! A pipe of three threads with few large blocks: one fills, one hashes, one empties. So the wire,
//! the hash and the card work at the same time, and memory stays bounded.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use anyhow::{Context, Result};

use super::check::Check;

/// Size of a block: large enough that a card writes whole erase blocks.
pub(super) const BLOCK_BYTES: usize = 1 << 20;
/// Blocks under way.
const BLOCKS: usize = 8;
/// What O_DIRECT wants of addresses and lengths.
const ALIGNMENT: usize = 4_096;

/// Some bytes at an aligned address.
pub(super) struct Block {
    bytes: Vec<u8>,
    skip: usize,
    length: usize,
}

impl Block {
    /// An empty block.
    pub(super) fn new() -> Self {
        let bytes = vec![0; BLOCK_BYTES + ALIGNMENT];
        let skip = bytes.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Self { bytes, skip, length: 0 }
    }

    /// All of its room.
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.skip..self.skip + BLOCK_BYTES]
    }

    /// Says how many bytes of the room are filled.
    pub(super) fn filled(&mut self, length: usize) {
        self.length = length.min(BLOCK_BYTES);
        let end = self.length.next_multiple_of(ALIGNMENT);
        let from = self.length;
        self.room()[from..end].fill(0);
    }

    /// What is filled.
    pub(super) fn data(&self) -> &[u8] {
        &self.bytes[self.skip..self.skip + self.length]
    }

    /// What is filled, with zeros up to a whole unit.
    pub(super) fn padded(&self) -> &[u8] {
        &self.bytes[self.skip..self.skip + self.length.next_multiple_of(ALIGNMENT)]
    }
}

/// Moves `total` bytes from `fill(block, position)` to `empty(block, position)` and returns what was seen of them.
///
/// # Errors
/// The first error of `empty`, else that of `fill`.
pub(super) fn run(
    total: u64,
    check: Check,
    mut fill: impl FnMut(&mut Block, u64) -> Result<()>,
    mut empty: impl FnMut(&Block, u64) -> Result<()> + Send,
) -> Result<Check> {
    let (give_back, free) = channel();
    let (filled, to_hash) = sync_channel(BLOCKS);
    let (hashed, to_empty) = sync_channel(BLOCKS);
    for _ in 0..BLOCKS {
        give_back.send(Block::new()).context("preparing buffers")?;
    }
    thread::scope(|scope| {
        let hasher = scope.spawn(move || hash_all(check, &to_hash, &hashed));
        let emptier = scope.spawn(move || empty_all(&to_empty, &give_back, &mut empty));
        let result = fill_all(total, &free, &filled, &mut fill);
        drop(filled);
        let check = hasher.join().map_err(|_| anyhow::anyhow!("the hashing thread died"))?;
        emptier.join().map_err(|_| anyhow::anyhow!("the writing thread died"))??;
        result.map(|()| check)
    })
}

fn fill_all(
    total: u64,
    free: &Receiver<Block>,
    filled: &SyncSender<Block>,
    fill: &mut impl FnMut(&mut Block, u64) -> Result<()>,
) -> Result<()> {
    let mut position = 0;
    while position < total {
        let mut block = free.recv().context("waiting for a free buffer")?;
        fill(&mut block, position)?;
        position += block.data().len() as u64;
        filled.send(block).context("handing a buffer on")?;
    }
    Ok(())
}

fn hash_all(mut check: Check, to_hash: &Receiver<Block>, hashed: &SyncSender<Block>) -> Check {
    for block in to_hash {
        check.add(block.data());
        if hashed.send(block).is_err() {
            break;
        }
    }
    check
}

fn empty_all(
    to_empty: &Receiver<Block>,
    give_back: &Sender<Block>,
    empty: &mut impl FnMut(&Block, u64) -> Result<()>,
) -> Result<()> {
    let mut position = 0;
    for block in to_empty {
        empty(&block, position)?;
        position += block.data().len() as u64;
        // Nobody takes blocks back once everything is filled.
        let _ = give_back.send(block);
    }
    Ok(())
}
