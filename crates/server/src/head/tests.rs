//! A head that runs, for the tests of what speaks to it.

use std::path::Path;

use cluster::phase::Event;
use cluster::report::Health;
use cluster::view::WaitingView;

use super::news::Topic;
use super::*;
use crate::artefacts::Image;
use crate::config;

/// A head with the nodes `node1` and `node2`, whose keeper runs until the test ends; and its directory.
pub(crate) async fn head() -> (Head, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let head = head_in(folder.path()).await;
    (head, folder)
}

/// The same with its state in this directory.
pub(crate) async fn head_in(folder: &Path) -> Head {
    let text = "[network]\ninterface = \"lo\"\naddress = \"127.0.0.1/24\"\n\
                [[node]]\nname = \"node1\"\nmac = \"b8:27:eb:00:01:01\"\naddress = \"127.0.0.11\"\n\
                [[node]]\nname = \"node2\"\nmac = \"b8:27:eb:00:01:02\"\naddress = \"127.0.0.12\"\n";
    let file = folder.join("cluster.toml");
    std::fs::write(&file, text).expect("written");
    std::fs::create_dir_all(folder.join("user-data")).expect("a folder");
    std::fs::write(folder.join("user-data/default.sh"), "#!/bin/sh\necho {{ node.name }}\n")
        .expect("written");
    Image::write(&folder.join("image"), "first");
    let settings = config::parse(&file, text).expect("valid");
    let network = settings.network.on("lo".to_owned(), (Ipv4Addr::new(127, 0, 0, 1), 24));
    let store = Store::open(folder, &settings.store).await.expect("a store");
    let images = settings.images.open(&depot::Access::default(), folder).expect("images");
    let (head, keeper) = Head::new(settings, &network, images, store).await.expect("a head");
    tokio::spawn(keeper.keep());
    head
}

/// How many nodes of [`seed`] have booted.
pub(crate) const BOOTED: usize = 2;

/// Has both nodes boot: `node1` is further, and says these words of itself.
pub(crate) async fn seed(head: &Head, words: &str) {
    let words = words.to_owned();
    head.ask(move |state| {
        let other = Mac([0xb8, 0x27, 0xeb, 0, 1, 2]);
        for (mac, address, phases) in
            [(state::tests::MAC, state::tests::ADDRESS, 8), (other, Ipv4Addr::new(127, 0, 0, 12), 4)]
        {
            let token = state::tests::boot(state, mac, address);
            for phase in [Phase::Kernel, Phase::Initramfs] {
                state.now_ms += 900;
                state.transferred(mac, phase, Step::Started);
                state.now_ms += 1_800;
                state.transferred(mac, phase, Step::Done);
            }
            let own = Phase::ALL.into_iter().filter(|phase| *phase >= Phase::Hardware).take(phases);
            let mut events = Vec::new();
            for (place, phase) in own.enumerate() {
                let begin = 2_000 * place as u64;
                let line = |uptime_ms, step| Event { uptime_ms, phase, step, detail: String::new() };
                events.extend([line(begin, Step::Started), line(begin + 1_700, Step::Done)]);
            }
            if let Some(last) = events.last_mut().filter(|_| mac == state::tests::MAC) {
                last.detail = words.clone();
                last.step = Step::Failed;
            }
            let uptime_ms = 2_000 * phases as u64;
            state.now_ms += uptime_ms;
            let health = Health { model: words.clone(), temperature_mc: Some(48_300), ..Health::default() };
            let health =
                Health { storage_bytes: Some(14 << 30), storage_free_bytes: Some(9 << 30), ..health };
            let report = Report { uptime_ms, events, health: Some(health), ..Report::default() };
            state.report(&token, address, report).expect("its own token");
        }
    })
    .await;
}

/// A node's timeline has one more line.
pub(crate) async fn hostile_report(head: &Head, name: &str, words: &str) {
    let (name, words) = (name.to_owned(), words.to_owned());
    head.ask(move |state| {
        let mac = state.named(&name).expect("a node").kept.mac;
        state.note(mac, state.now_ms, Phase::System, Step::Started, words);
    })
    .await;
}

/// A machine waits for approval.
pub(crate) async fn let_wait(head: &Head, mac: Mac) {
    head.ask(move |state| {
        let now_ms = state.now_ms;
        state.waiting.insert(mac, WaitingView { mac, first_ms: now_ms, seen_ms: now_ms });
        state.unheard.topic(Topic::Nodes);
    })
    .await;
}

/// A node sends its logs, as it does once somebody asked for them.
pub(crate) async fn send_logs(head: &Head, name: &str, words: &str) {
    let (name, text) =
        (name.to_owned(), format!("==> /dev/kmsg <==\nLinux\n{words}\n\n==> dockerd <==\nready\n"));
    head.ask(move |state| {
        let (mac, now_ms) = (state.named(&name).expect("a node").kept.mac, state.now_ms);
        state.nodes.get_mut(&mac).expect("a node").keep_logs(now_ms, &text);
    })
    .await;
}
