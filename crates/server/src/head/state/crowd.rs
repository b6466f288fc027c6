//! Ten thousand nodes: how long lists take, and how much memory the head has. A measurement, not a check of what is right:
//! `cargo xtask bench nodes`.

use std::path::Path;
use std::time::Instant;

use cluster::Mac;
use cluster::phase::{Phase, Step};
use cluster::view::TimelineLine;

use super::listed::NodeWish;
use crate::config::Place;
use crate::head::node::Node;
use crate::head::tests::head_in;
use crate::store::{Store, Write};

/// Names the folder of a store that was filled: this process only measures.
const FILLED: &str = "FLEDERMAUS_FILLED";
/// Lines of a boot's timeline, as of real boots, and boots.
const LINES: usize = 30;
const BOOTS: u64 = 5;
/// Milliseconds since 1970; any will do.
const NOW_MS: u64 = 1_790_000_000_000;

async fn fill(folder: &Path, nodes: u32) {
    let mut store = Store::open(folder, &Place::File).await.expect("opens");
    for number in 0..nodes {
        let [_, a, b, c] = number.to_be_bytes();
        let mac = Mac([0xb8, 0x27, 0xeb, a + 0x10, b, c]);
        let mut node = Node::new(mac, format!("node-{number:05}").parse().expect("a name"));
        node.kept.boot = BOOTS;
        node.kept.boot_began_ms = Some(NOW_MS);
        node.kept.ready_at_ms = Some(NOW_MS + 40_000);
        node.kept.token_hash = Some(crate::access::hash(&number.to_string()));
        node.kept.wishes.insert("label.rack".to_owned(), format!("r{}", number % 100));
        let mut batch = vec![Write::Node(Box::new(node.kept))];
        for boot in 1..=BOOTS {
            for line in 0..LINES {
                let detail =
                    if line % 3 == 0 { "61 MB in 5.3 s, 11.5 MB/s".to_owned() } else { String::new() };
                let (at_ms, phase) = (NOW_MS + line as u64 * 900, Phase::ALL[line / 2]);
                let step = if line % 2 == 0 { Step::Started } else { Step::Done };
                batch.push(Write::Line(mac, TimelineLine { at_ms, boot, phase, step, detail }));
            }
        }
        store.write(&batch).await.expect("writes");
    }
}

fn resident_mib() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("proc");
    let pages: f64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4_096.0 / 1_048_576.0
}

async fn measure(folder: &Path, nodes: usize) {
    let begin = Instant::now();
    let head = head_in(folder).await;
    let listed = head.list(NodeWish::default()).await;
    assert!(listed.total >= nodes, "{} nodes", listed.total);
    println!("{nodes} nodes: answers {} ms after its start", begin.elapsed().as_millis());
    let wish = |q: &str, offset, limit| NodeWish {
        q: q.to_owned(),
        offset,
        limit: Some(limit),
        ..NodeWish::default()
    };
    for (what, wish) in [
        ("first page of 100", wish("", 0, 100)),
        ("last page of 100", wish("", nodes.saturating_sub(100), 100)),
        ("filter by name", wish("node-0999", 0, 100)),
        ("filter by label", wish("rack=r42", 0, 100)),
        ("filter that finds nothing", wish("nowhere", 0, 100)),
    ] {
        let mut times: Vec<u128> = Vec::new();
        for _ in 0..20 {
            let begin = Instant::now();
            let page = serde_json::to_vec(&head.list(wish.clone()).await).expect("JSON");
            assert!(!page.is_empty());
            times.push(begin.elapsed().as_micros());
        }
        times.sort_unstable();
        println!("{what}: median {} µs, slowest {} µs", times[10], times[19]);
    }
    let begin = Instant::now();
    let all = serde_json::to_vec(&head.nodes().await).expect("JSON");
    println!("all at once: {} ms, {} bytes", begin.elapsed().as_millis(), all.len());
    let begin = Instant::now();
    let detail = head.node("node-00005".to_owned()).await.expect("a node");
    println!("one node with {} lines: {} µs", detail.timeline.len(), begin.elapsed().as_micros());
    println!("memory: {:.1} MiB", resident_mib());
}

/// Fills a store in one process and measures in another, whose memory nobody else used.
#[tokio::test]
#[ignore = "a measurement: cargo xtask bench nodes"]
async fn ten_and_ten_thousand_nodes() {
    if let Some(folder) = std::env::var_os(FILLED) {
        let folder = std::path::PathBuf::from(folder);
        let nodes = folder.file_name().and_then(|name| name.to_str()?.parse().ok()).expect("a number");
        return measure(&folder, nodes).await;
    }
    let place = tempfile::tempdir().expect("a folder");
    for nodes in [10, 10_000] {
        let folder = place.path().join(nodes.to_string());
        std::fs::create_dir(&folder).expect("a folder");
        fill(&folder, nodes).await;
        let own = std::env::current_exe().expect("the test's program");
        let test = "head::state::crowd::ten_and_ten_thousand_nodes";
        let mut child = std::process::Command::new(own);
        child.args([test, "--exact", "--ignored", "--nocapture"]).env(FILLED, &folder);
        assert!(child.status().expect("runs").success());
    }
}
