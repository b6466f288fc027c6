//! The kernel's table of neighbours: where it keeps the Ethernet address of every machine that it speaks to.
//!
//! One table for the whole machine, all its network namespaces included. When it is full the kernel forgets somebody, or
//! does not send: a hall of boards that boots at once then sees a head that answers some of them and not others.

use std::path::Path;

use crate::config::Resolved;

/// Where the kernel tells of the table (Documentation/networking/ip-sysctl.rst); not there inside a network namespace.
const DIRECTORY: &str = "/proc/sys/net/ipv4/neigh/default";
/// How many entries there have to be for each address: others on the wire are asked for too, and entries go only seconds
/// after they were last used.
const ENTRIES_EACH: u64 = 2;

/// What the table lacks for a number of machines, a sentence and what to do; `None` if it has room, or nobody here can know.
pub fn lack(machines: u64) -> Option<(String, String)> {
    let limit = limit(Path::new(DIRECTORY))?;
    let wanted = machines * ENTRIES_EACH;
    (limit < wanted).then(|| {
        let seen =
            format!("the kernel remembers at most {limit} neighbours, too few for {machines} that boot at once");
        let half = wanted / 2;
        let remedy = format!(
            "run `sysctl -w net.ipv4.neigh.default.gc_thresh3={wanted} net.ipv4.neigh.default.gc_thresh2={half}`, and \
             keep both in /etc/sysctl.d"
        );
        (seen, remedy)
    })
}

/// Makes room for every address of the network's pool and `named` nodes, or says how to.
pub(crate) fn make_room(network: &Resolved, named: usize) {
    let machines = machines(network, named);
    let Some((seen, remedy)) = lack(machines) else { return };
    match raise(Path::new(DIRECTORY), machines * ENTRIES_EACH) {
        Ok(()) => tracing::info!("the kernel remembers {} neighbours now", machines * ENTRIES_EACH),
        Err(error) => tracing::warn!("{seen}, and it cannot be changed ({error}): {remedy}"),
    }
}

/// How many machines the network can have.
pub(crate) fn machines(network: &Resolved, named: usize) -> u64 {
    let (first, last) = (network.pool.start().to_bits(), network.pool.end().to_bits());
    u64::from(last.saturating_sub(first)) + 1 + named as u64
}

fn limit(directory: &Path) -> Option<u64> {
    std::fs::read_to_string(directory.join("gc_thresh3")).ok()?.trim().parse().ok()
}

/// The hard limit first: the other, above which entries are forgotten soon, has to be below it.
fn raise(directory: &Path, entries: u64) -> std::io::Result<()> {
    std::fs::write(directory.join("gc_thresh3"), entries.to_string())?;
    std::fs::write(directory.join("gc_thresh2"), (entries / 2).to_string())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_limit_is_read_and_raised() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(limit(folder.path()), None);
        std::fs::write(folder.path().join("gc_thresh3"), "1024\n").expect("written");
        assert_eq!(limit(folder.path()), Some(1_024));
        raise(folder.path(), 4_000).expect("raised");
        assert_eq!(limit(folder.path()), Some(4_000));
        assert_eq!(std::fs::read_to_string(folder.path().join("gc_thresh2")).expect("there"), "2000");
    }

    #[test]
    fn every_address_of_the_pool_and_every_named_node_counts() {
        let pool = Ipv4Addr::new(10, 0, 0, 10)..=Ipv4Addr::new(10, 0, 0, 19);
        let network = Resolved { interface: "lo".to_owned(), address: Ipv4Addr::LOCALHOST, prefix: 8, pool };
        assert_eq!(machines(&network, 3), 13);
        assert_eq!(lack(1), None, "any machine has room for one");
    }
}
