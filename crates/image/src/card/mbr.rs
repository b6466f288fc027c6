//! The partition table of a card: one partition, the FAT. Init adds the others at the node's first boot.

/// Where the partition begins, in sectors of 512 bytes: 1 MiB, which suits every card.
pub const FIRST_SECTOR: u32 = 2_048;
/// Partition type of FAT32 with LBA.
const TYPE_FAT32_LBA: u8 = 0x0c;
/// The disk's number, always the same, so that two cards are the same bytes.
const DISK_ID: &[u8; 4] = b"BAT!";

/// A partition table whose one partition has so many sectors. It is marked bootable: U-Boot looks for its script there.
pub fn sector(sectors: u32) -> [u8; 512] {
    /// CHS fields say "see LBA".
    const NO_CHS: [u8; 3] = [0xfe, 0xff, 0xff];
    let mut sector = [0; 512];
    sector[440..444].copy_from_slice(DISK_ID);
    let entry = &mut sector[446..462];
    entry[0] = 0x80;
    entry[1..4].copy_from_slice(&NO_CHS);
    entry[4] = TYPE_FAT32_LBA;
    entry[5..8].copy_from_slice(&NO_CHS);
    entry[8..12].copy_from_slice(&FIRST_SECTOR.to_le_bytes());
    entry[12..16].copy_from_slice(&sectors.to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}
