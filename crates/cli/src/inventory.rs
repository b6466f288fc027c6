//! What is wished of nodes: approving, naming, setting and forgetting them; cluster.toml applied and written back.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use cluster::view::{ApplyView, NodeChange, NodeSet, WaitingView};
use cluster::{Mac, NodeName};
use server::client::{APPLY_PATIENCE, Client};

use crate::arguments::{Apply, Export};
use crate::exit::BadInput;
use crate::table;

/// For how long the command line waits without a word.
const SILENCE: Duration = Duration::from_secs(3);

/// Lists who waits for approval.
///
/// # Errors
/// What the head says.
pub(crate) fn waiting(head: &Client, json: bool) -> anyhow::Result<()> {
    let waiting: Vec<WaitingView> = head.get("/v1/waiting")?;
    if json {
        return table::json(&waiting);
    }
    let mut table = table::table(&["MAC", "FIRST HEARD", "LAST HEARD"]);
    for WaitingView { mac, first_ms, seen_ms } in waiting {
        table.add_row([mac.to_string(), table::ago(first_ms), table::ago(seen_ms)]);
    }
    table::print(&table)
}

/// Makes a machine a node.
///
/// # Errors
/// What the head says.
pub(crate) fn approve(head: &Client, mac: Mac, json: bool) -> anyhow::Result<()> {
    head.post(&format!("/v1/waiting/{mac}/approve"))?;
    let message = format_args!("{mac} is a node: it gets an address when it asks next");
    table::done(json, "node approve", &mac, &message)
}

/// Forgets a node.
///
/// # Errors
/// What the head says.
pub(crate) fn forget(head: &Client, node: &NodeName, json: bool) -> anyhow::Result<()> {
    head.delete(&format!("/v1/nodes/{node}"))?;
    table::done(json, "node forget", node, &format_args!("{node} is forgotten"))
}

/// Reads `KEY=VALUE` and `KEY-`.
///
/// # Errors
/// [`BadInput`]: a word is neither.
pub(crate) fn wishes(words: &[String], prefix: &str) -> anyhow::Result<BTreeMap<String, Option<String>>> {
    let wish = |word: &String| match (word.split_once('='), word.strip_suffix('-')) {
        (Some((key, text)), _) if !key.is_empty() => Ok((format!("{prefix}{key}"), Some(text.to_owned()))),
        (None, Some(key)) if !key.is_empty() => Ok((format!("{prefix}{key}"), None)),
        _ => Err(BadInput(format!("`{word}` is no wish: write KEY=VALUE, or KEY- to take it back")).into()),
    };
    words.iter().map(wish).collect()
}

/// Sets what is wished of a node, and tells what changed.
///
/// # Errors
/// What the head says.
pub(crate) fn set(
    head: &Client,
    node: &NodeName,
    set: BTreeMap<String, Option<String>>,
    json: bool,
) -> anyhow::Result<()> {
    let changes: Vec<NodeChange> = head.ask_by("PATCH", &format!("/v1/nodes/{node}"), &NodeSet { set })?;
    if json {
        return table::json(&changes);
    }
    show(&changes)?;
    if changes.iter().any(|change| {
        ["name", "address", "group", "wipe", "keep", "root", "user_data", "image"]
            .contains(&change.key.as_str())
    }) {
        eprintln!("a node that runs has this when it boots next: `fledermaus node reboot {node}`");
    }
    Ok(())
}

/// Applies cluster.toml.
///
/// # Errors
/// The file's mistakes, or what the head says.
pub(crate) fn apply(wish: &Apply, head: &Client, json: bool) -> anyhow::Result<()> {
    let view = waiting_aloud(|| {
        let head = head.with_patience(APPLY_PATIENCE);
        head.ask::<ApplyView>(&format!("/v1/apply?dry_run={}", wish.dry_run), &())
    })?;
    if json {
        return table::json(&view);
    }
    show(&view.changes)?;
    if !view.restart.is_empty() {
        eprintln!("{} changed too, and is read when the head starts: restart it", view.restart.join(", "));
    }
    Ok(())
}

/// Does it, and says why it takes so long if it does.
fn waiting_aloud<T>(ask: impl FnOnce() -> T) -> T {
    let (answered, waits) = mpsc::channel::<()>();
    let aloud = thread::spawn(move || {
        if waits.recv_timeout(SILENCE) == Err(RecvTimeoutError::Timeout) {
            eprintln!("waiting: the head reads all images, and fetches those that are new in a store");
        }
    });
    let answer = ask();
    drop(answered);
    let _ = aloud.join();
    answer
}

/// Prints or writes cluster.toml as it would be now.
///
/// # Errors
/// What the head says, or the file cannot be written.
pub(crate) fn export(wish: &Export, head: &Client, json: bool) -> anyhow::Result<()> {
    let text = head.get_text("/v1/export")?;
    let Some(file) = &wish.out else { return table::text(json, "cluster.toml", &text) };
    let name = file.display();
    std::fs::write(file, text).with_context(|| format!("writing {name}"))?;
    if json { table::done(json, "export", &name, &format_args!("{name} is written")) } else { Ok(()) }
}

fn show(changes: &[NodeChange]) -> anyhow::Result<()> {
    if changes.is_empty() {
        return table::print(&"nothing changes");
    }
    let mut table = table::table(&["NODE", "KEY", "WAS", "IS"]);
    for NodeChange { node, key, from, to } in changes {
        let word = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        table.add_row([node.clone(), key.clone(), word(from), word(to)]);
    }
    table::print(&table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_set_and_taken_back() {
        let words = ["rack=a=b".to_owned(), "old-".to_owned()];
        let read = wishes(&words, "label.").expect("wishes");
        assert_eq!(read["label.rack"].as_deref(), Some("a=b"));
        assert_eq!(read["label.old"], None);
        for wrong in ["rack", "=x", "-"] {
            assert!(wishes(&[wrong.to_owned()], "").is_err(), "{wrong}");
        }
    }
}
