//! How much of a node's card no wipe reaches: the word of the configuration and of the kernel command line.

use std::fmt;
use std::str::FromStr;

/// The size of the partition that is kept, in MiB; 0 for none, which is the default: then nothing of a node's last life can be
/// read. Written as `512M`, `8G` or `none`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    mib: u32,
}

/// The text was no such size.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no size that can be kept: write none, or 64M to 1024G, as in 512M or 8G")]
pub struct InvalidKeep;

const MIB_PER_GIB: u32 = 1_024;

impl Keep {
    /// Nothing is kept.
    pub const NOTHING: Self = Self { mib: 0 };
    /// What an ext4 with its journal needs, and what a partition table can say beside the rest of the card.
    const MIB_MIN: u32 = 64;
    const MIB_MAX: u32 = 1_024 * MIB_PER_GIB;

    /// The size in MiB.
    pub fn mib(self) -> u32 {
        self.mib
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mib {
            0 => f.write_str("none"),
            mib if mib % MIB_PER_GIB == 0 => write!(f, "{}G", mib / MIB_PER_GIB),
            mib => write!(f, "{mib}M"),
        }
    }
}

impl FromStr for Keep {
    type Err = InvalidKeep;
    fn from_str(text: &str) -> Result<Self, InvalidKeep> {
        if text == "none" {
            return Ok(Self::NOTHING);
        }
        let (digits, unit) = match (text.strip_suffix('M'), text.strip_suffix('G')) {
            (Some(digits), _) => (digits, 1),
            (_, Some(digits)) => (digits, MIB_PER_GIB),
            _ => return Err(InvalidKeep),
        };
        // `parse` would take a sign, too.
        let number = Some(digits).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()));
        let mib = number.and_then(|digits| digits.parse::<u32>().ok()?.checked_mul(unit));
        let fits = |mib: &u32| (Self::MIB_MIN..=Self::MIB_MAX).contains(mib);
        mib.filter(fits).map(|mib| Self { mib }).ok_or(InvalidKeep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        for (text, mib, written) in [
            ("none", 0, "none"),
            ("512M", 512, "512M"),
            ("2048M", 2_048, "2G"),
            ("8G", 8_192, "8G"),
            ("1024G", 1_048_576, "1024G"),
        ] {
            let keep: Keep = text.parse().expect(text);
            assert_eq!((keep.mib(), keep.to_string().as_str()), (mib, written));
            assert_eq!(keep.to_string().parse(), Ok(keep));
        }
        for wrong in ["", "0", "0M", "63M", "8", "8GB", "+8G", "-8G", "8 G", "1025G", "4194305G", "8g", "G"] {
            assert_eq!(wrong.parse::<Keep>(), Err(InvalidKeep), "{wrong}");
        }
    }
}
