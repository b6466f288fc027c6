//! `node`, `user-data`, `apply`, `export`: the inventory.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use cluster::view::PowerDeed;
use cluster::{Mac, NodeName};

/// What to do with the file.
#[derive(Args, Debug)]
pub(crate) struct Apply {
    /// Only tell what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Where to write it.
#[derive(Args, Debug)]
pub(crate) struct Export {
    /// Write it to this file [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  fledermaus node list --filter rack=north
  fledermaus node set pi-01a2b3 address=10.78.0.21 role=manager
  fledermaus node label pi-01a2b3 rack=north old-
  fledermaus node rename pi-01a2b3 web1")]
pub(crate) enum Node {
    /// List nodes
    List {
        /// Only those with this in name, address or MAC; or a role, a label as KEY=VALUE, or group=NAME
        #[arg(long, value_name = "TEXT", default_value = "")]
        filter: String,
        /// Only those that are ready, booting, failed or unseen
        #[arg(long, value_name = "STATE", value_parser = ["ready", "booting", "failed", "unseen"])]
        state: Option<String>,
    },
    /// List machines that wait for approval (`enrolment = "ask"`)
    Waiting,
    /// Make a machine that waits, or is yet to come, a node
    Approve {
        /// Its hardware address
        mac: Mac,
    },
    /// Give a node another name; one that runs takes it when it boots next
    Rename {
        /// The node's name
        node: NodeName,
        /// Its new name
        name: NodeName,
    },
    /// Set what is wished of a node: address, group, role, user_data, wipe, keep, root, image
    ///
    /// What is set for the node goes before what its group has. A node that runs has it when it boots next; role and labels
    /// hold at once.
    #[command(after_help = "Keys and what they take; cluster.toml explains each:
  address    an IPv4 address of the network, for this node alone
  group      the name of a [[group]]
  role       any, manager (preferred as one), worker (never a manager)
  user_data  a file of the user data directory; the node's own NODE.sh goes before it
  wipe       always, on-change
  keep       how much of its card no wipe reaches: 512M, 8G or none
  root       auto, card, ram, copy
  image      a name of [image.more], or default

Examples:
  fledermaus node set pi-01a2b3 address=10.78.0.21 role=manager
  fledermaus node set pi-01a2b3 wipe=on-change image-           take the wish for an image back")]
    Set {
        /// The node's name
        node: NodeName,
        /// KEY=VALUE, or KEY- to take it back
        #[arg(required = true)]
        wishes: Vec<String>,
    },
    /// Set labels
    Label {
        /// The node's name
        node: NodeName,
        /// KEY=VALUE, or KEY- to take it back
        #[arg(required = true)]
        labels: Vec<String>,
    },
    /// Forget a node: its name, timeline and token; it has to be off, and out of cluster.toml
    ///
    /// Its entry leaves the swarm, and the swarm's join tokens are made new: what its card knows lets nobody in any more.
    Forget {
        /// The node's name
        node: NodeName,
    },
    /// Show one node and where the seconds of its boot went
    Show {
        /// The node's name
        node: NodeName,
    },
    /// Print the ends of a node's logs: its kernel's and its services'
    Logs {
        /// The node's name
        node: NodeName,
    },
    /// Work a node's power with the program or the web address that cluster.toml names in [power]
    #[command(
        after_help = "Pulls the plug: a node that runs is not drained before. `node reboot` does that.\n\nExample:\n  fledermaus node power pi-01a2b3 cycle"
    )]
    Power {
        /// The node's name
        node: NodeName,
        /// What to do
        #[arg(value_enum)]
        deed: Deed,
    },
    /// Make a node new: it drains, reboots and comes back as a fresh installation
    #[command(
        visible_alias = "reprovision",
        after_help = "Its data goes, whatever `wipe` says; a `keep` partition stays. With wipe = \"on-change\" a node keeps its data through a reboot that nobody ordered here: `node power NODE cycle`, or a power cut.\n\nExample:\n  fledermaus user-data edit pi-01a2b3 && fledermaus node reboot pi-01a2b3"
    )]
    Reboot {
        /// The node's name
        node: NodeName,
    },
}

/// What to do with a node's power.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Deed {
    /// Give it power
    On,
    /// Take it away
    Off,
    /// Take it away, and give it back
    Cycle,
}

impl From<Deed> for PowerDeed {
    fn from(deed: Deed) -> Self {
        match deed {
            Deed::On => Self::On,
            Deed::Off => Self::Off,
            Deed::Cycle => Self::Cycle,
        }
    }
}

/// Whose user data: a node's name, or that of a template's file.
#[derive(Clone, Debug)]
pub(crate) struct Subject(String);

impl Subject {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is surely a file: node names have neither dots nor slashes.
    pub(crate) fn is_file(&self) -> bool {
        self.0.contains(['.', '/'])
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let subject = Self(text.to_owned());
        if !subject.is_file() {
            let name: Result<NodeName, _> = text.parse();
            name.map_err(|error| format!("{error}; and the name of a file has a dot or a slash in it"))?;
        }
        Ok(subject)
    }
}

#[derive(Debug, Subcommand)]
#[command(
    after_help = "NODE may be a file of the user data directory too, which nodes share: default.sh, parts/disk.sh.\n\nExamples:\n  fledermaus user-data edit node2 && fledermaus node reboot node2\n  fledermaus user-data edit parts/disk.sh"
)]
pub(crate) enum UserData {
    /// List the templates, and how many nodes have each
    List,
    /// Edit a node's or a file's user data in $VISUAL or $EDITOR
    Edit {
        /// The node's name, or a file
        node: Subject,
    },
    /// Replace the user data by a file's text, or by standard input
    Set {
        /// The node's name, or a file
        node: Subject,
        /// The file with the text; `-` is standard input
        file: PathBuf,
    },
    /// Print a template as it is written
    Show {
        /// The node's name, or a file
        node: Subject,
    },
    /// List the versions of a node's or a file's user data
    History {
        /// The node's name, or a file
        node: Subject,
    },
    /// Show what changed since a version
    Diff {
        /// The node's name, or a file
        node: Subject,
        /// The version's number
        version: u64,
    },
    /// Make an older version the newest
    Rollback {
        /// The node's name, or a file
        node: Subject,
        /// The version's number
        version: u64,
    },
    /// Print what a node would get: its template, filled in
    Render {
        /// The node's name
        node: NodeName,
    },
}
