//! What a lab is made of: handed from the one who wants it to the process that becomes it.

use std::path::{Path, PathBuf};

use anyhow::Context;
use cluster::Digest;
use cluster::manifest::{MANIFEST_FILE, Manifest};
use cluster::plan::{RootPlace, WipePolicy};
use serde::{Deserialize, Serialize};

use crate::firmware;
use crate::head::emulated;
use crate::network::NODES_LIMIT;
use crate::place::Place;

/// The most cores of a board: a Pi has four.
pub const CORES_LIMIT: u8 = 4;

/// How many cores a board has unless somebody says otherwise: four, or as many as this machine has if that is
/// fewer. An emulated core waits for all others of its board at every flush of the TLB, and one that has no real
/// core to run on makes that wait long (`docs/measurements.md`).
pub fn default_cores() -> u8 {
    let here = std::thread::available_parallelism().map_or(1, usize::from);
    u8::try_from(here).unwrap_or(CORES_LIMIT).min(CORES_LIMIT)
}

/// What a board is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Machine {
    /// QEMU's `virt`: no Raspberry Pi's devices, but real U-Boot from its first packet on; the fastest.
    #[default]
    Virt,
    /// QEMU's `raspi3b`: a Pi 3 with its device tree, SD host and USB. The lab plays its ROM and firmware.
    Pi3,
}

/// What the head is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeadKind {
    /// A process of this machine, at the bridge.
    #[default]
    Process,
    /// An emulated arm64 machine with this `fledermaus`, which is static and for arm64.
    Arm64 {
        /// The program.
        program: PathBuf,
    },
}

/// A lab to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// Where its files are.
    pub place: Place,
    /// How many nodes, at most [`NODES_LIMIT`]; none for a storm of software clients.
    pub nodes: u8,
    /// What they are.
    pub machine: Machine,
    /// How many cores each board has, 1 to [`CORES_LIMIT`]. A Pi 3 has four, and its kernel uses so many.
    pub cores: u8,
    /// How many of them the swarm has as managers; odd.
    pub managers: u8,
    /// Where their roots and their data lie.
    pub root: RootPlace,
    /// When their data is wiped.
    pub wipe: WipePolicy,
    /// The directory of the image that the nodes boot.
    pub image: PathBuf,
    /// What the head is.
    #[serde(default)]
    pub head: HeadKind,
    /// The program `fledermaus`, which is started as the head and as the lab's own processes.
    pub program: PathBuf,
    /// Where the cards are: a directory on a disk, for a card grows to some hundred megabytes.
    pub cards: PathBuf,
    /// The user data of every node.
    pub user_data: String,
    /// How slow cables and cards are.
    #[serde(default)]
    pub throttle: Throttle,
    /// Whether a power cut loses what the node had not flushed to its card, and by which seed of chance. Otherwise every
    /// write that the emulator took is kept.
    #[serde(default)]
    pub torn_writes: Option<u64>,
}

/// How slow the boards' surroundings are; nothing is as fast as this machine lets it be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttle {
    /// What a board receives, bits per second. What it sends is not held back.
    pub link: Option<u64>,
    /// What it reads from its card, bytes per second.
    pub card_read: Option<u64>,
    /// What it writes to its card, bytes per second.
    pub card_write: Option<u64>,
}

impl Spec {
    /// Finds out whether a lab can run here, before anything is started.
    ///
    /// # Errors
    /// A sentence that says what is missing and where to get it.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.nodes <= NODES_LIMIT,
            "a lab has at most {NODES_LIMIT} nodes, not {}",
            self.nodes
        );
        anyhow::ensure!(
            (1..=CORES_LIMIT).contains(&self.cores),
            "a board has 1 to {CORES_LIMIT} cores, not {}",
            self.cores
        );
        require_program(crate::board::EMULATOR, "qemu-system-arm")?;
        require_program("ip", "iproute2")?;
        if let HeadKind::Arm64 { program } = &self.head {
            emulated::read(program)?;
            anyhow::ensure!(
                Path::new(emulated::MKE2FS).is_file(),
                "`mke2fs` is not installed: `apt-get install e2fsprogs`"
            );
        }
        require_taps()?;
        match self.machine {
            Machine::Virt => self.uboot().map(drop),
            Machine::Pi3 => {
                anyhow::ensure!(
                    self.manifest()?
                        .firmware
                        .iter()
                        .any(|artefact| artefact.file == firmware::PI_3_DEVICE_TREE),
                    "the image in {} has no firmware for a Pi 3: name its package in image.toml, as [firmware] with a \
                     line package = \"raspi-firmware\", and build the image anew",
                    self.image.display()
                );
                Ok(())
            }
        }
    }

    /// The U-Boot that boards of [`Machine::Virt`] start with.
    ///
    /// # Errors
    /// There is no image, or it was made without U-Boot for the lab.
    pub(crate) fn uboot(&self) -> anyhow::Result<PathBuf> {
        let uboot = self.manifest()?.lab_uboot.with_context(|| {
            format!("the image in {} has no U-Boot for the lab: name it in image.toml", self.image.display())
        })?;
        Ok(self.image.join(uboot.file))
    }

    /// The digest of the system image that the nodes boot.
    ///
    /// # Errors
    /// There is no image.
    pub fn system_image(&self) -> anyhow::Result<Digest> {
        self.manifest().map(|manifest| manifest.system.sha256)
    }

    /// What is in the image.
    ///
    /// # Errors
    /// There is no image.
    pub(crate) fn manifest(&self) -> anyhow::Result<Manifest> {
        let path = self.image.join(MANIFEST_FILE);
        let text = std::fs::read(&path).with_context(|| {
            format!("reading {} (make the image first: `fledermaus image build`)", path.display())
        })?;
        serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))
    }
}

fn require_program(name: &str, package: &str) -> anyhow::Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(name).is_file());
    anyhow::ensure!(found, "`{name}` is not installed: `apt-get install {package}` (or `make deps`)");
    Ok(())
}

fn require_taps() -> anyhow::Result<()> {
    let tun = Path::new("/dev/net/tun");
    let opened = std::fs::File::options().read(true).write(true).open(tun);
    opened.map(drop).with_context(|| {
        "opening /dev/net/tun (as root: `modprobe tun`, and `chmod 0666 /dev/net/tun` for a lab without root)"
    })
}
