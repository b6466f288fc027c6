//! The partition table of a card (MBR): reads it, and says how it has to look. Writes nothing.

use cluster::plan::Keep;

/// All positions and sizes count these.
pub(super) const SECTOR_BYTES: u64 = 512;
/// The size of the system slot: 512 MiB.
pub(super) const SYSTEM_SECTORS: u64 = 512 * SECTORS_PER_MIB;
/// The least that is left for data: 256 MiB.
const DATA_SECTORS_MIN: u64 = 256 * SECTORS_PER_MIB;
const SECTORS_PER_MIB: u64 = 2_048;

const FIRST_ENTRY: usize = 446;
const ENTRY_BYTES: usize = 16;
const SIGNATURE: [u8; 2] = [0x55, 0xaa];
/// Partition types: Linux, and the one with which a GPT protects itself.
const LINUX: u8 = 0x83;
const GPT_PROTECTION: u8 = 0xee;
/// Cylinder, head and sector "beyond what can be said": only LBA counts.
const NO_CHS: [u8; 3] = [0xfe, 0xff, 0xff];

/// A disk's first sector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table([u8; SECTOR_BYTES as usize]);

impl Table {
    /// A first sector; may be no partition table at all.
    pub(super) fn new(sector: [u8; SECTOR_BYTES as usize]) -> Self {
        Self(sector)
    }

    /// The sector as it lies on the disk.
    pub(super) fn sector(&self) -> &[u8] {
        &self.0
    }

    /// First sector of the first partition; `None` if this is no table, a GPT, or there is none.
    pub(super) fn first_start(&self) -> Option<u64> {
        let kind = self.entry(0)[4];
        let valid = self.0[510..] == SIGNATURE && kind != 0 && kind != GPT_PROTECTION;
        let (start, length) = self.extent(0);
        (valid && start > 0 && length > 0).then_some(start)
    }

    /// The table as a card of `total` sectors has to have it: the first partition and the boot code
    /// stay, the system slot and the data follow; behind them lies the fourth, where something is to be kept. One that
    /// is there already stays as it is, of whatever size: moving its ends would cost what is in it.
    ///
    /// # Errors
    /// There is no first partition, or the card is too small; in a sentence.
    pub(super) fn completed(&self, total: u64, keep: Keep) -> Result<Self, String> {
        if self.first_start().is_none() {
            return Err("the card has no first partition".to_owned());
        }
        let (start, length) = self.extent(0);
        let system = (start + length).next_multiple_of(SECTORS_PER_MIB);
        let data = system + SYSTEM_SECTORS;
        // The format counts in 32 bits: what lies beyond 2 TiB stays unused.
        let end = total.min(u64::from(u32::MAX)) / SECTORS_PER_MIB * SECTORS_PER_MIB;
        let mut table = self.clone();
        let kept = u64::from(keep.mib()) * SECTORS_PER_MIB;
        let data_end = if kept == 0 {
            table.entry_mut(3).fill(0);
            end
        } else if let Some(begin) = self.kept_start(data + DATA_SECTORS_MIN, end) {
            begin
        } else {
            table.set(3, end.saturating_sub(kept), kept);
            end.saturating_sub(kept)
        };
        if data_end < data + DATA_SECTORS_MIN {
            let needed = (data + DATA_SECTORS_MIN + kept).div_ceil(SECTORS_PER_MIB);
            let why = if kept == 0 { String::new() } else { format!(" to keep {keep}") };
            return Err(format!("the card is too small: it needs {needed} MiB{why}"));
        }
        table.set(1, system, SYSTEM_SECTORS);
        table.set(2, data, data_end - data);
        Ok(table)
    }

    /// First sector of the fourth partition; `None` if there is none.
    pub(super) fn fourth_start(&self) -> Option<u64> {
        let (start, length) = self.extent(3);
        (start > 0 && length > 0).then_some(start)
    }

    /// Where the fourth partition begins, if there is one of ours that lies where it can.
    fn kept_start(&self, least: u64, end: u64) -> Option<u64> {
        let (start, length) = self.extent(3);
        let is_ours = self.entry(3)[4] == LINUX && length > 0;
        (is_ours && start >= least && start + length <= end).then_some(start)
    }

    fn extent(&self, index: usize) -> (u64, u64) {
        let entry = self.entry(index);
        let word = |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
        (u64::from(word(8)), u64::from(word(12)))
    }

    fn set(&mut self, index: usize, start: u64, length: u64) {
        let entry = self.entry_mut(index);
        entry[0] = 0;
        entry[1..4].copy_from_slice(&NO_CHS);
        entry[4] = LINUX;
        entry[5..8].copy_from_slice(&NO_CHS);
        entry[8..12].copy_from_slice(&(start as u32).to_le_bytes());
        entry[12..].copy_from_slice(&(length as u32).to_le_bytes());
    }

    fn entry(&self, index: usize) -> &[u8] {
        &self.0[FIRST_ENTRY + index * ENTRY_BYTES..][..ENTRY_BYTES]
    }

    fn entry_mut(&mut self, index: usize) -> &mut [u8] {
        &mut self.0[FIRST_ENTRY + index * ENTRY_BYTES..][..ENTRY_BYTES]
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A table as a new card has it: only the first partition.
    pub(in super::super) fn only_first(start: u64, length: u64) -> Table {
        let mut table = Table([0; SECTOR_BYTES as usize]);
        table.set(0, start, length);
        table.entry_mut(0)[4] = 0x0c;
        table.0[510..].copy_from_slice(&SIGNATURE);
        table
    }

    const FOUR_GIB: u64 = 8_388_608;

    #[test]
    fn a_new_card_is_completed_and_a_complete_one_is_left_alone() {
        let new = only_first(2_048, 131_072);
        let complete = new.completed(FOUR_GIB, Keep::NOTHING).expect("large enough");
        assert_eq!(complete.extent(0), (2_048, 131_072));
        assert_eq!(complete.extent(1), (133_120, SYSTEM_SECTORS));
        assert_eq!(complete.extent(2), (133_120 + SYSTEM_SECTORS, FOUR_GIB - 133_120 - SYSTEM_SECTORS));
        assert_eq!(complete.completed(FOUR_GIB, Keep::NOTHING).as_ref(), Ok(&complete));
    }

    #[test]
    fn a_crooked_first_partition_is_followed_on_the_next_mebibyte() {
        let complete = only_first(63, 100_000).completed(FOUR_GIB, Keep::NOTHING).expect("large enough");
        assert_eq!(complete.extent(1).0, 100_352);
    }

    #[test]
    fn other_partitions_are_replaced_and_the_boot_code_stays() {
        let mut odd = only_first(2_048, 131_072);
        odd.0[..4].copy_from_slice(b"boot");
        odd.set(3, 5, 6);
        let complete = odd.completed(FOUR_GIB, Keep::NOTHING).expect("large enough");
        assert_eq!(&complete.0[..4], b"boot");
        assert_eq!(complete.extent(3), (0, 0));
    }

    #[test]
    fn small_cards_huge_cards_and_other_disks() {
        let new = only_first(2_048, 131_072);
        assert!(new.completed(1_000_000, Keep::NOTHING).expect_err("too small").contains("833 MiB"));
        let huge = new.completed(1 << 40, Keep::NOTHING).expect("only its start is used");
        assert!(huge.extent(2).0 + huge.extent(2).1 <= u64::from(u32::MAX));
        let mut gpt = new.clone();
        gpt.entry_mut(0)[4] = GPT_PROTECTION;
        assert_eq!(gpt.first_start(), None);
        assert!(Table([0; 512]).completed(FOUR_GIB, Keep::NOTHING).is_err());
        assert!(
            only_first(u64::from(u32::MAX), u64::from(u32::MAX)).completed(FOUR_GIB, Keep::NOTHING).is_err()
        );
    }

    #[test]
    fn what_is_kept_lies_behind_the_data_and_stays_where_it_is_until_nothing_is_to_be_kept() {
        let keep = |text: &str| text.parse::<Keep>().expect("a size");
        let complete = only_first(2_048, 131_072).completed(FOUR_GIB, Keep::NOTHING).expect("large enough");
        let keeping = complete.completed(FOUR_GIB, keep("1G")).expect("large enough");
        let begin = FOUR_GIB - 1_024 * SECTORS_PER_MIB;
        assert_eq!(keeping.extent(3), (begin, 1_024 * SECTORS_PER_MIB));
        assert_eq!(keeping.extent(2).0 + keeping.extent(2).1, begin);
        assert_eq!(keeping.extent(1), complete.extent(1));
        for other in ["1G", "512M", "900G"] {
            assert_eq!(keeping.completed(FOUR_GIB, keep(other)).as_ref(), Ok(&keeping), "{other}");
        }
        assert_eq!(keeping.completed(FOUR_GIB, Keep::NOTHING), Ok(complete));
        // One that reaches into the system slot, or behind the card's end, is not ours.
        for (start, length) in [(200_000, 4_096), (begin, 1_025 * SECTORS_PER_MIB)] {
            let mut odd = keeping.clone();
            odd.set(3, start, length);
            assert_eq!(odd.completed(FOUR_GIB, keep("1G")).as_ref(), Ok(&keeping));
        }
        let small = keeping.completed(1_000_000, keep("8G")).expect_err("too small");
        assert!(small.contains("it needs 9025 MiB to keep 8G"), "{small}");
    }
}
