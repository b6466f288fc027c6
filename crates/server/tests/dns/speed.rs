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
    // It stays who it is: in the namespace of a plain user there is nobody else.
    dnsmasq.args([
        "--no-daemon",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--bind-interfaces",
        "--cache-size=10000",
    ]);
    dnsmasq.arg(format!("--listen-address={PEER}"));
    for (name, last) in &names {
        dnsmasq.arg(format!("--host-record={name}.cluster.test,10.78.0.{last}"));
    }
    let peer = Started::new(&mut dnsmasq);
    wait("dnsmasq", || {
        run("dig", &format!("@{PEER} +short +tries=1 +time=1 node7.cluster.test")).starts_with("10.")
    });
    let mut ours = Measured::default();
    let mut peers = Measured::default();
    for _ in 0..ROUNDS {
        for (server, id, measured) in [(HEAD, std::process::id(), &mut ours), (PEER, peer.id(), &mut peers)] {
            let before = cpu_ticks(id);
            let flags = format!("-s {server} -d {} -l {SECONDS} -q 200 -c 4", questions.display());
            let (queries, rate) = counted(&run("dnsperf", &flags));
            measured.rates.push(rate);
            measured.cpu_micros.push((cpu_ticks(id) - before) * 1e6 / TICKS_PER_SECOND / queries);
        }
    }
    println!("ours {ours:.2?}, dnsmasq {peers:.2?}");
    println!("ratio of the medians: {:.2}", median(&mut ours.rates) / median(&mut peers.rates));
}

/// One value for each round.
#[derive(Debug, Default)]
struct Measured {
    /// Queries per second.
    rates: Vec<f64>,
    /// Processor time for one query, in microseconds.
    cpu_micros: Vec<f64>,
}

/// What proc(5) counts processor time in, on all machines that we know.
const TICKS_PER_SECOND: f64 = 100.0;

/// How long a process has kept a processor busy.
fn cpu_ticks(id: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("a process");
    // Its name, in brackets, may have blanks; user and system time are the 12th and 13th word after it.
    let words = stat.rsplit_once(')').expect("a name").1.split_ascii_whitespace().skip(11).take(2);
    words.map(|ticks| ticks.parse::<f64>().expect("a number")).sum()
}

/// What dnsperf counted: queries in all and per second. Lost queries are no speed.
fn counted(said: &str) -> (f64, f64) {
    let value = |title: &str| {
        let line = said.lines().find(|line| line.trim_start().starts_with(title));
        let line = line.unwrap_or_else(|| panic!("no `{title}` in: {said}"));
        let value = line.split_ascii_whitespace().find_map(|word| word.parse::<f64>().ok());
        value.unwrap_or_else(|| panic!("no number in `{line}`"))
    };
    let (lost, sent) = (value("Queries lost:"), value("Queries sent:"));
    assert!(lost * 1_000.0 <= sent, "more than one in a thousand is lost: {said}");
    (sent, value("Queries per second:"))
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
