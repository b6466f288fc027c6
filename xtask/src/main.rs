//! The caretaker: `cargo xtask tidy` checks the house rules that a machine can check, `cargo xtask bench` measures,
//! `cargo xtask buildroot` asks Buildroot about `buildroot/`.
//!
//! `tidy` prints `file:line: rule` for each breach and ends with 1 if there is one. Changes nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context;

mod arrows;
mod bench;
mod buildroot;
mod deb;
mod dist;
mod rules;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.split_first() {
        Some((task, [])) if task == "tidy" => tidy(),
        Some((task, rows)) if task == "bench" => bench::run(rows).map(|()| 0),
        Some((task, [])) if task == "buildroot" => root().and_then(|root| buildroot::run(&root)),
        Some((task, architectures)) if task == "dist" => {
            root().and_then(|root| dist::run(&root, architectures)).map(|()| 0)
        }
        _ => Err(anyhow::anyhow!(
            "usage: cargo xtask tidy | buildroot | bench [ROW…] [--json] | dist [amd64|arm64…]"
        )),
    };
    match result {
        Ok(0) => ExitCode::SUCCESS,
        Ok(count) => {
            eprintln!("{count} to mend");
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
    let root = root()?;
    let mut count = 0;
    for path in files(&root)? {
        // Binary files, and files that git knows and somebody has just deleted.
        let Ok(text) = std::fs::read_to_string(root.join(&path)) else { continue };
        for finding in rules::check(&path, &text).into_iter().chain(arrows::check(&path, &text)?) {
            println!("{path}:{}: {}", finding.line, finding.rule);
            count += 1;
        }
    }
    Ok(count)
}

/// The repository of the folder we were started in. Not the one we were built in: a build cache outlives a clone.
fn root() -> anyhow::Result<PathBuf> {
    Ok(PathBuf::from(git(Path::new("."), &["rev-parse", "--show-toplevel"])?.trim_end()))
}

fn files(root: &Path) -> anyhow::Result<Vec<String>> {
    let listed = git(root, &["ls-files", "--cached", "--others", "--exclude-standard"])?;
    Ok(listed.lines().map(str::to_owned).collect())
}

fn git(folder: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("git").args(arguments).current_dir(folder).output().context("starting git")?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "git {}: {said}", arguments.join(" "));
    String::from_utf8(output.stdout).context("reading what git says")
}
