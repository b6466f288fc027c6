//! SquashFS's metadata: a stream cut into blocks of 8 KiB, each packed for itself, with places in it.

use anyhow::Result;

use crate::packer::{Method, Packer};

/// The most bytes of a block before it is packed.
const BLOCK_BYTES: usize = 8192;
/// In a block's header: it is not packed.
const RAW: u16 = 1 << 15;
const METHOD: Method = Method::Zstd(15);

/// A stream that is being written.
#[derive(Default)]
pub(super) struct Stream {
    /// Packed blocks with their headers.
    pub(super) packed: Vec<u8>,
    /// Where each packed block starts in `packed`.
    pub(super) starts: Vec<u64>,
    open: Vec<u8>,
}

/// A place in a stream: where its block starts, packed, and where in the block it is, unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) block: u32,
    pub(super) offset: u16,
}

impl Stream {
    /// Where the next byte goes.
    pub(super) fn place(&self) -> Place {
        Place { block: self.packed.len() as u32, offset: self.open.len() as u16 }
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.open.len()));
            self.open.extend_from_slice(now);
            bytes = later;
            // At once: a place never is at the end of a block.
            if self.open.len() == BLOCK_BYTES {
                self.close()?;
            }
        }
        Ok(())
    }

    /// Packs what is left.
    pub(super) fn close(&mut self) -> Result<()> {
        if self.open.is_empty() {
            return Ok(());
        }
        let packed = Packer::pack_now(METHOD, &self.open)?;
        let is_raw = packed.len() >= self.open.len();
        let bytes = if is_raw { &self.open } else { &packed };
        self.starts.push(self.packed.len() as u64);
        let header = bytes.len() as u16 | if is_raw { RAW } else { 0 };
        self.packed.extend_from_slice(&header.to_le_bytes());
        self.packed.extend_from_slice(bytes);
        self.open.clear();
        Ok(())
    }
}
