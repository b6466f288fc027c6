//! A blank node's card, as an operator would prepare it: an MBR with one FAT partition that holds
//! U-Boot's script, laid out by the code that makes real cards.
//!
//! Makes no other partition (init completes the card at its first boot) and no file that outlives the lab.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::Context;

use image::card::{self, fat, mbr, script};

/// The size of an emulated card in bytes. Sparse: only what the node writes takes space.
const CARD_BYTES: u64 = 4 << 30;

/// The size of the first partition in sectors of 512 bytes: 64 MiB.
const SECTORS: u32 = 131_072;

/// What U-Boot does when it is powered on. It asks for an address itself, because `dhcp` would
/// otherwise fetch the offered file at once, and makes room for a compressed kernel, which the
/// `qemu_arm64` board does not. After a failure it starts over, as a Pi does when it is power-cycled.
const BOOT_COMMANDS: &str = "\
setenv autoload no
setenv kernel_comp_addr_r 0x58000000
setenv kernel_comp_size 0x4000000
setenv tftptimeout 1000
setenv tftpblocksize 1468
setenv tftpwindowsize 16
dhcp
pxe get && pxe boot
sleep 1
reset
";

/// Makes a card in `directory` as a file without a name: it is gone when its last user is, whatever ends the lab.
///
/// # Errors
/// The directory cannot be written, or the disk is full.
pub(crate) fn blank(directory: &Path) -> anyhow::Result<File> {
    let mut card = tempfile::tempfile_in(directory)
        .with_context(|| format!("making a card in {} (set TMPDIR to another disk)", directory.display()))?;
    write(&mut card).with_context(|| format!("writing a card in {}", directory.display()))?;
    Ok(card)
}

fn write(card: &mut File) -> anyhow::Result<()> {
    let script = script::image(BOOT_COMMANDS);
    let volume = fat::volume(card::LABEL, mbr::FIRST_SECTOR, SECTORS, &[(card::SCRIPT_FILE, &script)])?;
    card.set_len(CARD_BYTES)?;
    card.write_all(&mbr::sector(SECTORS))?;
    card.seek(SeekFrom::Start(u64::from(mbr::FIRST_SECTOR) * fat::SECTOR as u64))?;
    Ok(card.write_all(&volume)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_card_is_sparse_nameless_and_partitioned() {
        let directory = tempfile::tempdir().expect("a directory");
        let card = blank(directory.path()).expect("a card");
        let metadata = card.metadata().expect("metadata");
        assert_eq!((metadata.len(), metadata.nlink()), (CARD_BYTES, 0));
        assert!(metadata.blocks() * 512 < 4 << 20, "{} blocks", metadata.blocks());
        let sector = mbr::sector(SECTORS);
        assert_eq!(sector[510..], [0x55, 0xaa]);
        assert_eq!(u32::from_le_bytes(sector[454..458].try_into().expect("four")), 2_048);
    }
}
