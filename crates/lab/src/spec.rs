//! What a lab is made of: handed from the one who wants it to the process that becomes it.

use std::path::{Path, PathBuf};

use anyhow::Context;
use cluster::manifest::{MANIFEST_FILE, Manifest};
use serde::{Deserialize, Serialize};

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

/// A lab to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// Where its files are.
    pub place: Place,
    /// How many nodes, at most [`NODES_LIMIT`]; none for a storm of software clients.
    pub nodes: u8,
    /// How many cores each board has, 1 to [`CORES_LIMIT`].
    pub cores: u8,
    /// The directory of the image that the nodes boot.
    pub image: PathBuf,
    /// The program `fledermaus`, which is started as the head and as the lab's own processes.
    pub program: PathBuf,
    /// Where the cards are: a directory on a disk, for a card grows to some hundred megabytes.
    pub cards: PathBuf,
    /// The user data of every node.
    pub user_data: String,
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
        require_taps()?;
        self.firmware().map(drop)
    }

    /// The U-Boot that the emulated boards start with.
    ///
    /// # Errors
    /// There is no image, or it was made without firmware for the lab.
    pub(crate) fn firmware(&self) -> anyhow::Result<PathBuf> {
        let path = self.image.join(MANIFEST_FILE);
        let text = std::fs::read(&path).with_context(|| {
            format!("reading {} (make the image first: `fledermaus image build`)", path.display())
        })?;
        let manifest: Manifest =
            serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))?;
        let uboot = manifest.lab_uboot.with_context(|| {
            format!("the image in {} has no U-Boot for the lab: name it in image.toml", self.image.display())
        })?;
        Ok(self.image.join(uboot.file))
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
