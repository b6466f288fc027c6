//! The command line of `fledermaus card`.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Card {
    /// Write a card that starts a Pi 3 or Pi 4 and asks the network for its boot plan until it gets one
    ///
    /// The card holds firmware, U-Boot and a boot script, from Debian's signed packages (image.lock's, if there is one).
    /// The recipe has to name [firmware]. Says on HDMI and on the serial console what it waits for. A Pi 5 passes over
    /// it: it boots from the network by its EEPROM. What else was on a device is lost; it is read back afterwards.
    #[command(after_help = "Examples:
  lsblk                                             which device is the card?
  sudo fledermaus card write --recipe image.toml --device /dev/sdX
  fledermaus card write --out card.img              a file, for a card writer of your own
  fledermaus card write --out card.img --server 10.0.0.2
                                                    where another machine answers DHCP")]
    Write(CardWrite),
}

#[derive(Args, Debug)]
pub(crate) struct CardWrite {
    #[command(flatten)]
    pub(crate) target: CardTarget,
    /// Do not ask before a device is overwritten
    #[arg(long, conflicts_with = "out")]
    pub(crate) yes: bool,
    /// Write a device that is larger than cards are (256 GiB)
    #[arg(long, conflicts_with = "out")]
    pub(crate) force_size: bool,
    /// Which firmware and which kernel's device trees; it has to name [firmware] [default: image.toml]
    #[arg(long, value_name = "FILE")]
    pub(crate) recipe: Option<PathBuf>,
    /// The head, if DHCP names another server for boot files
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) server: Option<Ipv4Addr>,
}

/// Where the card goes: one of the two.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct CardTarget {
    /// A file, which is replaced if it is there
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// A whole device, such as /dev/sdX; refused if it is mounted or this machine's system disk
    #[arg(long, value_name = "DEV")]
    pub(crate) device: Option<PathBuf>,
}
