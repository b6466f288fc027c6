//! `lab`: a virtual cluster.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use cluster::NodeName;
use cluster::plan::{RootPlace, WipePolicy};
use lab::Power;
use lab::control::{CardDeed, CardKind};

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  fledermaus lab up --nodes 3 --json                measure: seconds from power-on to a swarm of three
  fledermaus lab up --keep                          leave it running; look with `fledermaus --lab node list`
  fledermaus lab up --board pi3 --nodes 1           the same on the devices of a real Pi 3
  fledermaus lab up --nodes 1 --link 100mbit --card-write 12M --card-read 20M   as slow as a Pi 3's wire and card
  fledermaus lab power node2 cut                    pull the plug of a node
  fledermaus lab card node2 flip                    flip a bit of the system image on its card")]
pub(crate) enum Lab {
    /// Start a lab, wait for its swarm, say how long it took
    Up(LabUp),
    /// Say how a kept lab is
    Status(LabName),
    /// Print what a node printed on its serial console
    Console {
        #[command(flatten)]
        lab: LabName,
        /// The node's name
        node: NodeName,
        /// Go on printing until ^C
        #[arg(long, short)]
        follow: bool,
    },
    /// Work the power switch of a node, or of the head
    Power {
        #[command(flatten)]
        lab: LabName,
        /// The node's name, or `head`
        node: NodeName,
        /// Pull the plug, plug it in, or press reset
        #[arg(value_enum)]
        power: Switch,
    },
    /// Put another card into a node, damage it or pull it out; without a deed, say what is on it
    #[command(after_help = "Examples:
  fledermaus lab power node1 cut && fledermaus lab card node1 garbage && fledermaus lab power node1 on
  fledermaus lab card node1                         which system image is on it, and whether all of it is right")]
    Card {
        #[command(flatten)]
        lab: LabName,
        /// The node's name
        node: NodeName,
        /// What to do
        #[arg(value_enum)]
        deed: Option<Deed>,
    },
    /// Lose packets on the lab's network from now on
    Loss {
        #[command(flatten)]
        lab: LabName,
        /// How many of a hundred; 0 ends it
        #[arg(value_parser = clap::value_parser!(u8).range(0..=100))]
        percent: u8,
    },
    /// Put another board in a node's place, with another hardware address and a blank card; it has to be off
    Replace {
        #[command(flatten)]
        lab: LabName,
        /// The node's name
        node: NodeName,
    },
    /// Let nothing pass between two nodes; without nodes, let everything pass again
    #[command(after_help = "Example:\n  fledermaus lab part node1 node2")]
    Part {
        #[command(flatten)]
        lab: LabName,
        /// A node's name
        #[arg(requires = "other")]
        one: Option<NodeName>,
        /// The other's
        other: Option<NodeName>,
    },
    /// Pull a node's plug at random moments of its boot and work; it has to come up by itself each time
    #[command(after_help = "Example:\n  fledermaus lab torture --cuts 100 --json")]
    Torture(LabTorture),
    /// Have many software clients boot at once, as when the power comes back, and say how long it took
    #[command(after_help = "Example:\n  fledermaus lab storm --clients 200 --profile mixed --head-late 40")]
    Storm(LabStorm),
    /// Stop a kept lab and remove it
    Down(LabName),
    /// Show everything: swarm, service, pages, seconds; then tear it down
    Demo {
        #[command(flatten)]
        up: LabNodes,
    },
    /// Fetch a file by TFTP or HTTP again and again, and print bytes and seconds: the load of `cargo xtask bench`
    #[command(hide = true)]
    Load(LabLoad),
    /// PID 1 of a head that is a machine
    #[command(hide = true)]
    Machine,
    /// The process that is an emulated Pi 3
    #[command(hide = true)]
    Pi3 {
        /// The board's specification, JSON
        board: String,
    },
    /// The lab's own processes
    #[command(hide = true)]
    Supervise {
        /// Inside the lab's namespaces
        #[arg(long)]
        inside: bool,
        /// The lab's specification, JSON
        spec: String,
    },
}

#[derive(Args, Debug)]
pub(crate) struct LabName {
    /// The lab's name; --lab=NAME too [default: lab]
    #[arg(long = "name", value_name = "NAME")]
    pub(crate) name: Option<NodeName>,
}

#[derive(Args, Debug)]
pub(crate) struct LabNodes {
    /// How many nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=i64::from(lab::network::NODES_LIMIT)))]
    pub(crate) nodes: u8,
    /// What the boards are
    #[arg(long, value_enum, default_value_t = BoardKind::Virt)]
    pub(crate) board: BoardKind,
    /// What the head is
    #[arg(long, value_enum, default_value_t = HeadMachine::Process)]
    pub(crate) head: HeadMachine,
    /// The static fledermaus of a head that is a machine [default: where `make packages` builds it]
    #[arg(
        long,
        value_name = "FILE",
        requires = "head",
        default_value = "target/aarch64-unknown-linux-musl/release/fledermaus",
        hide_default_value = true
    )]
    pub(crate) head_program: PathBuf,
    /// How many cores each board has [default: 4 as a Pi, but not more than this machine has]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=i64::from(lab::spec::CORES_LIMIT)))]
    pub(crate) cores: Option<u8>,
    /// How many of them are managers of the swarm: an odd number
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=7))]
    pub(crate) managers: u8,
    /// Where roots and data of the nodes lie: auto, card, ram or copy
    #[arg(long, value_name = "PLACE", default_value_t)]
    pub(crate) root: RootPlace,
    /// When the nodes' data is wiped: always or on-change
    #[arg(long, value_name = "WHEN", default_value_t)]
    pub(crate) wipe: WipePolicy,
    /// What each board receives at most, bits per second: a Pi 3 has 100mbit
    #[arg(long, value_name = "RATE", value_parser = bits)]
    pub(crate) link: Option<u64>,
    /// What each board reads from its card at most, bytes per second (k, M and G are powers of 1,000)
    #[arg(long, value_name = "RATE", value_parser = bytes)]
    pub(crate) card_read: Option<u64>,
    /// What each board writes to its card at most, bytes per second
    #[arg(long, value_name = "RATE", value_parser = bytes)]
    pub(crate) card_write: Option<u64>,
    /// The lab's name; --lab=NAME too [default: lab, or demo for the demo]
    #[arg(long = "name", value_name = "NAME")]
    pub(crate) name: Option<NodeName>,
    /// Directory of the image that the nodes boot [default: image in the cache directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) image: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct LabUp {
    #[command(flatten)]
    pub(crate) lab: LabNodes,
    /// Leave the lab running
    #[arg(long)]
    pub(crate) keep: bool,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub(crate) limit: u64,
}

#[derive(Args, Debug)]
pub(crate) struct LabLoad {
    /// The address of the first client; the next has the next
    #[arg(long)]
    pub(crate) first: std::net::Ipv4Addr,
    /// The server
    #[arg(long)]
    pub(crate) server: std::net::Ipv4Addr,
    /// The file
    #[arg(long)]
    pub(crate) path: String,
    /// How many fetch at the same time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) clients: u16,
    /// Window in blocks
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) window: u16,
    /// Ask by HTTP, on this port, and not by TFTP
    #[arg(long, value_name = "PORT", conflicts_with = "window")]
    pub(crate) http: Option<u16>,
    /// How long they begin anew
    #[arg(long, default_value_t = 0)]
    pub(crate) seconds: u64,
}

#[derive(Args, Debug)]
pub(crate) struct LabStorm {
    /// How many clients
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=i64::from(lab::storm::CLIENTS_LIMIT)))]
    pub(crate) clients: u16,
    /// The boot loader that they behave like
    #[arg(long, value_enum, default_value_t = StormProfile::Mixed)]
    pub(crate) profile: StormProfile,
    /// Seconds over which they are powered on
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub(crate) spread: u64,
    /// Seconds that the head comes later than the first client
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub(crate) head_late: u64,
    /// Directory of the image that they fetch [default: image in the cache directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) image: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct LabTorture {
    /// How many times
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) cuts: u16,
    /// Which moments: the same number makes the same cuts again [default: by chance]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// When the node's data is wiped: always or on-change
    #[arg(long, value_name = "WHEN", default_value_t)]
    pub(crate) wipe: WipePolicy,
    /// Directory of the image that it boots [default: image in the cache directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) image: Option<PathBuf>,
}

/// What is done with a card.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Deed {
    /// Put in a blank one, as an operator prepares it
    Blank,
    /// Put in one with a prepared first partition and noise behind it
    Garbage,
    /// Put in somebody else's, without our label: it must stay as it is
    Foreign,
    /// Put in one that is too small
    Small,
    /// Put in one whose switch forbids writing
    Protected,
    /// Put in none
    None,
    /// Flip one bit of the system image on it
    Flip,
    /// Pull it out of the running node
    Pull,
}

impl From<Deed> for CardDeed {
    fn from(deed: Deed) -> Self {
        match deed {
            Deed::Blank => Self::Insert(CardKind::Blank),
            Deed::Garbage => Self::Insert(CardKind::Garbage),
            Deed::Foreign => Self::Insert(CardKind::Foreign),
            Deed::Small => Self::Insert(CardKind::Small),
            Deed::Protected => Self::Insert(CardKind::Protected),
            Deed::None => Self::Insert(CardKind::None),
            Deed::Flip => Self::Flip,
            Deed::Pull => Self::Pull,
        }
    }
}

/// Bits per second, in the words of `tc`.
fn bits(text: &str) -> Result<u64, String> {
    rate(text, &[("kbit", 1_000), ("mbit", 1_000_000), ("gbit", 1_000_000_000), ("bit", 1)])
        .ok_or_else(|| "not a rate of bits per second: write it as 100mbit or 1gbit".to_owned())
}

/// Bytes per second.
fn bytes(text: &str) -> Result<u64, String> {
    rate(text, &[("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000), ("", 1)])
        .ok_or_else(|| "not a rate of bytes per second: write it as 12M or 500k".to_owned())
}

/// A whole number from 1 with one of the units.
fn rate(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, unit) =
        units.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?.parse::<u64>().ok()?, unit)))?;
    number.checked_mul(*unit).filter(|rate| *rate > 0)
}

/// A kind of board.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum BoardKind {
    /// QEMU's `virt` with real U-Boot: the fastest
    Virt,
    /// QEMU's `raspi3b`: the devices of a Pi 3. The lab plays its ROM; the image needs firmware
    Pi3,
}

impl From<BoardKind> for lab::spec::Machine {
    fn from(kind: BoardKind) -> Self {
        match kind {
            BoardKind::Virt => Self::Virt,
            BoardKind::Pi3 => Self::Pi3,
        }
    }
}

/// A kind of head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum HeadMachine {
    /// This program, as a process
    Process,
    /// An emulated arm64 machine
    Arm64,
}

/// A boot loader.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum StormProfile {
    /// U-Boot's own network stack
    Uboot,
    /// U-Boot with lwIP
    UbootLwip,
    /// A Pi 3 without a card: its ROM, and what it loads
    #[value(name = "pi3-rom")]
    Pi3Rom,
    /// A Pi 4 without a card: its EEPROM
    #[value(name = "pi4-eeprom")]
    Pi4Eeprom,
    /// All by turns, as far as the image has firmware
    Mixed,
}

impl From<StormProfile> for lab::storm::Profile {
    fn from(profile: StormProfile) -> Self {
        match profile {
            StormProfile::Uboot => Self::Uboot,
            StormProfile::UbootLwip => Self::UbootLwip,
            StormProfile::Pi3Rom => Self::Pi3Rom,
            StormProfile::Pi4Eeprom => Self::Pi4Eeprom,
            StormProfile::Mixed => Self::Mixed,
        }
    }
}

/// A node's power switch.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Switch {
    /// Pull the plug
    Cut,
    /// Plug it in
    On,
    /// Press the reset button
    Reset,
}

impl From<Switch> for Power {
    fn from(switch: Switch) -> Self {
        match switch {
            Switch::Cut => Self::Cut,
            Switch::On => Self::On,
            Switch::Reset => Self::Reset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_units_and_are_not_nothing() {
        assert_eq!(bits("100mbit"), Ok(100_000_000));
        assert_eq!(bits("9600bit"), Ok(9_600));
        assert_eq!(bytes("12M"), Ok(12_000_000));
        assert_eq!(bytes("512"), Ok(512));
        for wrong in ["", "mbit", "0mbit", "100", "-1mbit", "1.5gbit", "99999999999999gbit"] {
            assert!(bits(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "M", "0", "12MB", "1e9", "99999999999999G"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
