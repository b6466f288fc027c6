//! A node's name: its host name, and what people type.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Mac;

/// A node's name: a DNS label (RFC 1123 section 2.1) of 1 to 63 lower-case letters, digits and inner dashes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

/// The text cannot be a node's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` cannot name a node: use 1 to 63 lower-case letters, digits and inner dashes")]
pub struct InvalidName(String);

impl NodeName {
    /// The name of a node that nobody has named yet: `pi-` and the last three bytes of its address.
    pub fn from_mac(mac: Mac) -> Self {
        let [.., a, b, c] = mac.0;
        Self(format!("pi-{a:02x}{b:02x}{c:02x}"))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = (1..=63).contains(&text.len()) && text.bytes().all(inner);
        if !fits || text.starts_with('-') || text.ends_with('-') {
            return Err(InvalidName(text.chars().take(80).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for NodeName {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> Self {
        name.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_dns_label() {
        for good in ["node1", "a", "pi-00ff12", &"x".repeat(63)] {
            assert!(good.parse::<NodeName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a b", "a\n", &"x".repeat(64), "$(reboot)"] {
            assert!(bad.parse::<NodeName>().is_err(), "{bad}");
        }
    }
}
