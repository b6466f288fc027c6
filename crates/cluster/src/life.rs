//! A life of a node: what its data partition was made for, and the stamp on it that says so. No IO.
//!
//! A node with the policy `on-change` keeps its data as long as it is told of the same life. The stamp is written once the
//! user data ran to a good end, so data that is only half set up is never kept. The life's number is random and the head
//! makes a new one when a node is forgotten, new, or told to reboot: a card from another node or another cluster, and a node
//! that is to be provisioned anew, are wiped without anything else being asked.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::plan::{InvalidToken, hex};

/// Where the stamp lies, from the root of the data partition.
pub const STAMP_FILE: &str = "fledermaus-life";
/// A node's file that init leaves to the agent when the data was kept: the user data ran in this life already.
pub const KEPT_FILE: &str = "/run/fledermaus/kept";
/// The longest stamp, in bytes.
pub const STAMP_LIMIT: u64 = 1_024;

/// The random number of a life: 128 bits. Written as 32 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LifeNumber(pub [u8; 16]);

impl fmt::Display for LifeNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for LifeNumber {
    type Err = InvalidToken;
    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        hex(text).map(Self).ok_or(InvalidToken)
    }
}

impl TryFrom<String> for LifeNumber {
    type Error = InvalidToken;
    fn try_from(text: String) -> Result<Self, InvalidToken> {
        text.parse()
    }
}

impl From<LifeNumber> for String {
    fn from(number: LifeNumber) -> Self {
        number.to_string()
    }
}

/// What, beside the image, a node's data belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// SHA-256 of the user data as this node gets it.
    pub user_data: Digest,
    /// Which life of the node.
    pub number: LifeNumber,
}

impl Life {
    /// The stamp of data that this life made on this image. Whoever compares it compares the whole text: a stamp with one
    /// flipped bit is that of another life.
    pub fn stamp(&self, system: &Digest) -> String {
        let mut text = String::from("fledermaus life 1\n");
        let _ = write!(text, "image {system}\nuser-data {}\nlife {}\n", self.user_data, self.number);
        text
    }
}

impl fmt::Display for Life {
    /// As the kernel command line has it: `<user data>:<number>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.user_data, self.number)
    }
}

impl FromStr for Life {
    type Err = InvalidToken;
    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let (user_data, number) = text.split_once(':').ok_or(InvalidToken)?;
        Ok(Self { user_data: user_data.parse().map_err(|_| InvalidToken)?, number: number.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_of_one_image_one_user_data_and_one_life() {
        let life = Life { user_data: Digest([1; 32]), number: LifeNumber([2; 16]) };
        let stamp = life.stamp(&Digest([3; 32]));
        assert!(stamp.len() as u64 <= STAMP_LIMIT);
        assert_eq!(life.to_string().parse(), Ok(life));
        let others = [
            life.stamp(&Digest([4; 32])),
            Life { user_data: Digest([4; 32]), ..life }.stamp(&Digest([3; 32])),
            Life { number: LifeNumber([4; 16]), ..life }.stamp(&Digest([3; 32])),
        ];
        assert!(others.iter().all(|other| *other != stamp));
        for bad in ["", "ab:cd", &life.to_string()[1..], &format!("{life}0")] {
            assert!(bad.parse::<Life>().is_err(), "{bad}");
        }
    }
}
