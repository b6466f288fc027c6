//! The boot without a card: what the firmware of a Raspberry Pi asks for by TFTP, and the two texts it is given.
//!
//! ```text
//!   Pi 3: ROM ─► bootcode.bin ─► start.elf ─┐          P/config.txt, P/<device tree>, P/cmdline.txt,
//!   Pi 4: EEPROM ─► P/start4.elf ───────────┼───────►  P/image/<digest>/kernel, P/image/<digest>/initramfs
//!   Pi 5: EEPROM ───────────────────────────┘          and a dozen files that nobody has
//! ```
//!
//! `P/` is a prefix that the board makes up: its serial number, its address, or a word of its configuration. All boards
//! get the same files below any prefix; the firmware drops a prefix below which there is no start file, and then would
//! ask without it. Opens no file: which firmware there is, the head knows.
//!
//! The files come in no fixed order, some several times, and some are opened only to see whether they are there
//! ("Early terminate", raspberrypi/firmware#1700, rpi-eeprom#87). With its blocks of 512 bytes and a block number that
//! does not wrap (rpi-eeprom#720), a Pi 3 takes files of at most 33.5 MB: Debian's kernel has 13.6.

use cluster::{BootPlan, Mac};

use crate::pxelinux::{self, Unwritable, Wanted};

/// The longest line of `config.txt` that every firmware reads to its end, in bytes; newer ones read 98
/// (config.txt documentation, "File format").
pub const CONFIGURATION_LINE_LIMIT: usize = 78;
/// The longest prefix, in bytes (`TFTP_PREFIX_STR` of the EEPROM's configuration).
pub const PREFIX_LIMIT: usize = 32;

/// What goes from board to board under its own name, as Debian's package names it.
const FIRMWARE: [&str; 4] = ["start.elf", "fixup.dat", "start4.elf", "fixup4.dat"];
/// What the ROM of a Pi 3 asks for first, always without a prefix.
const BOOTCODE: &str = "bootcode.bin";
/// Folders that are no prefix: U-Boot's, the images', and what firmware puts before names to see whether there is another
/// set of files (`os_prefix`, `overlay_prefix`).
const NO_PREFIX: [&str; 4] = ["pxelinux.cfg", "image", "upstream", "overlays"];

/// Device trees that the firmware knows by the name of the chip's die, and the kernel by that of its package. With
/// `upstream_kernel=1` it asks for the kernel's name first (config.txt documentation, `upstream_kernel`).
const DEVICE_TREES: [(&str, &str); 6] = [
    ("bcm2710-rpi-3-b.dtb", "bcm2837-rpi-3-b.dtb"),
    ("bcm2710-rpi-3-b-plus.dtb", "bcm2837-rpi-3-b-plus.dtb"),
    ("bcm2710-rpi-cm3.dtb", "bcm2837-rpi-cm3-io3.dtb"),
    ("bcm2710-rpi-zero-2.dtb", "bcm2837-rpi-zero-2-w.dtb"),
    ("bcm2710-rpi-zero-2-w.dtb", "bcm2837-rpi-zero-2-w.dtb"),
    ("bcm2711-rpi-cm4.dtb", "bcm2711-rpi-cm4-io.dtb"),
];

/// A request, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What stood before the name.
    pub prefix: Prefix,
    /// What is wanted.
    pub file: File,
}

/// What a board puts before the names it asks for (`TFTP_PREFIX` of the EEPROM's configuration). It says nothing that
/// could be trusted: who asks is known by its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// Nothing.
    Absent,
    /// The board's serial number, eight hex digits.
    Serial,
    /// The board's address with dashes.
    Address(Mac),
    /// A word from its configuration, at most [`PREFIX_LIMIT`] letters, digits, `-`, `_` and `.`.
    Word,
}

/// A file that firmware gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum File {
    /// `config.txt`, which is [`configuration`]'s.
    Configuration,
    /// `cmdline.txt`, which is [`command_line`]'s: the boot plan, with the boot token.
    CommandLine,
    /// The kernel of the image whose digest begins so (16 lower-case hex digits).
    Kernel(String),
    /// The initramfs of the image whose digest begins so (16 lower-case hex digits).
    Initramfs(String),
    /// A file of the image's firmware, by the name that it has there.
    Firmware(String),
}

/// Understands a file name that a board's firmware asks for. `None` is to be answered by ERROR 1 at once: firmware tries
/// many names that nobody has, `bootsig.bin` first of all.
///
/// Kernel and initramfs without a prefix are not understood here: U-Boot asks for them so ([`pxelinux::wanted`]).
pub fn asked(path: &str) -> Option<Asked> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    match parts[..] {
        [BOOTCODE] => Some(Asked { prefix: Prefix::Absent, file: File::Firmware(BOOTCODE.to_owned()) }),
        [name] => Some(Asked { prefix: Prefix::Absent, file: file(name)? }),
        [prefix, name] => Some(Asked { prefix: prefix_of(prefix)?, file: file(name)? }),
        [prefix, "image", ..] => {
            let file = match pxelinux::wanted(&parts[1..].join("/"))? {
                Wanted::Kernel(digits) => File::Kernel(digits),
                Wanted::Initramfs(digits) => File::Initramfs(digits),
                // Firmware starts a kernel, and no file of U-Boot's.
                Wanted::Plan(_) | Wanted::OneFile(_) => return None,
            };
            Some(Asked { prefix: prefix_of(prefix)?, file })
        }
        _ => None,
    }
}

fn file(name: &str) -> Option<File> {
    match name {
        "config.txt" => Some(File::Configuration),
        "cmdline.txt" => Some(File::CommandLine),
        name if FIRMWARE.contains(&name) => Some(File::Firmware(name.to_owned())),
        name => Some(File::Firmware(device_tree(name)?.to_owned())),
    }
}

/// The kernel's name of a device tree.
fn device_tree(name: &str) -> Option<&str> {
    let allowed = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    if !name.starts_with("bcm27") && !name.starts_with("bcm28") {
        return None;
    }
    if !name.strip_suffix(".dtb")?.chars().all(allowed) {
        return None;
    }
    let alias = DEVICE_TREES.iter().find(|(firmware, _)| *firmware == name);
    Some(alias.map_or(name, |(_, kernel)| kernel))
}

fn prefix_of(part: &str) -> Option<Prefix> {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if part.len() > PREFIX_LIMIT
        || part.starts_with('.')
        || !part.chars().all(allowed)
        || NO_PREFIX.contains(&part)
    {
        return None;
    }
    if part.len() == 8 && part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Some(Prefix::Serial);
    }
    Some(part.parse().map_or(Prefix::Word, Prefix::Address))
}

/// `config.txt`: the same for every board and every boot of an image.
///
/// The keys (config.txt documentation, "Boot options"; Debian's own firmware package writes the same ones for its kernel):
/// `arm_64bit` because a Pi 3 would start the kernel as a 32-bit one; `enable_uart` for a serial console at a steady clock;
/// `upstream_kernel` because the device trees are the kernel's own, so that no overlay may be laid over them; `boot_delay`
/// is a wait for slow cards; `kernel` may be a gzip archive, which 64-bit firmware knows by its first bytes; `initramfs`,
/// without `=`, is put behind the kernel once that is unpacked. Names are below the prefix.
///
/// # Errors
/// A name cannot be written so that the firmware reads it.
pub fn configuration(kernel: &str, initramfs: &str) -> Result<String, Unwritable> {
    pxelinux::check_path("kernel path", kernel)?;
    pxelinux::check_path("initramfs path", initramfs)?;
    let lines = [format!("kernel={kernel}"), format!("initramfs {initramfs} followkernel")];
    for line in &lines {
        pxelinux::check_length("line of config.txt", line, CONFIGURATION_LINE_LIMIT)?;
    }
    let [kernel, initramfs] = lines;
    let keys = "arm_64bit=1\nenable_uart=1\nupstream_kernel=1\nboot_delay=0";
    Ok(format!("# fledermaus\n{keys}\n{kernel}\n{initramfs}\n"))
}

/// `cmdline.txt`: one line, the kernel's command line with the boot token.
///
/// The firmware takes 1,024 bytes (raspberrypi/linux#140) and puts some of its own before them; the kernel takes 2,048.
/// A plan that U-Boot could not pass on is refused here too: whether a node boots must not hang on what starts it.
///
/// # Errors
/// Where a value cannot be passed on, or the line is too long.
pub fn command_line(plan: &BootPlan) -> Result<String, Unwritable> {
    pxelinux::command_line(plan).map(|line| line + "\n")
}

#[cfg(test)]
mod tests;
