//! `fledermaus backup` and `fledermaus restore`: a head's own things into one file, and out of it.

use anyhow::Context;
use server::backup::{self, Contents};

use crate::arguments::{Backup, Home, Restore};
use crate::table;

/// Writes a backup.
///
/// # Errors
/// What cannot be read or written.
pub(crate) fn take(arguments: &Backup, json: bool) -> anyhow::Result<()> {
    let out = &arguments.out;
    let contents = runtime()?.block_on(backup::take(&home(&arguments.home), out))?;
    if json {
        return table::json(&contents);
    }
    table::print(&format_args!(
        "{}: {}. Not in it: what else cluster.toml names (image, power hook, certificate). Whoever reads it has the swarm.",
        out.display(),
        told(&contents)
    ))
}

/// Puts a backup in the place of a head.
///
/// # Errors
/// What is in the way, or wrong with the backup.
pub(crate) fn restore(arguments: &Restore, json: bool) -> anyhow::Result<()> {
    let Home { config, state_dir } = &arguments.home;
    let contents = runtime()?.block_on(backup::restore(&home(&arguments.home), &arguments.backup))?;
    if json {
        return table::json(&contents);
    }
    let (config, state_dir) = (config.display(), state_dir.display());
    table::print(&format_args!("{config} and {state_dir} are as they were: {}", told(&contents)))?;
    table::print(&format_args!(
        "make the image again, and start the head; nodes that booted since reboot once"
    ))
}

fn told(contents: &Contents) -> String {
    let Contents { nodes, user_data_files, bytes } = contents;
    let count = |number: &u64, what: &str| format!("{number} {what}{}", if *number == 1 { "" } else { "s" });
    let nodes = count(nodes, "node");
    format!("{nodes}, {} of user data, {:.1} kB", count(user_data_files, "file"), *bytes as f64 / 1e3)
}

fn home(home: &Home) -> backup::Home {
    backup::Home { config: home.config.clone(), state_dir: home.state_dir.clone() }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")
}
