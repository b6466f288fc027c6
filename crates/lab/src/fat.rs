//! A FAT16 volume of 64 MiB with a label and one file: all that a lab card's first partition needs.
//!
//! Not a file system library: no directories, no long names, no reading. Layout from Microsoft's
//! "FAT: General Overview of On-Disk Format" 1.03.

/// Bytes of a sector.
pub(crate) const SECTOR: usize = 512;
/// Sectors of the volume: 64 MiB.
pub(crate) const SECTORS: u32 = 131_072;

const SECTORS_PER_CLUSTER: usize = 4;
const CLUSTER: usize = SECTOR * SECTORS_PER_CLUSTER;
const RESERVED_SECTORS: usize = 1;
const TABLES: usize = 2;
/// Two bytes per cluster: 131072 / 4 clusters take 128 sectors.
const TABLE_SECTORS: usize = 128;
const ROOT_ENTRIES: usize = 512;
const ROOT_SECTORS: usize = ROOT_ENTRIES * 32 / SECTOR;
const FIRST_TABLE: usize = RESERVED_SECTORS * SECTOR;
const ROOT: usize = FIRST_TABLE + TABLES * TABLE_SECTORS * SECTOR;
const DATA: usize = ROOT + ROOT_SECTORS * SECTOR;
const MEDIA_FIXED: u8 = 0xf8;
const ATTRIBUTE_LABEL: u8 = 0x08;
const ATTRIBUTE_ARCHIVE: u8 = 0x20;
const END_OF_CHAIN: u16 = 0xffff;
/// 2026-01-01, so that two cards are the same bytes.
const DATE: u16 = (46 << 9) | (1 << 5) | 1;

/// The volume's bytes up to the end of its one file; what follows is zero.
///
/// `label` and `name` are in the directory's own form: padded with spaces, name 8 + extension 3.
pub(crate) fn volume(label: &[u8; 11], name: &[u8; 11], content: &[u8]) -> Vec<u8> {
    let clusters = content.len().div_ceil(CLUSTER);
    let mut volume = vec![0; DATA + clusters * CLUSTER];
    volume[..SECTOR].copy_from_slice(&boot_sector(label));
    for table in 0..TABLES {
        let start = FIRST_TABLE + table * TABLE_SECTORS * SECTOR;
        write_chain(&mut volume[start..], clusters);
    }
    volume[ROOT..ROOT + 32].copy_from_slice(&entry(label, ATTRIBUTE_LABEL, 0, 0));
    let file = entry(name, ATTRIBUTE_ARCHIVE, 2, content.len() as u32);
    volume[ROOT + 32..ROOT + 64].copy_from_slice(&file);
    volume[DATA..DATA + content.len()].copy_from_slice(content);
    volume
}

fn boot_sector(label: &[u8; 11]) -> [u8; SECTOR] {
    let fields: [(usize, &[u8]); 17] = [
        (0, &[0xeb, 0x3c, 0x90]), // jump over the fields, as every maker writes it
        (3, b"FLEDERM "),
        (11, &(SECTOR as u16).to_le_bytes()),
        (13, &[SECTORS_PER_CLUSTER as u8]),
        (14, &(RESERVED_SECTORS as u16).to_le_bytes()),
        (16, &[TABLES as u8]),
        (17, &(ROOT_ENTRIES as u16).to_le_bytes()),
        (21, &[MEDIA_FIXED]),
        (22, &(TABLE_SECTORS as u16).to_le_bytes()),
        (24, &[32, 0, 64, 0]), // sectors per track and heads: nobody reads them
        (28, &2_048_u32.to_le_bytes()),
        (32, &SECTORS.to_le_bytes()),
        (36, &[0x80, 0, 0x29]), // drive number, reserved, "the next three fields are there"
        (39, b"BAT!"),
        (43, label),
        (54, b"FAT16   "),
        (510, &[0x55, 0xaa]),
    ];
    let mut sector = [0; SECTOR];
    for (offset, bytes) in fields {
        sector[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    sector
}

/// The allocation table: two reserved entries, then one chain through all clusters of the file.
fn write_chain(table: &mut [u8], clusters: usize) {
    let mut put =
        |index: usize, value: u16| table[2 * index..2 * index + 2].copy_from_slice(&value.to_le_bytes());
    put(0, 0xff00 | u16::from(MEDIA_FIXED));
    put(1, END_OF_CHAIN);
    for index in 2..2 + clusters {
        put(index, if index + 1 < 2 + clusters { index as u16 + 1 } else { END_OF_CHAIN });
    }
}

fn entry(name: &[u8; 11], attribute: u8, first_cluster: u16, bytes: u32) -> [u8; 32] {
    let mut entry = [0; 32];
    entry[..11].copy_from_slice(name);
    entry[11] = attribute;
    entry[16..18].copy_from_slice(&DATE.to_le_bytes());
    entry[18..20].copy_from_slice(&DATE.to_le_bytes());
    entry[24..26].copy_from_slice(&DATE.to_le_bytes());
    entry[26..28].copy_from_slice(&first_cluster.to_le_bytes());
    entry[28..].copy_from_slice(&bytes.to_le_bytes());
    entry
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::Command;

    use super::*;

    /// The volume as a file of its whole size, for programs that others wrote.
    fn on_disk(content: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(&volume(b"FLEDERMAUS ", b"BOOT    SCR", content)).expect("written");
        file.as_file().set_len(u64::from(SECTORS) * SECTOR as u64).expect("grown");
        file
    }

    #[test]
    fn fsck_finds_nothing_to_mend_and_mtools_reads_the_file() {
        let content: Vec<u8> = (0..9_000_u32).map(|byte| byte as u8).collect();
        let file = on_disk(&content);
        let fsck =
            Command::new("/usr/sbin/fsck.fat").arg("-nv").arg(file.path()).output().expect("fsck.fat runs");
        assert!(fsck.status.success(), "{}", String::from_utf8_lossy(&fsck.stdout));
        let copy =
            Command::new("mtype").arg("-i").arg(file.path()).arg("::boot.scr").output().expect("mtype runs");
        assert_eq!(copy.stdout, content, "{}", String::from_utf8_lossy(&copy.stderr));
    }
}
