//! DNS for the cluster: the nodes' names and addresses, `head.<domain>`, `swarm.<domain>` (all nodes that are
//! Ready in the swarm), `_docker-swarm._tcp.<domain>` (its managers). What is not the cluster's is forwarded by
//! the pump; [`Forwarder`] decides what has to be asked, and remembers the replies.
//!
//! It is authoritative for `<domain>`, for the reverse names of the cluster's network, and for those of private
//! networks (RFC 6303: these never leave the site). It signs nothing and transfers no zones.

mod answer;
mod cache;
mod forward;
mod packet;
mod reply;
mod zone;

pub use answer::{Answer, answer};
pub use forward::{Asked, Forwarder, Next, without_edns};
pub use packet::{Question, Transport};
pub use reply::{Mismatch, Reply};
pub use zone::{Names, Zone, is_domain};
