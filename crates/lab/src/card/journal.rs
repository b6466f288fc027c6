//! What a card loses when its power is cut: writes that it was not told to flush.
//!
//! QEMU and the host keep every write, in their order, so that pulling an emulated plug would never tear anything. A lab that
//! wants it has QEMU log the writes of a card (its block driver `blklogwrites`; the format is that of Linux' dm-log-writes,
//! Documentation/admin-guide/device-mapper/log-writes.rst), and keeps the card twice: as the emulator has it, and as it lies on
//! the medium. After a power cut what was flushed is on the medium, and of the rest what chance leaves.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, ensure};

/// The first eight bytes of a log, as a number.
const MAGIC: u64 = 0x006a_7366_7773_6872;
/// The unit of all positions; QEMU's default.
const SECTOR_BYTES: u64 = 512;
/// The longest write that is taken for one, in bytes.
const WRITE_LIMIT: u64 = 64 << 20;

/// Flags of an entry.
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// A card's log and its medium.
pub(super) struct Journal {
    /// What QEMU writes its log to.
    pub(super) log: File,
    /// The card as it would be found.
    pub(super) medium: File,
    chance: fastrand::Rng,
}

/// One logged write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    /// Where its bytes go on the card.
    at: u64,
    /// Its length in bytes.
    bytes: u64,
    /// Where its bytes lie in the log.
    data_at: u64,
    flags: u64,
}

impl Journal {
    /// A journal of a new card, of which `medium` is the second copy. What is lost follows from `seed`.
    pub(super) fn new(log: File, medium: File, seed: u64) -> Self {
        Self { log, medium, chance: fastrand::Rng::with_seed(seed) }
    }

    /// Forgets what was logged: a new emulator begins.
    ///
    /// # Errors
    /// The log cannot be cut.
    pub(super) fn begin(&self) -> anyhow::Result<()> {
        self.log.set_len(0).context("emptying the card's log")
    }

    /// The power is gone: brings the medium to what the card kept, and the emulator's copy to the medium. Returns how many
    /// writes were lost, or torn.
    ///
    /// # Errors
    /// The log is not what QEMU writes, or the disk is full.
    pub(super) fn power_lost(&mut self, card: &File) -> anyhow::Result<usize> {
        let entries = read(&self.log)?;
        let flushed = entries.iter().rposition(|entry| entry.flags & FLUSH != 0).map_or(0, |last| last + 1);
        let mut lost = 0;
        for (index, entry) in entries.iter().enumerate() {
            let is_safe = index < flushed || entry.flags & FUA != 0;
            let kept = if is_safe { entry.bytes } else { self.kept(entry.bytes) };
            lost += usize::from(kept < entry.bytes);
            copy(&self.log, entry.data_at, &self.medium, entry.at, kept)?;
        }
        entries.iter().try_for_each(|entry| copy(&self.medium, entry.at, card, entry.at, entry.bytes))?;
        self.begin()?;
        Ok(lost)
    }

    /// How much a card keeps of a write that nobody flushed: all, nothing, or the first sectors.
    fn kept(&mut self, bytes: u64) -> u64 {
        match self.chance.u8(..4) {
            0 | 1 => bytes,
            2 => self.chance.u64(..=bytes / SECTOR_BYTES) * SECTOR_BYTES,
            _ => 0,
        }
    }
}

/// The writes of a log, up to where the emulator was killed.
fn read(log: &File) -> anyhow::Result<Vec<Entry>> {
    let end = log.metadata().context("looking at the card's log")?.len();
    let mut entries = Vec::new();
    if end < SECTOR_BYTES {
        // Nothing was written.
        return Ok(entries);
    }
    let first = words(log, 0)?;
    // QEMU writes it with the first flush.
    ensure!(
        [0, MAGIC].contains(&first[0]),
        "the card's log begins with {:#x}, not as of dm-log-writes",
        first[0]
    );
    let mut at = SECTOR_BYTES;
    while at + SECTOR_BYTES <= end {
        let [sector, sectors, flags, _] = words(log, at)?;
        let bytes = if flags & DISCARD == 0 { sectors.saturating_mul(SECTOR_BYTES) } else { 0 };
        let data_at = at + SECTOR_BYTES;
        // A write that was under way when the emulator was killed: a hole, or cut off.
        if (sectors, flags) == (0, 0) || bytes > WRITE_LIMIT || data_at + bytes > end {
            break;
        }
        entries.push(Entry { at: sector.saturating_mul(SECTOR_BYTES), bytes, data_at, flags });
        at = data_at + bytes;
    }
    Ok(entries)
}

fn words(log: &File, at: u64) -> anyhow::Result<[u64; 4]> {
    let mut bytes = [0; 32];
    log.read_exact_at(&mut bytes, at).context("reading the card's log")?;
    let word = |index: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[index * 8..index * 8 + 8]);
        u64::from_le_bytes(word)
    };
    Ok([word(0), word(1), word(2), word(3)])
}

fn copy(from: &File, at: u64, to: &File, to_at: u64, bytes: u64) -> anyhow::Result<()> {
    let mut piece = vec![0; usize::try_from(bytes.min(1 << 20))?];
    let mut done = 0;
    while done < bytes {
        let length = piece.len().min(usize::try_from(bytes - done)?);
        from.read_exact_at(&mut piece[..length], at + done).context("reading a card's copy")?;
        to.write_all_at(&piece[..length], to_at + done).context("writing a card's copy")?;
        done += length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log as QEMU writes it: each write is its first sector, its bytes, its flags.
    fn log(writes: &[(u64, &[u8], u64)]) -> File {
        let mut bytes = [MAGIC.to_le_bytes(), 1_u64.to_le_bytes()].concat();
        bytes.resize(512, 0);
        for (sector, data, flags) in writes {
            let sectors = (data.len() / 512) as u64;
            let begin = bytes.len();
            for word in [*sector, sectors, *flags, 0] {
                bytes.extend(word.to_le_bytes());
            }
            bytes.resize(begin + 512, 0);
            bytes.extend_from_slice(data);
        }
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        file
    }

    fn card(bytes: u64) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(bytes).unwrap();
        file
    }

    fn sector(file: &File, number: u64) -> u8 {
        let mut bytes = [0; 512];
        file.read_exact_at(&mut bytes, number * 512).unwrap();
        assert!(bytes.iter().all(|byte| *byte == bytes[0]), "a sector is whole or not at all");
        bytes[0]
    }

    #[test]
    fn what_was_flushed_stays_and_of_the_rest_some_goes() {
        let flushed = (0..8).map(|number| (number, &[1; 512][..], 0));
        let unsafe_writes = (8..40).map(|number| (number, &[2; 512][..], 0));
        let forced = [(40, &[3; 512][..], FUA)];
        let writes: Vec<_> =
            flushed.chain([(0, &[][..], FLUSH)]).chain(unsafe_writes).chain(forced).collect();
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..8 {
            let (emulator, medium) = (card(41 * 512), card(41 * 512));
            (0..41).for_each(|number| emulator.write_all_at(&[9; 512], number * 512).unwrap());
            let mut journal = Journal::new(log(&writes), medium, seed);
            let lost = journal.power_lost(&emulator).unwrap();
            assert!((0..8).all(|number| sector(&emulator, number) == 1));
            assert_eq!(sector(&emulator, 40), 3);
            let gone = (8..40).filter(|number| sector(&emulator, *number) == 0).count();
            assert_eq!(gone, lost);
            assert!((1..32).contains(&gone), "{gone} of 32");
            seen.insert(gone);
            assert!((0..41).all(|number| sector(&emulator, number) == sector(&journal.medium, number)));
        }
        assert!(seen.len() > 1, "chance, not a rule");
    }

    #[test]
    fn a_long_write_can_be_torn_between_sectors() {
        let long = [5; 64 * 512];
        let torn = (0..64).filter(|seed| {
            let (emulator, medium) = (card(64 * 512), card(64 * 512));
            Journal::new(log(&[(0, &long, 0)]), medium, *seed).power_lost(&emulator).unwrap();
            sector(&emulator, 0) == 5 && sector(&emulator, 63) == 0
        });
        assert!(torn.count() > 0);
    }

    #[test]
    fn a_log_that_ends_in_a_write_is_read_up_to_it() {
        let whole = log(&[(3, &[1; 512], 0), (4, &[2; 1024], 0)]);
        assert_eq!(read(&whole).unwrap().len(), 2);
        whole.set_len(512 * 5).unwrap();
        assert_eq!(read(&whole).unwrap(), [Entry { at: 1_536, bytes: 512, data_at: 1_024, flags: 0 }]);
        whole.set_len(0).unwrap();
        assert_eq!(read(&whole).unwrap(), []);
        whole.write_all_at(&[7; 512], 0).unwrap();
        assert!(read(&whole).is_err(), "no log");
    }
}
