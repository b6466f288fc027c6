//! The card of one board: which it is, what a power cut does to it, what lies on it. Files without names: gone when their last
//! user is, whatever ends the lab.

mod journal;
mod kind;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use cluster::Digest;
use cluster::slot::{TRAILER_BYTES, Trailer};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::spec::Spec;
use journal::Journal;
pub use kind::CardKind;

/// What QEMU calls the card's drive.
pub(crate) const DRIVE: &str = "card";
/// Positions in a partition table count these.
const SECTOR_BYTES: u64 = 512;
/// Where the table's second entry, the system slot, says its first sector and how many it has.
const SLOT_ENTRY: u64 = 446 + 16;

/// What to do with a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CardDeed {
    /// Look what is on it.
    Look,
    /// Put another in. The board has to be off.
    Insert(CardKind),
    /// Flip one bit in the middle of the system image.
    Flip,
    /// Pull it out of a running board: from now on the board can neither read nor write it.
    Pull,
}

/// What is on a card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardView {
    /// Which was put in.
    pub kind: CardKind,
    /// What its system slot says.
    pub slot: Slot,
    /// How many of the writes that the node had not flushed the last power cut lost or tore.
    pub lost_writes: usize,
    /// How many bytes the board has written to it since it was switched on, as the emulator counts; absent while it is off.
    #[serde(default)]
    pub written_bytes: Option<u64>,
}

/// What a system slot says, and whether that is true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Slot {
    /// No image is there, or none is claimed to be.
    Void,
    /// The image of that digest, and all of it.
    Whole(Digest),
    /// That image is claimed to be there, but the bytes are others.
    Broken(Digest),
}

/// A board's card.
pub(crate) struct Card {
    directory: PathBuf,
    kind: CardKind,
    /// As the emulator has it; it opens it through the descriptor that it inherits.
    file: File,
    /// For a lab whose cards lose what was not flushed.
    journal: Option<Journal>,
    /// Makes each noisy card, and each loss, another.
    seed: Option<u64>,
    lost_writes: usize,
    /// Bytes per second.
    read: Option<u64>,
    write: Option<u64>,
}

impl Card {
    /// A blank card.
    ///
    /// # Errors
    /// No room for it.
    pub(crate) fn new(spec: &Spec, number: u8) -> anyhow::Result<Self> {
        let seed = spec.torn_writes.map(|seed| seed ^ u64::from(number));
        let mut card = Self {
            directory: spec.cards.clone(),
            kind: CardKind::Blank,
            file: unnamed(&spec.cards)?,
            journal: None,
            seed,
            lost_writes: 0,
            read: spec.throttle.card_read,
            write: spec.throttle.card_write,
        };
        card.insert(CardKind::Blank)?;
        Ok(card)
    }

    /// Puts another in.
    ///
    /// # Errors
    /// No room for it.
    pub(crate) fn insert(&mut self, kind: CardKind) -> anyhow::Result<()> {
        let seed = self.seed.unwrap_or_default();
        let make = || {
            let mut file = unnamed(&self.directory)?;
            kind::write(kind, &mut file, seed)
                .with_context(|| format!("writing a card in {}", self.directory.display()))?;
            anyhow::Ok(file)
        };
        self.file = make()?;
        self.journal = match self.seed {
            Some(seed) => Some(Journal::new(unnamed(&self.directory)?, make()?, seed)),
            None => None,
        };
        (self.kind, self.lost_writes) = (kind, 0);
        self.seed = self.seed.map(|seed| seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        Ok(())
    }

    /// An emulator is about to start.
    ///
    /// # Errors
    /// The disk has a fault.
    pub(crate) fn power_on(&self) -> anyhow::Result<()> {
        self.journal.as_ref().map_or(Ok(()), Journal::begin)
    }

    /// The emulator was killed.
    ///
    /// # Errors
    /// The disk is full.
    pub(crate) fn power_lost(&mut self) -> anyhow::Result<()> {
        if let Some(journal) = &mut self.journal {
            self.lost_writes = journal.power_lost(&self.file)?;
        }
        Ok(())
    }

    /// The card as QEMU's `-drive` has it, less the interface; none for a board without a card. `cache=unsafe` because the
    /// card does not outlive the lab; with a log, flushes are to be in that, but need not reach the host's disk either.
    pub(crate) fn drive(&self) -> Option<String> {
        if self.kind == CardKind::None {
            return None;
        }
        let path = |file: &File| format!("/proc/self/fd/{}", file.as_raw_fd());
        let card = path(&self.file);
        let mut drive = match &self.journal {
            None => format!("id={DRIVE},file={card},format=raw,cache=unsafe"),
            Some(journal) => format!(
                "id={DRIVE},driver=blklogwrites,file.driver=file,file.filename={card},file.cache.no-flush=on,log.driver=file,\
                 log.filename={},log.cache.no-flush=on,cache=writeback",
                path(&journal.log)
            ),
        };
        if self.kind == CardKind::Protected {
            drive += ",readonly=on";
        }
        for (direction, rate) in [("read", self.read), ("write", self.write)] {
            if let Some(rate) = rate {
                drive += &format!(",throttling.bps-{direction}={rate}");
            }
        }
        Some(drive)
    }

    /// Flips one bit in the middle of the system image.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn flip(&self) -> anyhow::Result<()> {
        let (slot, trailer) = self.trailer()?.context("there is no system image on the card")?;
        let at = slot + trailer.bytes / 2;
        let mut byte = [0];
        self.file.read_exact_at(&mut byte, at).context("reading the card")?;
        byte[0] ^= 4;
        let copies = std::iter::once(&self.file).chain(self.journal.as_ref().map(|journal| &journal.medium));
        for copy in copies {
            copy.write_all_at(&byte, at).context("writing the card")?;
        }
        Ok(())
    }

    /// Reads what the slot says, and all of the image.
    ///
    /// # Errors
    /// The disk has a fault.
    pub(crate) fn look(&self) -> anyhow::Result<CardView> {
        let slot = match self.trailer()? {
            None => Slot::Void,
            Some((at, trailer)) if self.sum(at, trailer.bytes)? == trailer.image => {
                Slot::Whole(trailer.image)
            }
            Some((_, trailer)) => Slot::Broken(trailer.image),
        };
        Ok(CardView { kind: self.kind, slot, lost_writes: self.lost_writes, written_bytes: None })
    }

    /// Where the slot begins, and its trailer; none if there is no slot on the card or it is void.
    fn trailer(&self) -> anyhow::Result<Option<(u64, Trailer)>> {
        let end = self.file.metadata().context("looking at the card")?.len();
        let mut entry = [0; 8];
        if end < SECTOR_BYTES {
            return Ok(None);
        }
        self.file.read_exact_at(&mut entry, SLOT_ENTRY + 8).context("reading the card's table")?;
        let word = |bytes: [u8; 4]| u64::from(u32::from_le_bytes(bytes)) * SECTOR_BYTES;
        let [a, b, c, d, e, f, g, h] = entry;
        let (begin, bytes) = (word([a, b, c, d]), word([e, f, g, h]));
        if bytes < TRAILER_BYTES || begin + bytes > end {
            return Ok(None);
        }
        let mut block = vec![0; TRAILER_BYTES as usize];
        self.file
            .read_exact_at(&mut block, begin + bytes - TRAILER_BYTES)
            .context("reading the slot's trailer")?;
        Ok(Trailer::parse(&block).map(|trailer| (begin, trailer)))
    }

    fn sum(&self, at: u64, bytes: u64) -> anyhow::Result<Digest> {
        let mut sum = sha2::Sha256::new();
        let mut file = &self.file;
        file.seek(SeekFrom::Start(at)).context("reading the card")?;
        std::io::copy(&mut file.take(bytes), &mut sum).context("reading the card")?;
        Ok(Digest(sum.finalize().into()))
    }
}

/// A file without a name that emulators inherit.
pub(crate) fn unnamed(directory: &Path) -> anyhow::Result<File> {
    let file = tempfile::tempfile_in(directory)
        .with_context(|| format!("making a card in {} (set TMPDIR to another disk)", directory.display()))?;
    fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty())).context("handing the card on")?;
    Ok(file)
}

impl CardDeed {
    /// Whether the board has to be off for it, or on.
    pub(crate) fn check(self, is_on: bool, name: &str) -> anyhow::Result<()> {
        match self {
            Self::Insert(_) => ensure!(!is_on, "{name} is on: cut its power before you change its card"),
            Self::Pull => ensure!(is_on, "{name} is off: its card can be pulled out while it runs"),
            Self::Look | Self::Flip => {}
        }
        Ok(())
    }
}
