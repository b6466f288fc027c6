//! The cards that a board can be given, good and bad.
//!
//! A good one is as an operator would prepare it: an MBR with one FAT partition that holds U-Boot's script, laid out by the
//! code that makes real cards. It has no other partition: init completes it at its first boot.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use image::card::{self, fat, mbr, script};
use serde::{Deserialize, Serialize};

/// The size of an emulated card in bytes. Sparse: only what the node writes takes space.
pub(super) const CARD_BYTES: u64 = 4 << 30;
/// The size of one that is too small: the system slot does not fit.
const SMALL_BYTES: u64 = 256 << 20;
/// How much of a card that had another life is written with noise, in bytes at each place.
const NOISE_BYTES: usize = 1 << 20;

/// The size of the first partition in sectors of 512 bytes: 64 MiB.
const SECTORS: u32 = 131_072;

/// What U-Boot does when it is powered on. It asks for an address itself, because `dhcp` would
/// otherwise fetch the offered file at once, and makes room for a compressed kernel, which the
/// `qemu_arm64` board does not. After a failure it starts over, as a Pi does when it is power-cycled.
/// Real cards have windows of 16: two of those, as the head sends them to who falls silent, would fill the 32 buffers of
/// U-Boot's virtio-net (see `TAP_QUEUE`).
const BOOT_COMMANDS: &str = "\
setenv autoload no
setenv kernel_comp_addr_r 0x58000000
setenv kernel_comp_size 0x4000000
setenv tftptimeout 1000
setenv tftpblocksize 1468
setenv tftpwindowsize 8
dhcp
pxe get && pxe boot
sleep 1
reset
";

/// A card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CardKind {
    /// Prepared by an operator, never booted from.
    Blank,
    /// Its first partition is right; the rest of the table, and what lies where the node keeps its things, is noise.
    Garbage,
    /// Somebody's: no label of ours, and data that must still be there afterwards. U-Boot on the card is gone with it, so only
    /// a board that boots without a card boots with this one.
    Foreign,
    /// Prepared, but too small for the system slot.
    Small,
    /// Prepared, and its switch forbids writing.
    Protected,
    /// None at all.
    None,
}

/// Writes one into an empty file. What a noisy card holds depends on `seed` alone.
///
/// # Errors
/// The disk is full.
pub(super) fn write(kind: CardKind, card: &mut File, seed: u64) -> anyhow::Result<()> {
    let mut noise = fastrand::Rng::with_seed(seed);
    match kind {
        CardKind::None => {}
        CardKind::Small => prepare(card, SMALL_BYTES)?,
        CardKind::Blank | CardKind::Protected => prepare(card, CARD_BYTES)?,
        CardKind::Garbage => {
            prepare(card, CARD_BYTES)?;
            let mut table = [0; 48];
            noise.fill(&mut table);
            // U-Boot takes no table for one whose entries are neither bootable nor not.
            table.iter_mut().step_by(16).for_each(|status| *status = 0);
            card.write_all_at(&table, 462)?;
            // Where init puts the slot, its trailer and the data.
            let slot = u64::from(mbr::FIRST_SECTOR + SECTORS) * fat::SECTOR as u64;
            for at in [slot, slot + (512 << 20) - NOISE_BYTES as u64, slot + (512 << 20)] {
                scatter(card, at, &mut noise)?;
            }
        }
        CardKind::Foreign => {
            card.set_len(CARD_BYTES)?;
            (0..64).try_for_each(|place| scatter(card, place * (CARD_BYTES / 64), &mut noise))?;
            // A table with one Linux partition, all of the card.
            let mut table = mbr::sector(u32::try_from(CARD_BYTES / fat::SECTOR as u64)? - mbr::FIRST_SECTOR);
            table[450] = 0x83;
            card.write_all_at(&table, 0)?;
        }
    }
    Ok(())
}

fn prepare(card: &mut File, bytes: u64) -> anyhow::Result<()> {
    let script = script::image(BOOT_COMMANDS);
    let volume = fat::volume(card::LABEL, mbr::FIRST_SECTOR, SECTORS, &[(card::SCRIPT_FILE, &script)])?;
    card.set_len(bytes)?;
    card.rewind()?;
    card.write_all(&mbr::sector(SECTORS))?;
    card.seek(SeekFrom::Start(u64::from(mbr::FIRST_SECTOR) * fat::SECTOR as u64))?;
    Ok(card.write_all(&volume)?)
}

fn scatter(card: &File, at: u64, noise: &mut fastrand::Rng) -> std::io::Result<()> {
    let mut bytes = vec![0; NOISE_BYTES];
    noise.fill(&mut bytes);
    card.write_all_at(&bytes, at)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_card_is_sparse_and_partitioned() {
        let mut card = tempfile::tempfile().expect("a file");
        write(CardKind::Blank, &mut card, 0).expect("a card");
        let metadata = card.metadata().expect("metadata");
        assert_eq!(metadata.len(), CARD_BYTES);
        assert!(metadata.blocks() * 512 < 4 << 20, "{} blocks", metadata.blocks());
        let sector = mbr::sector(SECTORS);
        assert_eq!(sector[510..], [0x55, 0xaa]);
        assert_eq!(u32::from_le_bytes(sector[454..458].try_into().expect("four")), 2_048);
    }

    #[test]
    fn a_foreign_card_is_a_table_and_noise_that_the_seed_says() {
        let sum = |seed| {
            let mut card = tempfile::tempfile().expect("a file");
            write(CardKind::Foreign, &mut card, seed).expect("a card");
            let mut bytes = vec![0; 4_096];
            card.read_exact_at(&mut bytes, 0).expect("its beginning");
            assert_eq!((bytes[450], &bytes[510..512]), (0x83, &[0x55, 0xaa][..]));
            bytes
        };
        assert_eq!(sum(1), sum(1));
        assert_ne!(sum(1), sum(2));
    }
}
