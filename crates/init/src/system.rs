//! The phase `system`: the image that the plan names lies on the system slot, and verifies.
//!
//! ```text
//!  trailer names it ──► hash the slot ──► right: use it (cards wear out)
//!         │ not               │ wrong
//!         └──────► void the trailer ──► stream from the head ──► verify ──► write the trailer
//! ```

mod download;
mod pipe;
mod slot;

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cluster::{Digest, Phase};

use crate::boot::Boot;
use crate::timeline::Timeline;
use download::Download;
use slot::{TRAILER_BYTES, Trailer};

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

/// Brings the plan's image onto the slot unless it is there.
///
/// # Errors
/// The image does not fit, does not verify, cannot be fetched or written.
pub(crate) fn run(boot: &mut Boot) -> Result<String> {
    let wanted = Trailer { image: boot.plan.system, bytes: boot.plan.system_bytes };
    let (card, head) = (boot.card()?, boot.head());
    let trailer_at = card.system_bytes - TRAILER_BYTES;
    ensure!(wanted.bytes > 0 && wanted.bytes <= trailer_at, "the system image does not fit the slot");
    let slot = open(&card.system).with_context(|| format!("opening {}", card.system.display()))?;
    let mut progress = Progress::new(&boot.timeline, wanted.bytes);
    if read_trailer(&slot, trailer_at)? == Some(wanted) {
        if hash_slot(&slot, &mut progress, wanted.bytes)? == wanted.image {
            return Ok("already on the card".to_owned());
        }
        boot.timeline.failed(Phase::System, "the image on the card is damaged, fetching it again");
    }
    // Void first: a node that loses power from here on must not find a trailer over half an image.
    write_block(&slot, trailer_at, &slot::void()).context("voiding the slot")?;
    let began = Instant::now();
    let download = Download::new(head, boot.plan.system_path(), wanted.bytes);
    let digest = fetch(&slot, &mut progress, download, wanted.bytes)?;
    ensure!(digest == wanted.image, "the system image does not verify: it is not what the plan names");
    slot.sync_all().context("writing the image out")?;
    write_block(&slot, trailer_at, &wanted.block()).context("marking the slot as good")?;
    let rate = wanted.bytes as f32 / 1_048_576.0 / began.elapsed().as_secs_f32().max(0.001);
    Ok(format!("{:.1} MiB fetched, {rate:.1} MiB/s", wanted.bytes as f32 / 1_048_576.0))
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
    let mut block = pipe::Block::new();
    block.room()[..bytes.len()].copy_from_slice(bytes);
    block.filled(bytes.len());
    slot.write_all_at(block.padded(), at)?;
    slot.sync_all()?;
    Ok(())
}

fn hash_slot(slot: &File, progress: &mut Progress, bytes: u64) -> Result<Digest> {
    let fill = |block: &mut pipe::Block, at: u64| {
        let count = slot.read_at(block.room(), at).context("reading the image on the card")?;
        ensure!(count > 0, "the card ends within the image");
        block.filled(count.min(usize::try_from(bytes - at)?));
        progress.at(at);
        Ok(())
    };
    pipe::run(bytes, fill, |_, _| Ok(()))
}

fn fetch(slot: &File, progress: &mut Progress, mut download: Download, bytes: u64) -> Result<Digest> {
    let fill = |block: &mut pipe::Block, at: u64| {
        let wanted = block.room().len().min(usize::try_from(bytes - at)?);
        download.fill(&mut block.room()[..wanted], |done| progress.at(done))?;
        block.filled(wanted);
        Ok(())
    };
    pipe::run(bytes, fill, |block, at| slot.write_all_at(block.padded(), at).context("writing the image"))
}

#[cfg(test)]
mod tests;
