//! A card of Buildroot's own firmware and U-Boot, with the same script and settings as the one of Debian packages.

use anyhow::{Context, Result, ensure};

use super::parts::Parts;
use crate::card::{self, SCRIPT_FILE, boot, script};

/// The bytes of a card's image: as many as its files want, and not less than a FAT32 has.
///
/// # Errors
/// Buildroot brought no firmware or no U-Boot.
pub(super) fn image(parts: &Parts) -> Result<Vec<u8>> {
    let board = parts.firmware_files()?;
    ensure!(
        !board.is_empty(),
        "{} has no rpi-firmware, without which no Raspberry Pi starts from a card: set BR2_PACKAGE_RPI_FIRMWARE=y in \
         Buildroot's configuration",
        parts.folder.display()
    );
    let uboot = parts.file("u-boot.bin", "BR2_TARGET_UBOOT=y")?;
    let script = script::image(&boot::commands(None));
    let settings = boot::configuration(&[boot::ONE_LOADER]);
    let mut files = vec![
        (SCRIPT_FILE, &script[..]),
        ("config.txt", settings.as_bytes()),
        (boot::ONE_LOADER.file, &uboot[..]),
    ];
    files.extend(board.iter().copied());
    files.extend(card::other_names(&board));
    files.sort();
    card::disk(&files).context("laying out the card")
}
