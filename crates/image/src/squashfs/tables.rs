//! Everything of a SquashFS but the files' contents: inodes, folders, tables, the superblock.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use super::metadata::{Place, Stream};
use super::{BLOCK_BYTES, BLOCK_LOG, Block, Plan, SUPERBLOCK_BYTES};
use crate::tree::{Entry, Kind, Tree};

const MAGIC: u32 = 0x7371_7368;
const VERSION: (u16, u16) = (4, 0);
const ZSTD: u16 = 6;
/// No extended attributes; files with the same content share it.
const FLAGS: u16 = 0x0200 | 0x0040;
/// No such table, or no such fragment.
const NONE: u64 = u64::MAX;
const NO_FRAGMENT: u32 = u32::MAX;
/// The most entries under one header of a folder.
const RUN_LIMIT: usize = 256;
/// What a folder's size in its inode is larger than its list: `.` and `..`, says the kernel.
const DOTS_BYTES: usize = 3;

/// Kinds of inodes.
const FOLDER: u16 = 1;
const FILE: u16 = 2;
const LINK: u16 = 3;
const LARGE_FOLDER: u16 = 8;

/// One file or folder, as its folder lists it.
struct Listed {
    name: String,
    place: Place,
    number: u32,
    kind: u16,
}

struct Tables<'a> {
    tree: &'a Tree,
    plan: &'a Plan,
    blocks: &'a [Block],
    time: u32,
    /// Names in each folder, sorted; the root is the empty path.
    children: BTreeMap<&'a str, Vec<&'a str>>,
    numbers: BTreeMap<&'a str, u32>,
    ids: Vec<u32>,
    inodes: Stream,
    folders: Stream,
}

/// Appends the tables to an image that holds the blocks, and writes its superblock.
///
/// # Errors
/// A name or a folder is too long for the format.
pub(super) fn append(
    image: &mut Vec<u8>,
    tree: &Tree,
    plan: &Plan,
    blocks: &[Block],
    time: u32,
) -> Result<()> {
    for (path, _) in tree.iter() {
        // It would have a number, and no list would name it.
        let folder = path.rsplit_once('/').map(|(folder, _)| folder);
        let is_listed =
            folder.is_none_or(|folder| tree.get(folder).is_some_and(|above| above.kind == Kind::Folder));
        ensure!(
            is_listed,
            "/{path} lies in something that is no folder: two packages, or the overlay, disagree"
        );
    }
    let mut tables = Tables::new(tree, plan, blocks, time);
    let root = tables.write_folder("")?;
    let Tables { mut inodes, mut folders, ids, numbers, .. } = tables;
    inodes.close()?;
    folders.close()?;
    let inode_table = image.len() as u64;
    image.extend_from_slice(&inodes.packed);
    let folder_table = image.len() as u64;
    image.extend_from_slice(&folders.packed);
    let mut entries = Vec::new();
    for number in &plan.fragments {
        let Block { start, size, .. } = blocks[*number];
        entries.extend_from_slice(&start.to_le_bytes());
        entries.extend_from_slice(&size.to_le_bytes());
        entries.extend_from_slice(&[0; 4]);
    }
    let fragment_table = if entries.is_empty() { NONE } else { table(image, &entries)? };
    let id_bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    let id_table = table(image, &id_bytes)?;

    let mut superblock = Vec::with_capacity(SUPERBLOCK_BYTES);
    for field in [MAGIC, numbers.len() as u32, time, BLOCK_BYTES as u32, plan.fragments.len() as u32] {
        superblock.extend_from_slice(&field.to_le_bytes());
    }
    for field in [ZSTD, BLOCK_LOG, FLAGS, ids.len() as u16, VERSION.0, VERSION.1] {
        superblock.extend_from_slice(&field.to_le_bytes());
    }
    let root = u64::from(root.block) << 16 | u64::from(root.offset);
    let bytes_used = image.len() as u64;
    for field in [root, bytes_used, id_table, NONE, inode_table, folder_table, fragment_table, NONE] {
        superblock.extend_from_slice(&field.to_le_bytes());
    }
    image[..SUPERBLOCK_BYTES].copy_from_slice(&superblock);
    Ok(())
}

/// Appends a table in metadata blocks, and after them their places, where the table is said to start.
fn table(image: &mut Vec<u8>, bytes: &[u8]) -> Result<u64> {
    let mut stream = Stream::default();
    stream.write(bytes)?;
    stream.close()?;
    let base = image.len() as u64;
    image.extend_from_slice(&stream.packed);
    let start = image.len() as u64;
    for block in &stream.starts {
        image.extend_from_slice(&(base + block).to_le_bytes());
    }
    Ok(start)
}

impl<'a> Tables<'a> {
    fn new(tree: &'a Tree, plan: &'a Plan, blocks: &'a [Block], time: u32) -> Self {
        let mut children: BTreeMap<&str, Vec<&str>> = BTreeMap::from([("", Vec::new())]);
        let mut numbers = BTreeMap::from([("", 1)]);
        let mut ids = vec![0];
        for (number, (path, entry)) in tree.iter().enumerate() {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
            children.entry(folder).or_default().push(name);
            numbers.insert(path, number as u32 + 2);
            ids.extend([entry.uid, entry.gid]);
        }
        children.values_mut().for_each(|names| names.sort_unstable());
        ids.sort_unstable();
        ids.dedup();
        Self {
            tree,
            plan,
            blocks,
            time,
            children,
            numbers,
            ids,
            inodes: Stream::default(),
            folders: Stream::default(),
        }
    }

    /// Writes what is in a folder, its list, and its inode last: a list points to inodes.
    fn write_folder(&mut self, path: &str) -> Result<Place> {
        let names = self.children.get(path).cloned().unwrap_or_default();
        let mut listed = Vec::new();
        let mut folders = 0;
        for name in names {
            let below = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            let entry = self.tree.get(&below).with_context(|| format!("{below} is not in the tree"))?;
            let (place, kind) = match &entry.kind {
                Kind::Folder => {
                    folders += 1;
                    (self.write_folder(&below)?, FOLDER)
                }
                Kind::File(content) => (self.write_file(&below, entry, content.len())?, FILE),
                Kind::Link(target) => (self.write_link(&below, entry, target)?, LINK),
            };
            listed.push(Listed { name: name.to_owned(), place, number: self.numbers[&*below], kind });
        }
        let list = self.folders.place();
        let bytes =
            self.write_list(&listed).with_context(|| format!("listing the folder /{path}"))? + DOTS_BYTES;
        let parent = match path.rsplit_once('/') {
            Some((parent, _)) => self.numbers[parent],
            None if path.is_empty() => self.numbers.len() as u32 + 1,
            None => self.numbers[""],
        };
        let own = Entry::own(Kind::Folder, 0o755);
        let entry = self.tree.get(path).unwrap_or(&own);
        let links = folders + 2;
        if let Ok(bytes) = u16::try_from(bytes) {
            let mut inode = self.inode(path, entry, FOLDER)?;
            inode.extend_from_slice(&list.block.to_le_bytes());
            inode.extend_from_slice(&u32::to_le_bytes(links));
            inode.extend_from_slice(&bytes.to_le_bytes());
            inode.extend_from_slice(&list.offset.to_le_bytes());
            inode.extend_from_slice(&parent.to_le_bytes());
            return self.put(&inode);
        }
        let mut inode = self.inode(path, entry, LARGE_FOLDER)?;
        for field in [links, bytes as u32, list.block, parent] {
            inode.extend_from_slice(&field.to_le_bytes());
        }
        // No index into the list, and no extended attributes.
        inode.extend_from_slice(&0u16.to_le_bytes());
        inode.extend_from_slice(&list.offset.to_le_bytes());
        inode.extend_from_slice(&u32::MAX.to_le_bytes());
        self.put(&inode)
    }

    /// Writes a folder's list, and gives its bytes. A header stands before each run of entries whose inodes are in one
    /// metadata block and have close numbers.
    fn write_list(&mut self, listed: &[Listed]) -> Result<usize> {
        let mut bytes = Vec::new();
        let mut rest = listed;
        while let Some(first) = rest.first() {
            let fits = |entry: &&Listed| {
                let delta = i64::from(entry.number) - i64::from(first.number);
                entry.place.block == first.place.block && i16::try_from(delta).is_ok()
            };
            let count = rest.iter().take(RUN_LIMIT).take_while(fits).count();
            let (run, later) = rest.split_at(count);
            for field in [count as u32 - 1, first.place.block, first.number] {
                bytes.extend_from_slice(&field.to_le_bytes());
            }
            for entry in run {
                let delta = (i64::from(entry.number) - i64::from(first.number)) as i16;
                ensure!(entry.name.len() <= 256, "the name {} is too long", entry.name);
                bytes.extend_from_slice(&entry.place.offset.to_le_bytes());
                bytes.extend_from_slice(&delta.to_le_bytes());
                bytes.extend_from_slice(&entry.kind.to_le_bytes());
                bytes.extend_from_slice(&(entry.name.len() as u16 - 1).to_le_bytes());
                bytes.extend_from_slice(entry.name.as_bytes());
            }
            rest = later;
        }
        self.folders.write(&bytes)?;
        Ok(bytes.len())
    }

    fn write_file(&mut self, path: &str, entry: &Entry, bytes: usize) -> Result<Place> {
        let layout = self.plan.files.get(path).cloned().unwrap_or_default();
        let own = &self.blocks[layout.blocks];
        let start = own.first().map_or(0, |block| block.start as u32);
        let (fragment, offset) = layout.fragment.unwrap_or((NO_FRAGMENT as usize, 0));
        let mut inode = self.inode(path, entry, FILE)?;
        for field in [start, fragment as u32, offset, bytes as u32] {
            inode.extend_from_slice(&field.to_le_bytes());
        }
        for block in own {
            inode.extend_from_slice(&block.size.to_le_bytes());
        }
        self.put(&inode)
    }

    fn write_link(&mut self, path: &str, entry: &Entry, target: &str) -> Result<Place> {
        let mut inode = self.inode(path, entry, LINK)?;
        inode.extend_from_slice(&1u32.to_le_bytes());
        inode.extend_from_slice(&(target.len() as u32).to_le_bytes());
        inode.extend_from_slice(target.as_bytes());
        self.put(&inode)
    }

    /// What all inodes begin with.
    fn inode(&self, path: &str, entry: &Entry, kind: u16) -> Result<Vec<u8>> {
        let id = |id: u32| self.ids.binary_search(&id).map(|place| place as u16);
        let ids = id(entry.uid).and_then(|user| Ok((user, id(entry.gid)?)));
        let (user, group) = ids.ok().with_context(|| format!("the owner of {path} is not listed"))?;
        let mut inode = Vec::new();
        for field in [kind, entry.mode as u16, user, group] {
            inode.extend_from_slice(&field.to_le_bytes());
        }
        inode.extend_from_slice(&self.time.to_le_bytes());
        inode.extend_from_slice(&self.numbers[path].to_le_bytes());
        Ok(inode)
    }

    fn put(&mut self, inode: &[u8]) -> Result<Place> {
        let place = self.inodes.place();
        self.inodes.write(inode)?;
        Ok(place)
    }
}
