//! Who speaks DHCP, and what each kind of client needs that the standard does not say.

use cluster::Mac;

/// A kind of client, told by what it sends. Only for what a reply must say differently and when it leaves: a node is
/// known by its hardware address alone, since U-Boot's newer network stack names no class at all.
///
/// Each variant names its source. "Class" is option 60, "architecture" option 93 (RFC 4578 section 2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// The boot ROM of a Raspberry Pi 3 or older: class `PXEClient:Arch:00000:UNDI:002001` from one of its hardware
    /// addresses (`b8:27:eb`). Asks five times, 5 s apart, then never again until its power is cut. Never sends a
    /// REQUEST: the OFFER is its ACK. Does not go on without option 43. Can lock up when it is answered within a
    /// second (raspberrypi/firmware issues 764, 934).
    PiRom,
    /// The boot loader in the EEPROM of a Raspberry Pi 4 or 5: the ROM's class, but another hardware address, or a
    /// client machine identifier (option 97) that begins with `RPi` (Raspberry Pi documentation, `DHCP_OPTION97`). Its
    /// REQUEST names no class. Ignores option 67.
    PiEeprom,
    /// U-Boot's own network stack: class `U-Boot.armv8` and the like (U-Boot, net/bootp.c). Takes the first OFFER, uses
    /// `siaddr`, ignores option 66 and NAK. First asks again after 250 ms.
    UBoot,
    /// U-Boot with lwIP: no class; asks for the options 1, 3 and 28 first, in this order (lwIP, core/ipv4/dhcp.c).
    UBootLwip,
    /// iPXE: user class (option 77) `iPXE`, or its own option 175 (iPXE, core/dhcppkt and net/udp/dhcp.c). Fetches a
    /// script or a program, by TFTP or HTTP.
    Ipxe,
    /// A PC's BIOS (architecture 0) that is no Raspberry Pi.
    Bios,
    /// UEFI PXE on x86-64 (architecture 7 or 9; the two were confused, RFC 4578 errata).
    UefiX64,
    /// UEFI PXE on arm64 (architecture 11).
    UefiArm64,
    /// UEFI HTTP boot on x86-64 (class `HTTPClient`, architecture 16; UEFI specification, section 24.7).
    HttpX64,
    /// UEFI HTTP boot on arm64 (class `HTTPClient`, architecture 19).
    HttpArm64,
    /// An operating system, or a boot loader that says nothing.
    System,
}

/// What of a packet tells its profile.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks<'a> {
    /// Option 60.
    pub(super) class: &'a [u8],
    /// Option 77.
    pub(super) user_class: &'a [u8],
    /// Option 93.
    pub(super) architecture: &'a [u8],
    /// Option 97.
    pub(super) machine: &'a [u8],
    /// Option 55.
    pub(super) wanted: &'a [u8],
    /// Whether option 175 is there.
    pub(super) has_ipxe_options: bool,
}

/// The hardware addresses of the Raspberry Pi 3 and older ones.
const ROM_ADDRESSES: [u8; 3] = [0xb8, 0x27, 0xeb];
/// What lwIP asks for.
const LWIP_WANTS: &[u8] = &[1, 3, 28];

impl Profile {
    /// Tells who speaks.
    pub(super) fn of(mac: Mac, marks: &Marks) -> Self {
        let Marks { class, user_class, architecture, machine, wanted, has_ipxe_options } = *marks;
        // The class repeats the architecture in digits; some clients send but one of the two.
        let architecture = match architecture {
            [high, low, ..] => Some(u16::from_be_bytes([*high, *low])),
            _ => class.split(|byte| *byte == b':').nth(2).and_then(number),
        };
        if has_ipxe_options || user_class.windows(4).any(|window| window == b"iPXE") {
            return Self::Ipxe;
        }
        if class.starts_with(b"HTTPClient") {
            return if architecture == Some(19) { Self::HttpArm64 } else { Self::HttpX64 };
        }
        if class.starts_with(b"PXEClient") {
            // The type byte of the identifier, then the board's name.
            let names_itself = machine.get(1..).is_some_and(|rest| rest.starts_with(b"RPi"));
            return match architecture {
                _ if names_itself => Self::PiEeprom,
                Some(11) => Self::UefiArm64,
                Some(7 | 9) => Self::UefiX64,
                _ if mac.0.starts_with(&ROM_ADDRESSES) => Self::PiRom,
                _ if mac.is_raspberry_pi() => Self::PiEeprom,
                _ => Self::Bios,
            };
        }
        if class.starts_with(b"U-Boot") {
            return Self::UBoot;
        }
        if class.is_empty() && wanted.starts_with(LWIP_WANTS) { Self::UBootLwip } else { Self::System }
    }

    /// Whether it is firmware of a Raspberry Pi that looks for "Raspberry Pi Boot" in option 43.
    pub(super) fn is_pi_firmware(self) -> bool {
        matches!(self, Self::PiRom | Self::PiEeprom)
    }

    /// Whether it speaks PXE, so that a server beside another one's DHCP can talk to it (PXE specification 2.1).
    pub(super) fn speaks_pxe(self) -> bool {
        match self {
            Self::PiRom | Self::PiEeprom | Self::Ipxe | Self::Bios | Self::UefiX64 | Self::UefiArm64 => true,
            Self::HttpX64 | Self::HttpArm64 => true,
            Self::UBoot | Self::UBootLwip | Self::System => false,
        }
    }

    /// Whether an OFFER is all that it waits for.
    pub(super) fn takes_offer_for_ack(self) -> bool {
        self == Self::PiRom
    }
}

/// The number of `PXEClient:Arch:00007:UNDI:003016` between its colons.
fn number(digits: &[u8]) -> Option<u16> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PI_3: Mac = Mac([0xb8, 0x27, 0xeb, 1, 2, 3]);
    const PI_4: Mac = Mac([0xdc, 0xa6, 0x32, 1, 2, 3]);
    const PC: Mac = Mac([0x52, 0x54, 0, 1, 2, 3]);
    const ROM: Marks = Marks {
        class: b"PXEClient:Arch:00000:UNDI:002001",
        user_class: b"",
        architecture: &[0, 0],
        machine: b"",
        wanted: b"",
        has_ipxe_options: false,
    };

    #[test]
    fn each_kind_is_told_by_what_it_sends() {
        let marks = |class, architecture| Marks { class, architecture, ..Marks::default() };
        let told = [
            (PI_3, ROM, Profile::PiRom),
            (PI_4, ROM, Profile::PiEeprom),
            // A Pi 4 with a hardware address of the old range names its board.
            (PI_3, Marks { machine: b"\0RPi4\x11\x31\xc0\0", ..ROM }, Profile::PiEeprom),
            (PC, ROM, Profile::Bios),
            (PC, Marks { user_class: b"\x04iPXE", ..ROM }, Profile::Ipxe),
            (PI_4, Marks { has_ipxe_options: true, ..ROM }, Profile::Ipxe),
            (PC, marks(b"PXEClient:Arch:00007:UNDI:003016", &[0, 7]), Profile::UefiX64),
            (PC, marks(b"PXEClient:Arch:00011:UNDI:003016", &[]), Profile::UefiArm64),
            (PC, marks(b"HTTPClient:Arch:00016:UNDI:003001", &[0, 16]), Profile::HttpX64),
            (PC, marks(b"HTTPClient:Arch:00019:UNDI:003001", &[]), Profile::HttpArm64),
            (PI_3, marks(b"U-Boot.armv8", &[0, 0x16]), Profile::UBoot),
            (PI_3, Marks { wanted: LWIP_WANTS, ..Marks::default() }, Profile::UBootLwip),
            (PI_3, marks(b"udhcp 1.35.0", &[]), Profile::System),
            (PC, marks(b"PXEClient", &[]), Profile::Bios),
        ];
        for (mac, marks, profile) in told {
            assert_eq!(Profile::of(mac, &marks), profile, "{marks:?}");
        }
    }
}
