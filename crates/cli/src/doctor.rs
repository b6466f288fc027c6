//! `fledermaus doctor`: what would keep a head from serving, and what to do about it.

use std::io::IsTerminal;

use anyhow::{Context, bail};
use server::doctor::{Finding, Verdict, examine};

use crate::arguments::Serve;
use crate::surroundings::Surroundings;
use crate::table;

/// Looks at everything and prints it.
///
/// # Errors
/// Something is bad.
pub(crate) fn run(arguments: &Serve, surroundings: &Surroundings, json: bool) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    if !json && std::io::stderr().is_terminal() {
        eprintln!("looking; other DHCP servers are given four seconds to answer");
    }
    let mut findings = Vec::new();
    let mut printed = Ok(());
    runtime.block_on(examine(&arguments.options(&surroundings.access), |finding| {
        if !json && printed.is_ok() {
            printed = print(&finding);
        }
        findings.push(finding);
    }));
    printed?;
    if json {
        table::json(&findings)?;
    }
    match findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count() {
        0 => Ok(()),
        1 => bail!("one thing keeps a head from serving here"),
        bad => bail!("{bad} things keep a head from serving here"),
    }
}

/// One finding, and what to do beneath it.
fn print(finding: &Finding) -> anyhow::Result<()> {
    let (word, color) = match finding.verdict {
        Verdict::Good => ("good", "32"),
        Verdict::Doubtful => ("hm", "33"),
        Verdict::Bad => ("bad", "31"),
    };
    let word = format!("{word:<5}");
    let word = if std::io::stdout().is_terminal() { format!("\x1b[{color}m{word}\x1b[0m") } else { word };
    table::print(&format_args!(
        "{word} {:<19} {}",
        finding.check,
        finding.seen.replace('\n', "\n                          ")
    ))?;
    if !finding.remedy.is_empty() {
        table::print(&format_args!("{:25} → {}", "", finding.remedy))?;
    }
    Ok(())
}
