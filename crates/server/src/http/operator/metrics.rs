//! `/metrics` in Prometheus' text format (version 0.0.4).

use std::fmt::{Display, Write};

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::head::Head;
use crate::head::measured::Measures;

const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn show(State(head): State<Head>) -> Response {
    ([(header::CONTENT_TYPE, KIND)], text(&head.measure().await)).into_response()
}

/// The page: metrics with one value, then those of each node.
fn text(measures: &Measures) -> String {
    let mut page = String::new();
    let mut family = |name: &str, help: &str, samples: &[(String, f64)]| {
        if samples.is_empty() {
            return;
        }
        // Writing to a string cannot fail.
        let _ = writeln!(page, "# HELP fledermaus_{name} {help}\n# TYPE fledermaus_{name} gauge");
        for (labels, value) in samples {
            let _ = writeln!(page, "fledermaus_{name}{labels} {value}");
        }
    };
    let version = label("version", env!("CARGO_PKG_VERSION"));
    family("build_info", "The head's version.", &[(version, 1.0)]);
    let states: Vec<_> =
        measures.states.iter().map(|(state, count)| (label("state", state), *count as f64)).collect();
    family("nodes", "Nodes by how they are.", &states);
    for (name, help, value) in [
        ("leases", "Addresses that are given.", measures.leases),
        ("rival_dhcp_servers", "Other DHCP servers on the wire.", measures.rivals),
        ("swarm_members", "Entries of the swarm.", measures.members),
        ("swarm_members_ready", "Entries that the managers see as ready.", measures.ready),
        ("swarm_held", "Reasons for which something is held back.", measures.held),
        ("rollout_running", "Whether a rollout goes on.", measures.rollouts),
        ("waiting_machines", "Machines that wait for approval.", measures.waiting),
    ] {
        family(name, help, &[(String::new(), value as f64)]);
    }
    for (name, help, samples) in [
        ("node_last_seen_seconds", "When the node was last heard, since 1970.", &measures.heard),
        ("node_boot_seconds", "How long the newest boot took to Ready.", &measures.boots),
        ("node_temperature_celsius", "The processor's temperature.", &measures.temperatures),
    ] {
        let samples: Vec<_> = samples.iter().map(|(node, value)| (label("node", node), *value)).collect();
        family(name, help, &samples);
    }
    if let Some(bytes) = resident_bytes() {
        family("head_resident_bytes", "The head's memory.", &[(String::new(), bytes as f64)]);
    }
    page
}

/// One label; its value is ours or a node's name, and quoted all the same.
fn label(name: &str, value: impl Display) -> String {
    let value = value.to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{{{name}=\"{value}\"}}")
}

/// The pages of memory that this program has, as proc(5) tells them.
fn resident_bytes() -> Option<u64> {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse().ok()?;
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    Some(pages * u64::try_from(size).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::tests::{head, seed};

    #[tokio::test]
    async fn every_line_is_one_that_prometheus_reads() {
        let (head, _folder) = head().await;
        seed(&head, "\"} 1\nhacked 1\n").await;
        let page = text(&head.measure().await);
        let mut samples = 0;
        for line in page.lines() {
            if line.starts_with("# HELP fledermaus_") || line.ends_with(" gauge") {
                continue;
            }
            let (name, value) = line.rsplit_once(' ').expect(line);
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let bare = name.split('{').next().expect(line);
            assert!(
                bare.starts_with("fledermaus_")
                    && bare.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase())
            );
            assert!(name == bare || name.ends_with("\"}"), "{line}");
            samples += 1;
        }
        assert!(samples > 15, "{page}");
        for line in [
            "fledermaus_nodes{state=\"failed\"} 1",
            "fledermaus_nodes{state=\"booting\"} 1",
            "fledermaus_leases 2",
            "fledermaus_node_temperature_celsius{node=\"node1\"} 48.3",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} in\n{page}");
        }
        assert_eq!(label("a", "x\"\\\n"), "{a=\"x\\\"\\\\\\n\"}");
    }
}
