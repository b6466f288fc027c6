//! `cargo xtask bench ROW…`: fledermaus and the servers that people use today, in turn, under the same load, in one run.
//!
//! Needs root (network namespaces of its own, veth between), `make image`, and the peers' Debian packages; a program that
//! is missing is named. `image` is no server: see its module. Ratios travel between machines, absolute figures do not.

mod ground;
mod image;
mod rows;

use std::time::Duration;

use anyhow::{Context, bail};

use self::ground::Ground;
use self::rows::{Row, Subject};

/// The row that has nobody beside it.
const NODES: &str = "nodes";
/// How often each subject is measured; the median counts.
const ROUNDS: usize = 3;

/// What one run of one subject gave.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// In the row's unit.
    rate: f64,
    /// Processor time of the server for the row's amount of work, in seconds.
    cpu_seconds: f64,
    /// The most memory of the server, in MiB.
    memory_mib: f64,
}

/// The medians of one subject.
#[derive(Clone, Debug)]
struct Result {
    subject: &'static str,
    rate: f64,
    cpu_seconds: f64,
    memory_mib: f64,
}

/// Runs the rows that are named, or all. Prints a table, or JSON with `--json`.
///
/// # Errors
/// A row that there is not, a program that is missing, a server that does not start.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let json = arguments.iter().any(|argument| argument == "--json");
    let names: Vec<&String> = arguments.iter().filter(|argument| *argument != "--json").collect();
    let all = rows::all();
    let mut known: Vec<&str> = all.iter().map(|row| row.name).chain([image::NAME, NODES]).collect();
    known.dedup();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("there is no row `{unknown}`: write one of {}, or none for all", known.join(", "));
    }
    let is_wanted = |row: &str| names.is_empty() || names.iter().any(|name| *name == row);
    if is_wanted(image::NAME) {
        image::run(ROUNDS, json).context("row image")?;
    }
    if is_wanted(NODES) {
        crowd().context("row nodes")?;
    }
    let mut wanted = all.iter().filter(|row| is_wanted(row.name)).peekable();
    if !json && wanted.peek().is_some() {
        println!(
            "{:<22} {:<10} {:>12} {:>7}  {:<16} {:>10} {:>8}",
            "row", "server", "rate", "ratio", "unit", "CPU s", "MiB"
        );
    }
    for row in wanted {
        let results = measure(row).with_context(|| format!("row {}", row.title))?;
        if json { print_json(row, &results) } else { print(row, &results) }
    }
    Ok(())
}

/// Ten thousand nodes in the head's store. No peer: it prints what its test measures.
fn crowd() -> anyhow::Result<()> {
    let mut cargo = std::process::Command::new("cargo");
    cargo.args([
        "test",
        "--release",
        "-p",
        "server",
        "--lib",
        "ten_and_ten_thousand",
        "--",
        "--ignored",
        "--nocapture",
    ]);
    anyhow::ensure!(cargo.status().context("starting cargo")?.success(), "the measurement failed");
    Ok(())
}

/// By turns, so that whatever else the machine does meets all of them.
fn measure(row: &Row) -> anyhow::Result<Vec<Result>> {
    let mut samples: Vec<(&Subject, Vec<Sample>)> =
        row.subjects.iter().map(|subject| (subject, Vec::new())).collect();
    for _ in 0..ROUNDS {
        for (subject, taken) in &mut samples {
            taken.push(sample(row, subject).with_context(|| subject.name.to_owned())?);
        }
    }
    Ok(samples.into_iter().map(|(subject, taken)| medians(subject.name, &taken)).collect())
}

fn sample(row: &Row, subject: &Subject) -> anyhow::Result<Sample> {
    let ground = Ground::new()?;
    (subject.prepare)(&ground)?;
    let server = ground.serve(&(subject.command)(&ground))?;
    ground.wait_until(Duration::from_secs(20), || (row.answers)(&ground, subject))?;
    let before = server.cpu_seconds();
    let (rate, amount) = (row.load)(&ground, subject)?;
    let cpu_seconds = (server.cpu_seconds() - before) / amount.max(f64::MIN_POSITIVE);
    Ok(Sample { rate, cpu_seconds, memory_mib: server.memory_mib() })
}

fn medians(subject: &'static str, samples: &[Sample]) -> Result {
    let median = |of: fn(&Sample) -> f64| {
        let mut all: Vec<f64> = samples.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or_default()
    };
    Result {
        subject,
        rate: median(|sample| sample.rate),
        cpu_seconds: median(|sample| sample.cpu_seconds),
        memory_mib: median(|sample| sample.memory_mib),
    }
}

/// Ours, which is first, divided by the best peer.
fn ratio(results: &[Result]) -> f64 {
    let best = results.iter().skip(1).map(|peer| peer.rate).fold(0.0, f64::max);
    results.first().map_or(0.0, |ours| ours.rate / best)
}

fn print(row: &Row, results: &[Result]) {
    for (place, Result { subject, rate, cpu_seconds, memory_mib }) in results.iter().enumerate() {
        let (title, ratio) =
            if place == 0 { (row.title, format!("{:.2}", ratio(results))) } else { ("", String::new()) };
        let (of_rate, of_seconds) = (decimals(*rate), decimals(*cpu_seconds));
        println!(
            "{title:<22} {subject:<10} {rate:>12.of_rate$} {ratio:>7}  {:<16} {cpu_seconds:>10.of_seconds$} {memory_mib:>8.1}",
            row.unit
        );
    }
    println!("{:<22} CPU seconds are for {}", "", row.work);
}

/// So many that there are three digits that count.
fn decimals(value: f64) -> usize {
    match value {
        ..1.0 => 3,
        ..10.0 => 2,
        _ => 1,
    }
}

fn print_json(row: &Row, results: &[Result]) {
    for result in results {
        let Result { subject, rate, cpu_seconds, memory_mib } = result;
        println!(
            "{{\"row\":\"{}\",\"server\":\"{subject}\",\"rate\":{rate:.3},\"unit\":\"{}\",\"ratio\":{:.3},\"cpu_seconds\":{cpu_seconds:.3},\"per\":\"{}\",\"memory_mib\":{memory_mib:.1}}}",
            row.title,
            row.unit,
            ratio(results),
            row.work
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_peer_counts_and_the_median_of_the_rounds() {
        let sample = |rate| Sample { rate, cpu_seconds: 1.0, memory_mib: 2.0 };
        let ours = medians("ours", &[sample(30.0), sample(10.0), sample(20.0)]);
        let peers = [5.0, 40.0].map(|rate| medians("peer", &[sample(rate)]));
        let all = [vec![ours], peers.to_vec()].concat();
        assert!((ratio(&all) - 0.5).abs() < 1e-9);
    }
}
