//! What an operator chooses for all nodes or for one: words of the configuration.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a node's root and data lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RootPlace {
    /// On the card; in memory if there is none that can be used, and enough memory.
    #[default]
    Auto,
    /// On the card or nowhere.
    Card,
    /// In memory; a card is not touched.
    Memory,
    /// On the card, as files that were copied out of the image: a root that can be written all over, without layers.
    Copied,
}

impl RootPlace {
    /// The word in the configuration and on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Card => "card",
            Self::Memory => "ram",
            Self::Copied => "copy",
        }
    }
}

/// The text was no place for a root.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no place for a root: write auto, card, ram or copy")]
pub struct InvalidRootPlace;

impl fmt::Display for RootPlace {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str(self.word())
    }
}

impl FromStr for RootPlace {
    type Err = InvalidRootPlace;
    fn from_str(text: &str) -> Result<Self, InvalidRootPlace> {
        let places = [Self::Auto, Self::Card, Self::Memory, Self::Copied];
        places.into_iter().find(|place| place.word() == text).ok_or(InvalidRootPlace)
    }
}

/// When a node's data is wiped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WipePolicy {
    /// At every boot.
    #[default]
    Always,
    /// When its image or its user data is not that of the last boot.
    OnChange,
}

impl WipePolicy {
    /// The word in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::OnChange => "on-change",
        }
    }
}

/// The text was no policy for a node's data.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no policy: write always or on-change")]
pub struct InvalidWipePolicy;

impl fmt::Display for WipePolicy {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str(self.word())
    }
}

impl FromStr for WipePolicy {
    type Err = InvalidWipePolicy;
    fn from_str(text: &str) -> Result<Self, InvalidWipePolicy> {
        let policies = [Self::Always, Self::OnChange];
        policies.into_iter().find(|policy| policy.word() == text).ok_or(InvalidWipePolicy)
    }
}
