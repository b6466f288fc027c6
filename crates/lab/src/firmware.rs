//! Boards without a card: the ROM of a Pi 3 with what it loads, and the EEPROM of a Pi 4, as far as their documentation,
//! their logs and their users' reports tell how they behave. They carry out DHCP and TFTP; what starts then is the same
//! node as every client's.
//!
//! Every file that the image's manifest names is compared with it.

mod address;
mod lockstep;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Instant;

use cluster::manifest::Manifest;
use cluster::plan::NodePlan;
use cluster::{Digest, Mac};

use self::lockstep::{Fetched, Style};
use crate::dhcp::{Lease, Post};

/// What the files of an image have to be: SHA-256 by the name that is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sums(BTreeMap<String, Digest>);

impl Sums {
    /// The sums of an image.
    pub(crate) fn new(manifest: &Manifest) -> Self {
        let firmware = manifest.firmware.iter().map(|artefact| (artefact.file.clone(), artefact.sha256));
        let mut all: BTreeMap<_, _> = firmware.collect();
        if !all.is_empty() {
            all.insert("kernel".to_owned(), manifest.kernel.sha256);
            all.insert("initramfs".to_owned(), manifest.initramfs.sha256);
        }
        Self(all)
    }

    /// Whether a board without a card could boot the image.
    pub(crate) fn has_firmware(&self) -> bool {
        !self.0.is_empty()
    }
}

/// Why a boot ended too soon.
#[derive(Debug)]
pub(crate) enum Setback {
    /// Because of this; the board starts over.
    Again(String),
    /// The ROM did not get what it asked for, because of this: it is silent until the board's power is cut.
    Asleep(String),
    /// The ROM was answered too soon: it is silent until the board's power is cut.
    LockedUp,
}

impl From<String> for Setback {
    fn from(why: String) -> Self {
        Self::Again(why)
    }
}

/// One request of a script.
#[derive(Clone, Copy)]
enum Step {
    /// The file is there; the transfer is broken off after its first packet.
    Look(&'static str),
    /// The file is not there, and this is said at once.
    Miss(&'static str),
    /// The file.
    Fetch(&'static str),
    /// `config.txt`, which says where kernel and initramfs are.
    Configuration,
    /// `cmdline.txt`.
    CommandLine,
    /// The kernel.
    Kernel,
    /// The initramfs.
    Initramfs,
}

use Step::{CommandLine, Configuration, Fetch, Initramfs, Kernel, Look, Miss};

/// bootcode.bin, then start.elf (raspberrypi/firmware#935, #1012, #1605; the order of their logs).
const PI_3: [Step; 21] = [
    Look("start.elf"),
    Miss("autoboot.txt"),
    Configuration,
    Miss("recovery.elf"),
    Fetch("start.elf"),
    Fetch("fixup.dat"),
    Miss("recovery.elf"),
    Configuration,
    Miss("dt-blob.bin"),
    Configuration,
    Miss("bootcfg.txt"),
    Miss("upstream/bcm2837-rpi-3-b.dtb"),
    Look("cmdline.txt"),
    CommandLine,
    Miss("recovery8.img"),
    Miss("armstub8.bin"),
    Kernel,
    Initramfs,
    Fetch(PI_3_DEVICE_TREE),
    Configuration,
    Miss("overlays/overlay_map.dtb"),
];
/// The EEPROM, then start4.elf (rpi-eeprom#74, #87, #417).
const PI_4: [Step; 21] = [
    Look("start4.elf"),
    Configuration,
    Miss("vl805.sig"),
    Miss("pieeprom.sig"),
    Miss("recover4.elf"),
    Miss("recovery.elf"),
    Fetch("start4.elf"),
    Fetch("fixup4.dat"),
    Miss("recover4.elf"),
    Configuration,
    Miss("dt-blob.bin"),
    Configuration,
    Miss("bootcfg.txt"),
    Miss("upstream/bcm2711-rpi-4-b.dtb"),
    Initramfs,
    Fetch("bcm2711-rpi-4-b.dtb"),
    Configuration,
    Miss("overlays/overlay_map.dtb"),
    CommandLine,
    Miss("armstub8-gic.bin"),
    Kernel,
];

/// What a board has once its kernel starts.
pub(crate) struct Started {
    pub(crate) address: Ipv4Addr,
    pub(crate) plan: NodePlan,
    /// The kernel's command line, of which the plan is a part.
    pub(crate) command_line: String,
    /// What it fetched, in bytes.
    pub(crate) bytes: u64,
}

/// The name of the device tree of a Pi 3B, as it is fetched.
pub(crate) const PI_3_DEVICE_TREE: &str = "bcm2837-rpi-3-b.dtb";

/// From the power of a Pi 3 to its kernel: the ROM, the `bootcode.bin` that it fetches, which asks DHCP anew, and start.elf.
/// What it fetches lies in `shelf` then, if there is one, under the names that the manifest has for it.
///
/// # Errors
/// What went wrong, and whether the ROM will ever try again.
pub(crate) fn pi_3(
    post: &Post,
    mac: Mac,
    sums: &Sums,
    shelf: Option<&Path>,
    limit: Instant,
) -> Result<Started, Setback> {
    let rom = address::rom(post, mac, limit)?;
    // Whatever the ROM cannot fetch leaves it where a missing DHCP server does (raspberrypi/firmware#764).
    let walk = Walk::new(rom, String::new(), lockstep::ROM, sums, shelf);
    let bootcode = walk.fetch("bootcode.bin").map_err(Setback::Asleep)?;
    walk.miss("bootsig.bin").map_err(Setback::Asleep)?;
    let lease = address::bootcode(post, mac, limit)?;
    // Its serial number ends as its address does.
    let prefix = format!("89{:02x}{:02x}{:02x}/", mac.0[3], mac.0[4], mac.0[5]);
    let mut walk = Walk::new(lease, prefix, lockstep::BOOTCODE, sums, shelf);
    walk.bytes = bootcode.bytes;
    walk.through(&PI_3)
}

/// From the power of a Pi 4 to its kernel.
///
/// # Errors
/// What went wrong. The EEPROM starts over for ever (`BOOT_ORDER=0xf2`).
pub(crate) fn pi_4(post: &Post, mac: Mac, sums: &Sums, limit: Instant) -> Result<Started, Setback> {
    let lease = address::eeprom(post, mac, limit)?;
    let prefix = format!("{:02x}{:02x}a55a/", mac.0[4], mac.0[5]);
    Walk::new(lease, prefix, lockstep::EEPROM, sums, None).through(&PI_4)
}

/// One board on its way through its script.
struct Walk<'a> {
    lease: Lease,
    prefix: String,
    style: Style,
    sums: &'a Sums,
    /// Where files are kept, if they are.
    shelf: Option<&'a Path>,
    bytes: u64,
    /// Where kernel and initramfs are, once `config.txt` was read.
    kernel: String,
    initramfs: String,
}

impl<'a> Walk<'a> {
    fn new(lease: Lease, prefix: String, style: Style, sums: &'a Sums, shelf: Option<&'a Path>) -> Self {
        let (kernel, initramfs) = (String::new(), String::new());
        Self { lease, prefix, style, sums, shelf, bytes: 0, kernel, initramfs }
    }

    fn through(mut self, script: &[Step]) -> Result<Started, Setback> {
        let mut command_line = None;
        for step in script {
            match *step {
                Look(name) => lockstep::look(&self.lease, &self.path(name), self.style)?,
                Miss(name) => self.miss(name)?,
                Fetch(name) => self.bytes += self.fetch(name)?.bytes,
                Configuration => self.configure()?,
                CommandLine => {
                    let text = String::from_utf8_lossy(&self.fetch("cmdline.txt")?.kept).into_owned();
                    command_line = Some(text.trim_end().to_owned());
                }
                Kernel => self.bytes += self.fetch_as("kernel", &self.kernel)?.bytes,
                Initramfs => self.bytes += self.fetch_as("initramfs", &self.initramfs)?.bytes,
            }
        }
        let command_line = command_line.ok_or_else(|| "the script has no cmdline.txt".to_owned())?;
        let plan = NodePlan::parse(&command_line).map_err(|error| error.to_string())?;
        Ok(Started { address: self.lease.address, plan, command_line, bytes: self.bytes })
    }

    fn configure(&mut self) -> Result<(), String> {
        let text = String::from_utf8_lossy(&self.fetch("config.txt")?.kept).into_owned();
        let value = |front: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(front));
            found.map(str::to_owned).ok_or_else(|| format!("config.txt has no line {front}…"))
        };
        value("arm_64bit=1")?;
        self.kernel = value("kernel=")?;
        let initramfs = value("initramfs ")?;
        let place = initramfs.strip_suffix(" followkernel");
        self.initramfs = place.ok_or("the initramfs has no place")?.to_owned();
        Ok(())
    }

    fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn fetch(&self, name: &str) -> Result<Fetched, String> {
        self.fetch_as(name, name)
    }

    /// Fetches a file, which has to be the one that the manifest has under `sum`.
    fn fetch_as(&self, sum: &str, name: &str) -> Result<Fetched, String> {
        let mut sink: Box<dyn Write> = match self.shelf {
            Some(shelf) => {
                Box::new(File::create(shelf.join(sum)).map_err(|error| format!("{sum}: {error}"))?)
            }
            None => Box::new(io::sink()),
        };
        let fetched = lockstep::fetch(&self.lease, &self.path(name), self.style, &mut sink)?;
        match self.sums.0.get(sum) {
            Some(expected) if *expected != fetched.sha256 => Err(format!("{sum} is not the image's")),
            _ => Ok(fetched),
        }
    }

    fn miss(&self, name: &str) -> Result<(), String> {
        lockstep::miss(&self.lease, &self.path(name), self.style)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_fetch_the_files_of_their_board_alone() {
        for (script, own) in [(&PI_3, ["start.elf", "fixup.dat"]), (&PI_4, ["start4.elf", "fixup4.dat"])] {
            let fetched = script.iter().filter_map(|step| match step {
                Fetch(name) if !name.ends_with(".dtb") => Some(*name),
                _ => None,
            });
            assert_eq!(fetched.collect::<Vec<_>>(), own);
        }
    }
}
