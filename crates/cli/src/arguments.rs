//! The command line: names, help, examples. Decides nothing.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use cluster::NodeName;

mod access;
mod card;
mod image;
mod laboratory;
mod node;
mod swarm;

pub(crate) use access::{Account, Token};
pub(crate) use card::{Card, CardWrite};
pub(crate) use image::{Backend, Image, ImageChoice, ImportExtras, Kitchen};
pub(crate) use laboratory::{HeadMachine, Lab, LabLoad, LabName, LabNodes, LabStorm, LabTorture, LabUp};
pub(crate) use node::{Apply, Export, Node, Subject, UserData};
pub(crate) use swarm::{Rollout, Stack, Swarm};

/// Blank Raspberry Pis in, a Docker Swarm out.
#[derive(Debug, Parser)]
#[command(
    name = "fledermaus",
    version,
    after_help = "Examples:
  fledermaus lab demo                               three emulated nodes become a swarm
  fledermaus image build                            make the image that nodes boot
  fledermaus serve --interface eth1                 be the head of the network on eth1
  fledermaus user-data edit node2 && fledermaus node reboot node2"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) head: HeadChoice,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The heading that keeps them apart from a command's own options.
const WHICH_HEAD: &str = "Which head";

/// Which head to talk to.
#[derive(Args, Debug)]
pub(crate) struct HeadChoice {
    /// Socket of the head [default: $FLEDERMAUS_SOCKET, else /var/lib/fledermaus/head.sock]
    #[arg(long, global = true, value_name = "PATH", help_heading = WHICH_HEAD)]
    pub(crate) socket: Option<PathBuf>,
    /// Address of a head on another machine, as it printed it [default: $FLEDERMAUS_URL]
    #[arg(long, global = true, value_name = "URL", conflicts_with = "socket", help_heading = WHICH_HEAD)]
    pub(crate) url: Option<String>,
    /// Token for that head [default: $FLEDERMAUS_TOKEN, which no list of processes shows]
    #[arg(long, global = true, value_name = "SECRET", help_heading = WHICH_HEAD)]
    pub(crate) token: Option<String>,
    /// Talk to the head of a lab
    #[arg(
        long = "lab",
        global = true,
        value_name = "NAME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = LAB,
        conflicts_with_all = ["socket", "url"],
        help_heading = WHICH_HEAD
    )]
    pub(crate) lab: Option<NodeName>,
}

/// The name of a lab that is not named.
pub(crate) const LAB: &str = "lab";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Be the head: answer DHCP, TFTP, DNS and HTTP on one network
    #[command(
        after_help = "With --json it logs an object a line. RUST_LOG says what is logged (RUST_LOG=debug).\n\nExample:\n  fledermaus serve --interface eth1 --config /etc/fledermaus/cluster.toml"
    )]
    Serve(Serving),
    /// Look for what would keep a head from serving: ports, other DHCP servers, interface, clock, disk
    #[command(
        after_help = "Example:\n  fledermaus doctor --interface eth1 --config /etc/fledermaus/cluster.toml"
    )]
    Doctor(Serve),
    /// Write the head's state, configuration and user data into one file, while it serves or not
    #[command(
        after_help = "Whoever reads a backup has the swarm: it holds user data, the stacks' secrets and the door's key.\n\nExample:\n  fledermaus backup --config /etc/fledermaus/cluster.toml --out /mnt/head-$(date +%F).tar.zst"
    )]
    Backup(Backup),
    /// Put a backup in the place of a head that is not there any more; nothing is overwritten
    #[command(
        after_help = "Example:\n  fledermaus restore --config /etc/fledermaus/cluster.toml /mnt/head-2026-11-24.tar.zst"
    )]
    Restore(Restore),
    /// Make images, and look after them
    #[command(subcommand)]
    Image(Image),
    /// Write the cards that nodes start from
    #[command(subcommand)]
    Card(Card),
    /// Look at nodes, approve, name, set, reboot and forget them
    #[command(subcommand)]
    Node(Node),
    /// See and change what nodes run when they come up
    #[command(subcommand)]
    UserData(UserData),
    /// Have all nodes be as cluster.toml says, without a restart of the head
    #[command(after_help = "Example:\n  fledermaus apply --dry-run && fledermaus apply")]
    Apply(Apply),
    /// Print cluster.toml with what was set since it was written
    #[command(after_help = "Example:\n  fledermaus export --out cluster.toml && git diff")]
    Export(Export),
    /// Make nodes new one after another, without losing the swarm or its services
    #[command(subcommand)]
    Rollout(Rollout),
    /// Look at the swarm
    #[command(subcommand)]
    Swarm(Swarm),
    /// Deploy services
    #[command(subcommand)]
    Stack(Stack),
    /// Print an address that logs a browser in, once
    Login,
    /// Make, list and revoke tokens for programs
    #[command(subcommand)]
    Token(Token),
    /// Make, list and remove accounts for people
    #[command(subcommand)]
    Account(Account),
    /// Show who changed what
    #[command(after_help = "Example:\n  fledermaus audit --limit 20")]
    Audit(Lines),
    /// Print completions for a shell
    #[command(after_help = "Example:\n  fledermaus completions bash > /etc/bash_completion.d/fledermaus")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write manual pages, one for each command
    #[command(after_help = "Example:\n  fledermaus man --out /usr/local/share/man/man1")]
    Man {
        /// The folder, which is made if it is not there
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Run a virtual cluster on this machine
    #[command(subcommand)]
    Lab(Lab),
}

/// Where a head has what is its own.
#[derive(Args, Debug)]
pub(crate) struct Home {
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = "cluster.toml")]
    pub(crate) config: PathBuf,
    /// The head's state directory
    #[arg(long, value_name = "DIR", default_value = "/var/lib/fledermaus")]
    pub(crate) state_dir: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct Backup {
    #[command(flatten)]
    pub(crate) home: Home,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct Restore {
    #[command(flatten)]
    pub(crate) home: Home,
    /// The backup
    #[arg(value_name = "FILE")]
    pub(crate) backup: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// Network interface of the cluster [default: from the configuration]
    #[arg(long, value_name = "IF")]
    pub(crate) interface: Option<String>,
    /// Configuration file
    #[arg(long, value_name = "FILE", default_value = "cluster.toml")]
    pub(crate) config: PathBuf,
    /// Directory for leases, timelines and the head's socket
    #[arg(long, value_name = "DIR", default_value = "/var/lib/fledermaus")]
    pub(crate) state_dir: PathBuf,
    /// Directory of the image that nodes boot [default: from the configuration]
    #[arg(long, value_name = "DIR")]
    pub(crate) image_dir: Option<PathBuf>,
}

/// The same, and what a head alone is told.
#[derive(Args, Debug)]
pub(crate) struct Serving {
    #[command(flatten)]
    pub(crate) serve: Serve,
    /// Wait until the interface is there and has its address, as a service does after a power cut
    #[arg(long)]
    pub(crate) wait: bool,
}

impl Serve {
    /// What the server takes.
    pub(crate) fn options(&self, access: &depot::Access) -> server::Options {
        server::Options {
            config: self.config.clone(),
            interface: self.interface.clone(),
            state_dir: self.state_dir.clone(),
            image_dir: self.image_dir.clone(),
            access: access.clone(),
        }
    }
}

/// Which lines of a log.
#[derive(Args, Debug)]
pub(crate) struct Lines {
    /// How many lines, the newest
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) limit: u32,
    /// Only lines with smaller numbers
    #[arg(long, value_name = "NUMBER")]
    pub(crate) before: Option<u64>,
}

impl Lines {
    /// The words of a request.
    pub(crate) fn query(&self) -> String {
        let before = self.before.map(|before| format!("&before={before}")).unwrap_or_default();
        format!("limit={}{before}", self.limit)
    }
}
