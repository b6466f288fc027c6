//! A hardware address: the key by which the head knows a node.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An Ethernet address (EUI-48). Written in lower case with colons.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

/// The text was not an Ethernet address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not an Ethernet address: expected six pairs of hex digits such as b8:27:eb:01:02:03")]
pub struct InvalidMac(String);

/// The address blocks that Raspberry Pi Ltd. has registered with the IEEE.
const RASPBERRY_PI_OUIS: [[u8; 3]; 6] = [
    [0xb8, 0x27, 0xeb],
    [0xdc, 0xa6, 0x32],
    [0xe4, 0x5f, 0x01],
    [0x28, 0xcd, 0xc1],
    [0xd8, 0x3a, 0xdd],
    [0x2c, 0xcf, 0x67],
];

impl Mac {
    /// Whether the address belongs to a Raspberry Pi's own Ethernet port.
    pub fn is_raspberry_pi(&self) -> bool {
        RASPBERRY_PI_OUIS.contains(&[self.0[0], self.0[1], self.0[2]])
    }

    /// The form with dashes that U-Boot and PXELINUX put into file names: `b8-27-eb-01-02-03`.
    pub fn dashed(&self) -> String {
        self.to_string().replace(':', "-")
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = InvalidMac;

    /// Accepts colons or dashes, either case.
    fn from_str(text: &str) -> Result<Self, InvalidMac> {
        let invalid = || InvalidMac(text.chars().take(40).collect());
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().ok_or_else(invalid)?;
            if part.len() != 2 || !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(invalid());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| invalid())?;
        }
        if parts.next().is_some() { Err(invalid()) } else { Ok(Self(bytes)) }
    }
}

impl TryFrom<String> for Mac {
    type Error = InvalidMac;
    fn try_from(text: String) -> Result<Self, InvalidMac> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_colons_dashes_and_either_case() {
        let mac: Mac = "B8-27-eb:01:02:Ff".parse().expect("valid");
        assert_eq!(mac.to_string(), "b8:27:eb:01:02:ff");
        assert_eq!(mac.dashed(), "b8-27-eb-01-02-ff");
        assert!(mac.is_raspberry_pi());
    }

    #[test]
    fn refuses_what_is_not_an_address() {
        for text in
            ["", "b8:27:eb:01:02", "b8:27:eb:01:02:03:04", "b8:27:eb:01:02:+3", "b8:27:eb:1:2:3", "é:27"]
        {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }
}
