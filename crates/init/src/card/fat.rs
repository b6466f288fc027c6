//! The label of a FAT file system (12, 16 or 32 bits), from its first sector and root directory.
//! Reads no files and follows no cluster chains.

const ENTRY_BYTES: usize = 32;
/// Attributes of a directory entry: the volume's label, and a piece of a long name.
const ATTRIBUTE_LABEL: u8 = 0x08;
const ATTRIBUTE_LONG_NAME: u8 = 0x0f;
const DELETED: u8 = 0xe5;
/// The most of a root directory that is searched, in bytes.
const ROOT_LIMIT: usize = 64 * 1024;

/// What the first sector says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Volume {
    /// The label in the first sector; the root directory's goes before it.
    pub(super) label: String,
    /// Where the root directory begins, in bytes from the volume's start.
    pub(super) root_offset: u64,
    /// How much of it lies there in one piece, in bytes.
    pub(super) root_bytes: usize,
}

impl Volume {
    /// Reads the first sector; `None` if it is not that of a FAT.
    pub(super) fn parse(sector: &[u8; 512]) -> Option<Self> {
        let half = |at: usize| u64::from(u16::from_le_bytes([sector[at], sector[at + 1]]));
        let word = |at: usize| half(at) | half(at + 2) << 16;
        let (bytes_per_sector, sectors_per_cluster) = (half(11), u64::from(sector[13]));
        let sane = sector[510..] == [0x55, 0xaa]
            && [512, 1_024, 2_048, 4_096].contains(&bytes_per_sector)
            && sectors_per_cluster.is_power_of_two()
            && (1..=2).contains(&sector[16]);
        if !sane {
            return None;
        }
        // FAT32 has no fixed root directory: its entry count and 16-bit FAT size are 0.
        let fat32 = half(17) == 0 && half(22) == 0;
        let (fat_sectors, label_at) = if fat32 { (word(36), 71) } else { (half(22), 43) };
        let root_sector = half(14) + u64::from(sector[16]) * fat_sectors;
        let (skip, root_bytes) = if fat32 {
            // Clusters count from 2; the root directory says which is its first.
            (word(44).checked_sub(2)? * sectors_per_cluster, bytes_per_sector * sectors_per_cluster)
        } else {
            (0, half(17) * ENTRY_BYTES as u64)
        };
        Some(Self {
            label: text(&sector[label_at..label_at + 11]),
            root_offset: (root_sector + skip) * bytes_per_sector,
            root_bytes: (root_bytes as usize).min(ROOT_LIMIT),
        })
    }
}

/// The label among the entries of a root directory.
pub(super) fn label_in_root(root: &[u8]) -> Option<String> {
    root.chunks_exact(ENTRY_BYTES)
        .take_while(|entry| entry[0] != 0)
        .find(|entry| {
            let attributes = entry[11];
            entry[0] != DELETED && attributes & ATTRIBUTE_LABEL != 0 && attributes != ATTRIBUTE_LONG_NAME
        })
        .map(|entry| text(&entry[..11]))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_fat_is_refused_and_no_number_in_it_overflows() {
        assert_eq!(Volume::parse(&[0; 512]), None);
        let mut sector = [0xff; 512];
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        assert_eq!(Volume::parse(&sector), None);
        sector[11..14].copy_from_slice(&[0, 16, 128]);
        sector[16] = 2;
        sector[17..19].fill(0);
        sector[22..24].fill(0);
        let volume = Volume::parse(&sector).expect("odd, but a FAT");
        assert_eq!(volume.root_bytes, ROOT_LIMIT);
    }

    #[test]
    fn deleted_entries_and_long_names_are_no_labels() {
        let entry = |first: u8, attributes: u8| {
            let mut bytes = *b"XAMPLE  TXT                     ";
            (bytes[0], bytes[11]) = (first, attributes);
            bytes
        };
        let mut root = [entry(DELETED, ATTRIBUTE_LABEL), entry(b'A', ATTRIBUTE_LONG_NAME)].concat();
        assert_eq!(label_in_root(&root), None);
        root.extend(entry(b'E', ATTRIBUTE_LABEL));
        assert_eq!(label_in_root(&root).as_deref(), Some("EAMPLE  TXT"));
    }
}
