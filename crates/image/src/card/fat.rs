//! A FAT32 volume with a label and files in its root: all that a card's first partition needs.
//!
//! Not a file system library: no folders, no reading, no free space that is looked after. The same files give the same
//! bytes. Layout from Microsoft's "FAT: General Overview of On-Disk Format" 1.03; FAT32, because the partition's type
//! says so, and because every start file of a Raspberry Pi reads it.

use anyhow::{Result, ensure};

/// Bytes of a sector.
pub const SECTOR: usize = 512;

/// One sector is one cluster: only so has a volume of 33 MiB the clusters that make it a FAT32.
const RESERVED_SECTORS: usize = 32;
const TABLES: usize = 2;
const ENTRIES_PER_SECTOR: usize = SECTOR / 4;
/// A volume with fewer clusters is a FAT16, whatever it says of itself.
const CLUSTERS_MIN: usize = 65_525;
const FIRST_TABLE: usize = RESERVED_SECTORS * SECTOR;
const ROOT_CLUSTER: usize = 2;
const INFO_SECTOR: usize = 1;
const BACKUP_SECTOR: usize = 6;
const MEDIA_FIXED: u8 = 0xf8;
const ATTRIBUTE_LABEL: u8 = 0x08;
const ATTRIBUTE_ARCHIVE: u8 = 0x20;
const ATTRIBUTE_LONG_NAME: u8 = 0x0f;
/// Name and extension are to be shown in lower case.
const LOWER_CASE: u8 = 0x18;
const END_OF_CHAIN: u32 = 0x0fff_ffff;
/// 2026-01-01, so that two cards are the same bytes.
const DATE: u16 = (46 << 9) | (1 << 5) | 1;
const SERIAL: &[u8; 4] = b"BAT!";
const ENTRY: usize = 32;
/// UTF-16 units in one directory entry of a long name.
const LONG_NAME_PART: usize = 13;
const NAME_LIMIT: usize = 64;

/// A file: its name, of ASCII letters, digits and `._-`, and its content.
pub type File<'a> = (&'a str, &'a [u8]);

/// Sectors of a volume, counted out.
struct Geometry {
    sectors: usize,
    table_sectors: usize,
    clusters: usize,
}

impl Geometry {
    fn of(sectors: u32) -> Result<Self> {
        let sectors = sectors as usize;
        // Each sector of a table stands for 128 clusters; the first two of its entries for none.
        let table_sectors =
            sectors.saturating_sub(RESERVED_SECTORS - 2).div_ceil(ENTRIES_PER_SECTOR + TABLES);
        let clusters = sectors.saturating_sub(RESERVED_SECTORS + TABLES * table_sectors);
        ensure!(clusters >= CLUSTERS_MIN, "{sectors} sectors are too few for a FAT32");
        Ok(Self { sectors, table_sectors, clusters })
    }

    /// Where a cluster begins, in bytes.
    fn cluster(&self, number: usize) -> usize {
        (RESERVED_SECTORS + TABLES * self.table_sectors + number - ROOT_CLUSTER) * SECTOR
    }
}

/// The bytes of a volume of so many sectors up to the end of its last file; what follows is zero.
///
/// `label` is in the directory's own form, padded with spaces; `hidden` is how many sectors of the disk come before.
///
/// # Errors
/// The files do not fit, or one has a name that is not for a FAT.
pub fn volume(label: &[u8; 11], hidden: u32, sectors: u32, files: &[File<'_>]) -> Result<Vec<u8>> {
    let geometry = Geometry::of(sectors)?;
    let mut root = entry(label, ATTRIBUTE_LABEL, 0, 0, 0).to_vec();
    let mut names = Vec::new();
    for (number, (name, _)) in files.iter().enumerate() {
        names.push(Name::new(name, number + 1)?);
    }
    let root_entries = 1 + names.iter().map(|name| 1 + name.long.len() / ENTRY).sum::<usize>();
    let root_clusters = (root_entries * ENTRY).div_ceil(SECTOR);

    let mut table = vec![0x0fff_ff00 | u32::from(MEDIA_FIXED), END_OF_CHAIN];
    let mut next = ROOT_CLUSTER;
    let mut data = vec![0; root_clusters * SECTOR];
    append_chain(&mut table, &mut next, root_clusters);
    for (name, (_, content)) in names.iter().zip(files) {
        // An empty file has no cluster.
        let first = if content.is_empty() { 0 } else { next };
        append_chain(&mut table, &mut next, content.len().div_ceil(SECTOR));
        root.extend(&name.long);
        root.extend(entry(&name.short, ATTRIBUTE_ARCHIVE, name.case, first as u32, content.len() as u32));
        data.extend(*content);
        data.resize(data.len().next_multiple_of(SECTOR), 0);
    }
    data[..root.len()].copy_from_slice(&root);
    let free = (geometry.clusters + ROOT_CLUSTER).checked_sub(next);
    let Some(free) = free else { anyhow::bail!("the files do not fit into {sectors} sectors") };

    let mut volume = vec![0; geometry.cluster(ROOT_CLUSTER)];
    for copy in [0, BACKUP_SECTOR] {
        put(&mut volume, copy * SECTOR, &boot_sector(label, hidden, &geometry));
        put(&mut volume, (copy + INFO_SECTOR) * SECTOR, &information(free, next));
    }
    let table: Vec<u8> = table.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    for copy in 0..TABLES {
        put(&mut volume, FIRST_TABLE + copy * geometry.table_sectors * SECTOR, &table);
    }
    volume.extend(data);
    Ok(volume)
}

fn put(volume: &mut [u8], offset: usize, bytes: &[u8]) {
    volume[offset..offset + bytes.len()].copy_from_slice(bytes);
}

fn append_chain(table: &mut Vec<u32>, next: &mut usize, clusters: usize) {
    for cluster in 1..=clusters {
        table.push(if cluster < clusters { (*next + cluster) as u32 } else { END_OF_CHAIN });
    }
    *next += clusters;
}

fn boot_sector(label: &[u8; 11], hidden: u32, geometry: &Geometry) -> [u8; SECTOR] {
    let fields: [(usize, &[u8]); 18] = [
        (0, &[0xeb, 0x58, 0x90]), // jump over the fields, as every maker writes it
        (3, b"FLEDERM "),
        (11, &(SECTOR as u16).to_le_bytes()),
        (13, &[1]), // sectors of a cluster
        (14, &(RESERVED_SECTORS as u16).to_le_bytes()),
        (16, &[TABLES as u8]),
        (21, &[MEDIA_FIXED]),
        (24, &[63, 0, 255, 0]), // sectors per track and heads: nobody reads them
        (28, &hidden.to_le_bytes()),
        (32, &(geometry.sectors as u32).to_le_bytes()),
        (36, &(geometry.table_sectors as u32).to_le_bytes()),
        (44, &(ROOT_CLUSTER as u32).to_le_bytes()),
        (48, &[INFO_SECTOR as u8, 0, BACKUP_SECTOR as u8, 0]),
        (64, &[0x80, 0, 0x29]), // drive number, reserved, "the next three fields are there"
        (67, SERIAL),
        (71, label),
        (82, b"FAT32   "),
        (510, &[0x55, 0xaa]),
    ];
    let mut sector = [0; SECTOR];
    for (offset, bytes) in fields {
        put(&mut sector, offset, bytes);
    }
    sector
}

/// The sector that says how much is free ("FSInfo").
fn information(free: usize, next: usize) -> [u8; SECTOR] {
    let mut sector = [0; SECTOR];
    put(&mut sector, 0, b"RRaA");
    put(&mut sector, 484, b"rrAa");
    put(&mut sector, 488, &(free as u32).to_le_bytes());
    put(&mut sector, 492, &(next as u32).to_le_bytes());
    put(&mut sector, 510, &[0x55, 0xaa]);
    sector
}

fn entry(name: &[u8; 11], attribute: u8, case: u8, first_cluster: u32, bytes: u32) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    entry[..11].copy_from_slice(name);
    entry[11] = attribute;
    entry[12] = case;
    entry[16..18].copy_from_slice(&DATE.to_le_bytes());
    entry[18..20].copy_from_slice(&DATE.to_le_bytes());
    entry[20..22].copy_from_slice(&first_cluster.to_le_bytes()[2..]);
    entry[24..26].copy_from_slice(&DATE.to_le_bytes());
    entry[26..28].copy_from_slice(&first_cluster.to_le_bytes()[..2]);
    entry[28..].copy_from_slice(&bytes.to_le_bytes());
    entry
}

/// A file's name in the directory.
struct Name {
    /// Padded with spaces, name 8 + extension 3.
    short: [u8; 11],
    case: u8,
    /// The entries before the file's own that spell the name, if it is too long for that.
    long: Vec<u8>,
}

impl Name {
    /// `number` makes the short form of a long name one of its own.
    fn new(name: &str, number: usize) -> Result<Self> {
        let allowed = |letter: u8| letter.is_ascii_alphanumeric() || b"._-".contains(&letter);
        ensure!(
            (1..=NAME_LIMIT).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with('.'),
            "`{name}` cannot name a file on the card: use up to {NAME_LIMIT} letters, digits and ._-"
        );
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        let is_plain = stem.len() <= 8 && extension.len() <= 3 && !stem.contains('.') && !name.ends_with('.');
        if is_plain && !name.bytes().any(|letter| letter.is_ascii_uppercase()) {
            return Ok(Self { short: short(stem, extension), case: LOWER_CASE, long: Vec::new() });
        }
        let tail = format!("~{number}");
        let letters: String = stem.chars().filter(|letter| *letter != '.').take(8 - tail.len()).collect();
        let short = short(&(letters + &tail), &extension[..extension.len().min(3)]);
        Ok(Self { short, case: 0, long: long_name(name, &short) })
    }
}

fn short(stem: &str, extension: &str) -> [u8; 11] {
    let mut short = [b' '; 11];
    put(&mut short, 0, stem.to_ascii_uppercase().as_bytes());
    put(&mut short, 8, extension.to_ascii_uppercase().as_bytes());
    short
}

/// The entries of a long name, its last part first (Microsoft's document, "Long Directory Entries").
fn long_name(name: &str, short: &[u8; 11]) -> Vec<u8> {
    const LAST: u8 = 0x40;
    let sum = short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let mut units: Vec<u16> = name.encode_utf16().collect();
    let parts = units.len().div_ceil(LONG_NAME_PART);
    if !units.len().is_multiple_of(LONG_NAME_PART) {
        units.push(0);
    }
    units.resize(parts * LONG_NAME_PART, 0xffff);
    let mut entries = Vec::new();
    for (number, part) in units.chunks(LONG_NAME_PART).enumerate().rev() {
        let mut entry = [0; ENTRY];
        let is_last = number + 1 == parts;
        entry[0] = (number as u8 + 1) | if is_last { LAST } else { 0 };
        entry[11] = ATTRIBUTE_LONG_NAME;
        entry[13] = sum;
        let places = (1..11).step_by(2).chain((14..26).step_by(2)).chain([28, 30]);
        for (place, unit) in places.zip(part) {
            put(&mut entry, place, &unit.to_le_bytes());
        }
        entries.extend(entry);
    }
    entries
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::Command;

    use super::*;

    const SECTORS: u32 = 79_872;

    /// The volume as a file of its whole size, for programs that others wrote.
    fn on_disk(files: &[File<'_>]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let volume = volume(b"FLEDERMAUS ", 2_048, SECTORS, files).expect("a volume");
        file.write_all(&volume).expect("written");
        file.as_file().set_len(u64::from(SECTORS) * SECTOR as u64).expect("grown");
        file
    }

    #[test]
    fn fsck_finds_nothing_to_mend_and_mtools_reads_every_file() {
        let content: Vec<u8> = (0..9_000_u32).map(|byte| byte as u8).collect();
        let names =
            ["boot.scr", "bcm2837-rpi-3-b.dtb", "bcm2837-rpi-3-b-plus.dtb", "copyright", "empty", "a.b.c"];
        // Exactly one and two entries long, and one short of it: where the end of a long name is marked or not.
        let edges = ["thirteen-1234", "twenty-six-letters-12345-6", "twelve-12345"];
        let mut files: Vec<File<'_>> = names.iter().chain(&edges).map(|name| (*name, &content[..])).collect();
        files[4].1 = &[];
        let file = on_disk(&files);
        let fsck =
            Command::new("/usr/sbin/fsck.fat").arg("-nv").arg(file.path()).output().expect("fsck.fat runs");
        let said = String::from_utf8_lossy(&fsck.stdout);
        assert!(fsck.status.success() && said.contains("32 bit entries"), "{said}");
        for (name, content) in files {
            let copy = Command::new("mtype")
                .arg("-i")
                .arg(file.path())
                .arg(format!("::{name}"))
                .output()
                .expect("mtype");
            assert!(copy.stdout == content, "{name}: {}", String::from_utf8_lossy(&copy.stderr));
        }
        let listed =
            Command::new("mdir").arg("-b").arg("-i").arg(file.path()).arg("::").output().expect("mdir");
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(
            listed.contains("::/boot.scr\n") && listed.contains("::/bcm2837-rpi-3-b-plus.dtb\n"),
            "{listed}"
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let large = vec![1; SECTORS as usize * SECTOR];
        for (files, said) in [
            (vec![("large", &large[..])], "do not fit"),
            (vec![("a/b", &[][..])], "cannot name a file"),
            (vec![("", &[][..])], "cannot name a file"),
        ] {
            let error = volume(b"FLEDERMAUS ", 0, SECTORS, &files).expect_err("refused").to_string();
            assert!(error.contains(said), "{error}");
        }
        assert!(volume(b"FLEDERMAUS ", 0, 60_000, &[]).is_err(), "that would be a FAT16");
    }
}
