//! When a block is sent again: boot loaders differ in what they bear.

use crate::dhcp::Profile;

/// How often one thing is sent again by the timer before the client is given up.
const STEADY_RETRIES: u32 = 8;
const QUICK_RETRIES: u32 = 20;
/// When the Pi's EEPROM gives a file up, in milliseconds (`TFTP_FILE_TIMEOUT`).
const EEPROM_FILE_LIMIT_MS: u64 = 30_000;
/// How long a client is waited for that gets nothing twice: longer than it can wait.
const SILENT_MS: u64 = EEPROM_FILE_LIMIT_MS + 5_000;

/// A way of sending again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// After 1 s, then more and more seldom, for 40 s in all. For whoever repeats its own packets too, as RFC 1350 has
    /// it; U-Boot's own stack does after 5 s (net/tftp.c).
    #[default]
    Steady,
    /// Every 400 ms, for 8 s in all. U-Boot with lwIP acknowledges once and ends the transfer after a second without a
    /// block (lwip/src/apps/tftp/tftp.c, `tftp_tmr`; U-Boot, net/lwip/tftp.c); a Pi 3's `bootcode.bin` goes on to the
    /// next file after a second (raspberrypi/firmware#1025).
    Quick,
    /// Never by itself. The Pi 4's `start4.elf` counts a block that comes twice as the next one, and hangs
    /// (raspberrypi/firmware#1631): only what the client asks for again is sent again.
    OnRequest,
}

impl Pace {
    /// What is known of a client from its DHCP request.
    pub fn of(profile: Profile) -> Self {
        match profile {
            Profile::UBootLwip | Profile::PiRom => Self::Quick,
            Profile::PiEeprom => Self::OnRequest,
            _ => Self::Steady,
        }
    }

    /// How long a whole file may take, in milliseconds, before the client gives it up and starts over; `None` if it bears any
    /// time. Known of the Pi 4's EEPROM alone.
    pub fn file_limit_ms(self) -> Option<u64> {
        (self == Self::OnRequest).then_some(EEPROM_FILE_LIMIT_MS)
    }

    /// How long an answer is awaited after so many repetitions, in milliseconds; `None` gives the client up.
    pub(super) fn patience_ms(self, retries: u32) -> Option<u64> {
        match self {
            Self::Steady if retries <= STEADY_RETRIES => Some((1_000 << (retries / 2)).min(8_000)),
            Self::Quick if retries <= QUICK_RETRIES => Some(400),
            Self::OnRequest if retries == 0 => Some(SILENT_MS),
            _ => None,
        }
    }
}
