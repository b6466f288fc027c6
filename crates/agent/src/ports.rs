//! Whether this node answers for the swarm's services: a node that is Ready refuses connections for some seconds more,
//! until Docker's routing mesh has come up on it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a port may take to answer: the mesh may send the connection to any node.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// The most ports that are tried in one look; the others have theirs in the next.
const TRIES_LIMIT: usize = 4;

/// The ports that are looked after.
pub(crate) struct Ports {
    address: Ipv4Addr,
    wanted: BTreeSet<u16>,
    answering: BTreeSet<u16>,
}

impl Ports {
    /// None yet, of the node at this address.
    pub(crate) fn at(address: Ipv4Addr) -> Self {
        Self { address, wanted: BTreeSet::new(), answering: BTreeSet::new() }
    }

    /// What is to be looked after from now on.
    pub(crate) fn want(&mut self, ports: BTreeSet<u16>) {
        self.answering.retain(|port| ports.contains(port));
        self.wanted = ports;
    }

    /// Tries some of those that have not answered yet; all that have.
    pub(crate) fn look(&mut self) -> BTreeSet<u16> {
        let missing: Vec<u16> = self.wanted.difference(&self.answering).copied().take(TRIES_LIMIT).collect();
        let address = |port| SocketAddr::from((self.address, port));
        let answers = |port: &u16| TcpStream::connect_timeout(&address(*port), CONNECT_LIMIT).is_ok();
        self.answering.extend(missing.into_iter().filter(answers));
        self.answering.clone()
    }

    /// Whether all have answered.
    pub(crate) fn is_complete(&self) -> bool {
        self.wanted == self.answering
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_port_counts_once_it_answered_and_until_it_is_not_wanted() {
        let open = TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = open.local_addr().expect("an address").port();
        let mut ports = Ports::at(Ipv4Addr::LOCALHOST);
        assert!(ports.look().is_empty() && ports.is_complete());
        // Nobody listens on port 1.
        ports.want([1, port].into());
        assert_eq!(ports.look(), [port].into());
        assert!(!ports.is_complete());
        drop(open);
        ports.want([port].into());
        assert_eq!(ports.look(), [port].into(), "it is not asked again");
        assert!(ports.is_complete());
        ports.want(BTreeSet::new());
        assert!(ports.look().is_empty());
    }
}
