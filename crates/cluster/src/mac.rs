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

/// The address blocks of Raspberry Pi Ltd. in the IEEE's public list of 2026-11, each with how many of its leading bits count:
/// eight large ones (MA-L), a medium and a small one (MA-M, MA-S).
const RASPBERRY_PI_BLOCKS: [(u64, u32); 10] = [
    (0xb827_eb00_0000, 24),
    (0xdca6_3200_0000, 24),
    (0xe45f_0100_0000, 24),
    (0x28cd_c100_0000, 24),
    (0xd83a_dd00_0000, 24),
    (0x2ccf_6700_0000, 24),
    (0x88a2_9e00_0000, 24),
    (0x98fe_5400_0000, 24),
    (0xf040_af90_0000, 28),
    (0x8c1f_6434_a000, 36),
];
/// How many bits an address has.
const BITS: u32 = 48;

impl Mac {
    /// Whether the address belongs to a Raspberry Pi's own Ethernet port.
    pub fn is_raspberry_pi(&self) -> bool {
        let [a, b, c, d, e, f] = self.0;
        let address = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        RASPBERRY_PI_BLOCKS.iter().any(|(block, bits)| (address ^ block) >> (BITS - bits) == 0)
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
    fn a_raspberry_pi_is_known_by_as_many_bits_as_its_block_has() {
        for (text, expected) in [
            ("88:a2:9e:00:00:01", true),
            ("98:fe:54:ff:ff:ff", true),
            ("f0:40:af:90:00:00", true),
            ("f0:40:af:9f:ff:ff", true),
            ("f0:40:af:a0:00:00", false),
            ("8c:1f:64:34:a0:00", true),
            ("8c:1f:64:34:af:ff", true),
            ("8c:1f:64:34:b0:00", false),
            ("52:54:00:00:00:01", false),
        ] {
            assert_eq!(text.parse::<Mac>().expect("valid").is_raspberry_pi(), expected, "{text}");
        }
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
