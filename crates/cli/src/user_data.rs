//! `fledermaus user-data …`: what a node runs when it comes up.

use std::io::{Read, Write};
use std::path::Path;

use anyhow::Context;
use cluster::NodeName;
use cluster::view::UserDataVersion;
use server::client::Client;

use crate::arguments::UserData;
use crate::editor;
use crate::exit::BadInput;
use crate::surroundings::Surroundings;
use crate::table;

/// The longest template that is read, in bytes; the head has its own, smaller limit.
const TEMPLATE_LIMIT: u64 = 1 << 20;

/// Edits, sets or shows.
///
/// # Errors
/// What the head says of the template, or the editor's failure.
pub(crate) fn run(
    command: &UserData,
    head: &Client,
    surroundings: &Surroundings,
    json: bool,
) -> anyhow::Result<()> {
    match command {
        UserData::Edit { node } => edit(head, node, &surroundings.editor),
        UserData::Set { node, file } => put(head, node, &read(file)?),
        UserData::Show { node } => print(&head.get_text(&path(node))?),
        UserData::History { node } => history(head, node, json),
        UserData::Diff { node, version } => {
            print(&head.get_text(&format!("{}/history/{version}/diff", path(node)))?)
        }
        UserData::Rollback { node, version } => {
            head.post(&format!("{}/history/{version}/restore", path(node)))?;
            println!("{node} runs version {version} when it boots next");
            Ok(())
        }
        UserData::Render { node } => print(&head.get_text(&format!("/v1/nodes/{node}/user-data"))?),
    }
}

/// The text stays in its file when the head refuses it: nobody's work is lost.
fn edit(head: &Client, node: &NodeName, command: &str) -> anyhow::Result<()> {
    let before = head.get_text(&path(node))?;
    let draft = editor::Draft::new(node.as_str(), &before)?;
    let after = draft.edit(command)?;
    if after == before {
        println!("nothing changed");
        return Ok(());
    }
    if let Err(error) = put(head, node, &after) {
        let kept = draft.keep()?;
        return Err(error.context(format!("not changed; your text is in {}", kept.display())));
    }
    Ok(())
}

fn put(head: &Client, node: &NodeName, template: &str) -> anyhow::Result<()> {
    head.put(&path(node), template)?;
    println!("{node} runs this when it boots next; `fledermaus node reboot {node}` makes it now");
    Ok(())
}

fn history(head: &Client, node: &NodeName, json: bool) -> anyhow::Result<()> {
    let versions: Vec<UserDataVersion> = head.get(&format!("{}/history", path(node)))?;
    if json {
        return table::json(&versions);
    }
    let mut table = table::table(&["VERSION", "WHEN", "WHO", "FROM", "BYTES"]);
    for UserDataVersion { version, at_ms, who, from, bytes } in versions {
        table.add_row([version.to_string(), table::ago(at_ms), who, from, bytes.to_string()]);
    }
    table::print(&table)
}

fn print(text: &str) -> anyhow::Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn path(node: &NodeName) -> String {
    format!("/v1/user-data/{node}")
}

fn read(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().take(TEMPLATE_LIMIT).read_to_string(&mut text).context("reading standard input")?;
        return Ok(text);
    }
    let opened =
        std::fs::File::open(file).and_then(|opened| opened.take(TEMPLATE_LIMIT).read_to_string(&mut text));
    opened.map_err(|error| BadInput(format!("reading {}: {error}", file.display())))?;
    Ok(text)
}
