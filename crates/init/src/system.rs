//! The phase `system`: the image that the plan names lies on the system slot, and verifies.
//!
//! ```text
//!  trailer names it ──► check the slot ──► right: use it (cards wear out)
//!         │ not               │ wrong
//!         └──────► void the trailer ──► stream from the head ──► check ──► hash tree, trailer
//! ```
//!
//! An initramfs that holds the image takes the head's place. Without a card, or for a root that is copied out of it, the image
//! lies in memory.
//!
//! Where the plan knows the root of the image's hash tree, dm-verity checks each block again when it is read. The check of
//! the whole slot at each boot stays nevertheless: it costs one reading, and whatever dm-verity restarted the node for, in
//! the image or in the tree, is found by it and replaced.

mod check;
mod download;
mod mapper;
mod pipe;
mod source;

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::Phase;
use cluster::plan::RootPlace;
use cluster::slot::{self, TRAILER_BYTES, Trailer};
use cluster::verity::BLOCK_BYTES;

use crate::boot::Boot;
use crate::memory;
use crate::timeline::Timeline;
use check::{Check, Wanted};
use source::{Source, in_initramfs};

/// How often progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(400);

/// Tells how far the phase is, not too often.
pub(crate) struct Progress {
    timeline: Timeline,
    total: u64,
    next: Instant,
}

impl Progress {
    fn new(timeline: &Timeline, total: u64) -> Self {
        Self { timeline: timeline.clone(), total, next: Instant::now() + PROGRESS_INTERVAL }
    }

    fn at(&mut self, done: u64) {
        if Instant::now() >= self.next {
            self.timeline.progress(Phase::System, done, self.total);
            self.next = Instant::now() + PROGRESS_INTERVAL;
        }
    }
}

/// Brings the plan's image onto the slot unless it is there, and has its blocks checked as they are read.
///
/// # Errors
/// The image does not fit, does not verify, cannot be fetched, written or mapped.
pub(crate) fn run(boot: &mut Boot) -> Result<String> {
    let plan = &boot.plan;
    let wanted = Wanted { image: plan.system, bytes: plan.system_bytes, root: plan.verity };
    let card = boot.card.as_ref().filter(|_| plan.root != RootPlace::Copied);
    let Some(card) = card else { return lay_in_memory(boot, &wanted) };
    let device = card.system.clone();
    let trailer_at = card.system_bytes - TRAILER_BYTES;
    let needed = wanted.bytes.checked_add(wanted.tree_bytes());
    ensure!(
        wanted.bytes > 0 && needed.is_some_and(|bytes| bytes <= trailer_at),
        "the system image does not fit the slot"
    );
    ensure!(
        wanted.root.is_none() || wanted.bytes.is_multiple_of(BLOCK_BYTES as u64),
        "the system image is no whole number of blocks, so it cannot have the hash tree that the plan names"
    );
    let slot = open(&device).with_context(|| format!("opening {}", device.display()))?;
    let detail = match find(boot, &slot, &wanted, trailer_at) {
        Some(detail) => detail,
        None => renew(boot, &slot, &wanted, trailer_at)?,
    };
    drop(slot);
    boot.system = Some(match &wanted.root {
        Some(root) => mapper::map(&device, wanted.bytes, root)?,
        None => device,
    });
    Ok(detail)
}

/// Brings the image into memory, unless it came with the initramfs; what lies there needs no further check.
fn lay_in_memory(boot: &mut Boot, wanted: &Wanted) -> Result<String> {
    let mut source = Source::of(boot, wanted);
    let mut progress = Progress::new(&boot.timeline, wanted.bytes);
    if let Source::Initramfs(_) = source {
        take(&mut source, &mut progress, wanted, |_, _| Ok(()))?;
        boot.system = Some(memory::as_device(&in_initramfs())?);
        return Ok("it came with the initramfs".to_owned());
    }
    let path = memory::image_file(wanted.bytes)?;
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .context("making the image's file")?;
    let began = Instant::now();
    fetch(&file, &mut progress, source, wanted)?;
    boot.system = Some(memory::as_device(&path)?);
    Ok(format!("{} into memory", rate(wanted.bytes, began)))
}

/// The image that lies on the slot, if it is the plan's and right to the last bit.
fn find(boot: &Boot, slot: &File, wanted: &Wanted, trailer_at: u64) -> Option<String> {
    let named = read_trailer(slot, trailer_at);
    if !matches!(named, Ok(Some(trailer)) if trailer == trailer_of(wanted)) {
        return None;
    }
    let mut progress = Progress::new(&boot.timeline, wanted.bytes);
    match check_slot(slot, &mut progress, wanted) {
        Ok(()) => Some("already on the card".to_owned()),
        Err(error) => {
            let reason = format!("the image on the card is damaged, fetching it again: {error:#}");
            boot.timeline.failed(Phase::System, &reason);
            None
        }
    }
}

/// Streams the image onto the slot.
fn renew(boot: &Boot, slot: &File, wanted: &Wanted, trailer_at: u64) -> Result<String> {
    // Void first: a node that loses power from here on must not find a trailer over half an image.
    write_block(slot, trailer_at, &slot::void()).context("voiding the slot")?;
    let began = Instant::now();
    let mut progress = Progress::new(&boot.timeline, wanted.bytes);
    let source = Source::of(boot, wanted);
    let tree = fetch(slot, &mut progress, source, wanted)?;
    write_at(slot, wanted.bytes, &tree).context("writing the hash tree")?;
    slot.sync_all().context("writing the image out")?;
    write_block(slot, trailer_at, &trailer_of(wanted).block()).context("marking the slot as good")?;
    Ok(rate(wanted.bytes, began))
}

fn rate(bytes: u64, began: Instant) -> String {
    let mebibytes = bytes as f32 / 1_048_576.0;
    format!("{mebibytes:.1} MiB, {:.1} MiB/s", mebibytes / began.elapsed().as_secs_f32().max(0.001))
}

fn trailer_of(wanted: &Wanted) -> Trailer {
    Trailer { image: wanted.image, bytes: wanted.bytes }
}

/// Opens the slot past the page cache: what is streamed through it would only push out better things.
fn open(device: &Path) -> std::io::Result<File> {
    let options = |flags| File::options().read(true).write(true).custom_flags(flags).open(device);
    options(nix::fcntl::OFlag::O_DIRECT.bits()).or_else(|_| options(0))
}

fn read_trailer(slot: &File, at: u64) -> Result<Option<Trailer>> {
    let mut block = pipe::Block::new();
    let room = &mut block.room()[..TRAILER_BYTES as usize];
    slot.read_exact_at(room, at).context("reading the slot's trailer")?;
    Ok(Trailer::parse(room))
}

/// Writes one block and waits until the card has it.
fn write_block(slot: &File, at: u64, bytes: &[u8]) -> Result<()> {
    write_at(slot, at, bytes)?;
    slot.sync_all()?;
    Ok(())
}

/// Writes bytes to an aligned place.
fn write_at(slot: &File, at: u64, bytes: &[u8]) -> Result<()> {
    let mut block = pipe::Block::new();
    let mut at = at;
    for piece in bytes.chunks(pipe::BLOCK_BYTES) {
        block.room()[..piece.len()].copy_from_slice(piece);
        block.filled(piece.len());
        slot.write_all_at(block.padded(), at)?;
        at += piece.len() as u64;
    }
    Ok(())
}

/// Compares what lies in an aligned place with what should.
fn is_there(slot: &File, at: u64, bytes: &[u8]) -> Result<bool> {
    let mut block = pipe::Block::new();
    let mut at = at;
    for piece in bytes.chunks(pipe::BLOCK_BYTES) {
        let room = &mut block.room()[..piece.len()];
        slot.read_exact_at(room, at)?;
        if room != piece {
            return Ok(false);
        }
        at += piece.len() as u64;
    }
    Ok(true)
}

/// Reads the whole image and its tree.
fn check_slot(slot: &File, progress: &mut Progress, wanted: &Wanted) -> Result<()> {
    let fill = |block: &mut pipe::Block, at: u64| {
        let count = slot.read_at(block.room(), at).context("reading the image on the card")?;
        ensure!(count > 0, "the card ends within the image");
        block.filled(count.min(usize::try_from(wanted.bytes - at)?));
        progress.at(at);
        Ok(())
    };
    let check = pipe::run(wanted.bytes, Check::of(wanted), fill, |_, _| Ok(()))?;
    let tree = check.end(wanted)?;
    let right = is_there(slot, wanted.bytes, &tree).context("reading the hash tree on the card")?;
    ensure!(right, "its hash tree is another");
    Ok(())
}

/// Streams the image onto the slot and returns its hash tree.
fn fetch(slot: &File, progress: &mut Progress, mut source: Source, wanted: &Wanted) -> Result<Vec<u8>> {
    let empty =
        |block: &pipe::Block, at: u64| slot.write_all_at(block.padded(), at).context("writing the image");
    take(&mut source, progress, wanted, empty)
}

/// Takes an image from where it comes to where it goes, and returns its hash tree.
fn take(
    source: &mut Source,
    progress: &mut Progress,
    wanted: &Wanted,
    empty: impl FnMut(&pipe::Block, u64) -> Result<()> + Send,
) -> Result<Vec<u8>> {
    let fill = |block: &mut pipe::Block, at: u64| {
        let room = block.room().len().min(usize::try_from(wanted.bytes - at)?);
        source.fill(&mut block.room()[..room], |done| progress.at(done))?;
        block.filled(room);
        Ok(())
    };
    let tree = pipe::run(wanted.bytes, Check::of(wanted), fill, empty).and_then(|check| check.end(wanted));
    tree.inspect_err(|_| source.distrust())
}

#[cfg(test)]
mod tests;
