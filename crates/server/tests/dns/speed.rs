//! Queries per second, ours and dnsmasq's, of the same names, in one run: a measurement, not a check.

use std::process::Command;

use crate::room::{HEAD, Room, Started, is_outside, run, wait};

/// Where the other server listens.
const PEER: &str = "127.0.0.54";
/// How often each is measured, in turn, and for how many seconds.
const ROUNDS: usize = 3;
const SECONDS: usize = 4;
const NODES: u8 = 80;

/// `cargo test -p server --test dns -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn dnsperf_asks_ours_and_dnsmasq() {
    if is_outside("speed::dnsperf_asks_ours_and_dnsmasq") {
        return;
    }
    let names: Vec<(String, u8)> = (0..NODES).map(|number| (format!("node{number}"), 11 + number)).collect();
    let nodes: Vec<(&str, u8)> = names.iter().map(|(name, last)| (name.as_str(), *last)).collect();
    let room = Room::furnish(&nodes);
    let questions = room.folder().join("questions");
    let text: String = names.iter().map(|(name, _)| format!("{name}.cluster.test A\n")).collect();
    std::fs::write(&questions, text).expect("a file");
    let mut dnsmasq = Command::new("dnsmasq");
    dnsmasq.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--user=root",
    ]);
    dnsmasq.args(["--group=root", "--pid-file=", "--bind-interfaces", "--cache-size=10000"]);
    dnsmasq.arg(format!("--listen-address={PEER}"));
    for (name, last) in &names {
        dnsmasq.arg(format!("--host-record={name}.cluster.test,10.78.0.{last}"));
    }
    let _peer = Started::new(&mut dnsmasq);
    wait("dnsmasq", || {
        run("dig", &format!("@{PEER} +short +tries=1 +time=1 node7.cluster.test")).starts_with("10.")
    });
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (server, rates) in [(HEAD, &mut ours), (PEER, &mut peers)] {
            let said =
                run("dnsperf", &format!("-s {server} -d {} -l {SECONDS} -q 200 -c 4", questions.display()));
            rates.push(rate(&said));
        }
    }
    println!("queries per second: ours {ours:?}, dnsmasq {peers:?}");
    println!("ratio of the medians: {:.2}", median(&mut ours) / median(&mut peers));
}

/// What dnsperf counted. Lost queries are no speed.
fn rate(said: &str) -> f64 {
    let value = |title: &str| {
        let line = said.lines().find(|line| line.trim_start().starts_with(title));
        let line = line.unwrap_or_else(|| panic!("no `{title}` in: {said}"));
        let value = line.split_ascii_whitespace().find_map(|word| word.parse::<f64>().ok());
        value.unwrap_or_else(|| panic!("no number in `{line}`"))
    };
    let (lost, sent) = (value("Queries lost:"), value("Queries sent:"));
    assert!(lost * 1_000.0 <= sent, "more than one in a thousand is lost: {said}");
    value("Queries per second:")
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
