//! `swarm`, `rollout`, `stack`: what runs on the nodes together.

use std::num::NonZeroU16;
use std::path::PathBuf;

use clap::Subcommand;
use cluster::NodeName;

use super::Lines;

#[derive(Debug, Subcommand)]
pub(crate) enum Swarm {
    /// Show the swarm's members and what is held back
    Status,
    /// Show what was decided about the swarm, and why something waits
    #[command(after_help = "Example:\n  fledermaus swarm events --limit 20")]
    Events(Lines),
}

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  fledermaus rollout start                          every node, workers first
  fledermaus rollout start pi-01a2b3 pi-01a2b4 --pause 60
  fledermaus rollout start --label rack=2
  fledermaus rollout start --group canary --image next    another image, one node after another
  fledermaus rollout back                                 what they had before
  fledermaus rollout status --json")]
pub(crate) enum Rollout {
    /// Begin, and show how it goes until it is done or stops
    Start {
        /// The nodes; all that ever booted if none is named
        nodes: Vec<NodeName>,
        /// Only nodes with this label
        #[arg(long, value_name = "KEY=VALUE")]
        label: Option<String>,
        /// Only nodes of this group
        #[arg(long, value_name = "NAME")]
        group: Option<NodeName>,
        /// Give each this image of cluster.toml's [image.more] when its turn comes, or `default`
        #[arg(long, value_name = "NAME")]
        image: Option<NodeName>,
        /// Give each this file of the head's user data directory when its turn comes; refused for nodes with a NODE.sh
        #[arg(long, value_name = "FILE")]
        user_data: Option<String>,
        /// How many seconds all has to be well before the next node is taken
        #[arg(long, value_name = "SECONDS", default_value_t = 5)]
        pause: u32,
        /// How many nodes may be away at the same time; managers only while a majority of them stays
        #[arg(long, value_name = "N", default_value = "1")]
        max_unavailable: NonZeroU16,
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
    /// Take no further node; those that are under way are finished
    Stop,
    /// Give the nodes of the newest rollout the image and user data that they had before it
    Back {
        /// Do not wait for its end
        #[arg(long)]
        detach: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Stack {
    /// Deploy a compose file, replacing the stack of that name
    #[command(after_help = "Example:\n  fledermaus stack deploy hello example/stacks/hello.yml")]
    Deploy {
        /// The stack's name
        name: NodeName,
        /// The compose file; files that its configs and secrets name are read here and go along
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
