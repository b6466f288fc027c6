//! The trailer of a card's system slot: its last block, which says which image lies on the slot.
//!
//! Init writes it when the whole image is on the card and voids it before it writes anything else there: a trailer over half an
//! image must never be.

use sha2::{Digest as _, Sha256};

use crate::Digest;

/// Size of the trailer's block in bytes.
pub const TRAILER_BYTES: u64 = 4_096;
const MAGIC: [u8; 16] = *b"FLEDERMAUS-SLOT1";
/// Magic, the image's digest, its size (little endian); then the SHA-256 of these.
const CONTENT_BYTES: usize = 16 + 32 + 8;

/// Which image lies on the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// The image's digest.
    pub image: Digest,
    /// Its size in bytes.
    pub bytes: u64,
}

impl Trailer {
    /// Reads a block; `None` if no trailer lies there, or a damaged one.
    pub fn parse(block: &[u8]) -> Option<Self> {
        let content = block.get(..CONTENT_BYTES)?;
        let sum = block.get(CONTENT_BYTES..CONTENT_BYTES + 32)?;
        if content[..16] != MAGIC || Sha256::digest(content)[..] != *sum {
            return None;
        }
        let image = Digest(content[16..48].try_into().ok()?);
        Some(Self { image, bytes: u64::from_le_bytes(content[48..].try_into().ok()?) })
    }

    /// The block that says it.
    pub fn block(&self) -> Vec<u8> {
        let mut block = [&MAGIC[..], &self.image.0, &self.bytes.to_le_bytes()].concat();
        let sum = Sha256::digest(&block);
        block.extend_from_slice(&sum);
        block.resize(TRAILER_BYTES as usize, 0);
        block
    }
}

/// The block that says that no image is there.
pub fn void() -> Vec<u8> {
    vec![0; TRAILER_BYTES as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailer_is_read_back_and_any_flipped_bit_voids_it() {
        let trailer = Trailer { image: Digest([9; 32]), bytes: 61_000_001 };
        let block = trailer.block();
        assert_eq!(block.len(), TRAILER_BYTES as usize);
        assert_eq!(Trailer::parse(&block), Some(trailer));
        for byte in 0..CONTENT_BYTES + 32 {
            let mut damaged = block.clone();
            damaged[byte] ^= 4;
            assert_eq!(Trailer::parse(&damaged), None, "byte {byte}");
        }
        assert_eq!(Trailer::parse(&void()), None);
        assert_eq!(Trailer::parse(&[]), None);
    }
}
