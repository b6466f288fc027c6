//! DNS for the cluster: the nodes' names and addresses, `head.<domain>`, `swarm.<domain>` (all nodes that are
//! Ready in the swarm). What is not the cluster's is forwarded by the pump.
//!
//! It is authoritative for `<domain>` and for the reverse names of private networks (RFC 6303: these
//! never leave the site). It keeps no cache, signs nothing, and transfers no zones.

mod answer;
mod zone;

pub use answer::{Answer, answer, answer_stream, server_failure};
pub use zone::{Zone, is_domain};
