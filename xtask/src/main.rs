//! The caretaker: `cargo xtask tidy` checks the house rules that a machine can check.
//!
//! Prints `file:line: rule` for each breach and ends with 1 if there is one. Changes nothing.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Context;

mod arrows;
mod rules;

fn main() -> ExitCode {
    let task = std::env::args().nth(1);
    let result = match task.as_deref() {
        Some("tidy") => tidy(),
        _ => Err(anyhow::anyhow!("usage: cargo xtask tidy")),
    };
    match result {
        Ok(0) => ExitCode::SUCCESS,
        Ok(count) => {
            eprintln!("tidy: {count} to mend");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// One breach of a rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    line: usize,
    rule: String,
}

/// Checks every file that git knows or would take.
fn tidy() -> anyhow::Result<usize> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("finding the repository")?;
    let mut count = 0;
    for path in files(root)? {
        // Binary files, and files that git knows and somebody has just deleted.
        let Ok(text) = std::fs::read_to_string(root.join(&path)) else { continue };
        for finding in rules::check(&path, &text).into_iter().chain(arrows::check(&path, &text)?) {
            println!("{path}:{}: {}", finding.line, finding.rule);
            count += 1;
        }
    }
    Ok(count)
}

fn files(root: &Path) -> anyhow::Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("starting git")?;
    anyhow::ensure!(output.status.success(), "listing files: {}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8(output.stdout).context("reading the list of files")?;
    Ok(listed.lines().map(str::to_owned).collect())
}
