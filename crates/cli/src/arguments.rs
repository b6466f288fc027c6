//! The command line: names, help, examples. Decides nothing.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use cluster::NodeName;
use lab::Power;

mod card;
mod image;

pub(crate) use card::{Card, CardWrite};
pub(crate) use image::{Image, ImageChoice};

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

/// Which head to talk to.
#[derive(Args, Debug)]
pub(crate) struct HeadChoice {
    /// Socket of the head [default: $FLEDERMAUS_SOCKET, else /var/lib/fledermaus/head.sock]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Talk to the head of a lab
    #[arg(long = "lab", global = true, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = LAB, conflicts_with = "socket")]
    pub(crate) lab: Option<NodeName>,
}

/// The name of a lab that is not named.
pub(crate) const LAB: &str = "lab";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Be the head: answer DHCP, TFTP, DNS and HTTP on one network
    #[command(
        after_help = "Example:\n  fledermaus serve --interface eth1 --config /etc/fledermaus/cluster.toml"
    )]
    Serve(Serve),
    /// Look for what would keep a head from serving: ports, other DHCP servers, interface, clock, disk
    #[command(
        after_help = "Example:\n  fledermaus doctor --interface eth1 --config /etc/fledermaus/cluster.toml"
    )]
    Doctor(Serve),
    /// Make images, and look after them
    #[command(subcommand)]
    Image(Image),
    /// Write the cards that nodes start from
    #[command(subcommand)]
    Card(Card),
    /// Look at nodes and reboot them
    #[command(subcommand)]
    Node(Node),
    /// See and change what nodes run when they come up
    #[command(subcommand)]
    UserData(UserData),
    /// Make nodes new one after another, without losing the swarm or its services
    #[command(subcommand)]
    Rollout(Rollout),
    /// Look at the swarm
    #[command(subcommand)]
    Swarm(Swarm),
    /// Deploy services
    #[command(subcommand)]
    Stack(Stack),
    /// Run a virtual cluster on this machine
    #[command(subcommand)]
    Lab(Lab),
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

#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// List all nodes
    List,
    /// Show one node and where the seconds of its boot went
    Show {
        /// The node's name
        node: NodeName,
    },
    /// Make a node new: it drains, reboots and comes back as a fresh installation
    Reboot {
        /// The node's name
        node: NodeName,
    },
}

#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  fledermaus user-data edit node2 && fledermaus node reboot node2")]
pub(crate) enum UserData {
    /// Change it in $EDITOR
    Edit {
        /// The node's name
        node: NodeName,
    },
    /// Take it from a file, or from standard input
    Set {
        /// The node's name
        node: NodeName,
        /// The file; `-` is standard input
        file: PathBuf,
    },
    /// Print the template
    Show {
        /// The node's name
        node: NodeName,
    },
    /// Print what the node would get
    Render {
        /// The node's name
        node: NodeName,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Swarm {
    /// Show the swarm's members and what is held back
    Status,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  fledermaus rollout start                          every node, workers first
  fledermaus rollout start pi-01a2b3 pi-01a2b4 --pause 60
  fledermaus rollout status --json")]
pub(crate) enum Rollout {
    /// Begin, and show how it goes until it is done or stops
    Start {
        /// The nodes; all that ever booted if none is named
        nodes: Vec<NodeName>,
        /// How many seconds all has to be well before the next node is taken
        #[arg(long, value_name = "SECONDS", default_value_t = 5)]
        pause: u32,
        /// Do not wait for its end
        #[arg(long)]
        detach: bool,
    },
    /// Show the newest rollout
    Status,
    /// Go on after a stop; a node that failed is tried again
    Resume {
        /// Do not wait for its end
        #[arg(long)]
        detach: bool,
    },
    /// Take no further node; the one that is under way is finished
    Stop,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Stack {
    /// Deploy a compose file, replacing the stack of that name
    #[command(after_help = "Example:\n  fledermaus stack deploy hello example/stacks/hello.yml")]
    Deploy {
        /// The stack's name
        name: NodeName,
        /// The compose file
        file: PathBuf,
    },
    /// List the stacks that the head holds
    List,
    /// Show a stack and its services
    Show {
        /// The stack's name
        name: NodeName,
    },
    /// Remove a stack from the swarm and from the head
    Remove {
        /// The stack's name
        name: NodeName,
    },
}

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  fledermaus lab up --nodes 3 --json                measure: seconds from power-on to a swarm of three
  fledermaus lab up --keep                          leave it running; look with `fledermaus --lab node list`
  fledermaus lab power node2 cut                    pull the plug of a node")]
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
    /// Work a node's power switch
    Power {
        #[command(flatten)]
        lab: LabName,
        /// The node's name
        node: NodeName,
        /// Pull the plug, plug it in, or press reset
        #[arg(value_enum)]
        power: Switch,
    },
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
    /// Fetch a file by TFTP again and again, and print bytes and seconds: the load of `cargo xtask bench`
    #[command(hide = true)]
    Load(LabLoad),
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
    /// The lab's name
    #[arg(long = "name", value_name = "NAME", default_value = LAB)]
    pub(crate) name: NodeName,
}

#[derive(Args, Debug)]
pub(crate) struct LabNodes {
    /// How many nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=i64::from(lab::network::NODES_LIMIT)))]
    pub(crate) nodes: u8,
    /// How many cores each board has [default: 4 as a Pi, but not more than this machine has]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=i64::from(lab::spec::CORES_LIMIT)))]
    pub(crate) cores: Option<u8>,
    /// The lab's name [default: lab, or demo for the demo]
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
