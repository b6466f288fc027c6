//! `fledermaus user-data …`: what a node runs when it comes up, and the templates that nodes share.

use std::io::Write;

use cluster::view::{TemplateView, UserDataVersion};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use server::USER_DATA_LIMIT;
use server::client::{Client, ClientError};

use crate::arguments::{Subject, UserData};
use crate::exit::BadInput;
use crate::surroundings::Surroundings;
use crate::{editor, input, table};

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
        UserData::List => list(head, json),
        UserData::Edit { node } => edit(head, node, &surroundings.editor),
        UserData::Set { node, file } => put(head, node, &input::text(file, USER_DATA_LIMIT)?),
        UserData::Show { node } => print(&head.get_text(&path(node))?),
        UserData::History { node } => history(head, node, json),
        UserData::Diff { node, version } => {
            print(&head.get_text(&format!("{}/history/{version}/diff", path(node)))?)
        }
        UserData::Rollback { node, version } => {
            head.post(&format!("{}/history/{version}/restore", path(node)))?;
            said(node, &format!("version {version}"));
            Ok(())
        }
        UserData::Render { node } => print(&head.get_text(&format!("/v1/nodes/{node}/user-data"))?),
    }
}

/// The text stays in its file when the head refuses it: nobody's work is lost.
fn edit(head: &Client, node: &Subject, command: &str) -> anyhow::Result<()> {
    let before = match head.get_text(&path(node)) {
        // One that is not there yet begins empty.
        Err(ClientError::Refused { status: 404, .. }) if node.is_file() => String::new(),
        found => found?,
    };
    let (_, name) = node.as_str().rsplit_once('/').unwrap_or(("", node.as_str()));
    let draft = editor::Draft::new(name.trim_end_matches(".sh"), &before)?;
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

fn put(head: &Client, node: &Subject, template: &str) -> anyhow::Result<()> {
    if template.len() > USER_DATA_LIMIT {
        return Err(BadInput(format!("user data is larger than {USER_DATA_LIMIT} bytes")).into());
    }
    head.put(&path(node), template)?;
    said(node, "this");
    Ok(())
}

fn said(node: &Subject, what: &str) {
    let name = node.as_str();
    if node.is_file() {
        println!("nodes that use {name} run {what} when they boot next");
    } else {
        println!("{name} runs {what} when it boots next; `fledermaus node reboot {name}` makes it now");
    }
}

fn list(head: &Client, json: bool) -> anyhow::Result<()> {
    let templates: Vec<TemplateView> = head.get("/v1/user-data")?;
    if json {
        return table::json(&templates);
    }
    let mut table = table::table(&["FILE", "BYTES", "NODES"]);
    for TemplateView { name, bytes, nodes, own } in templates {
        let nodes = if own && nodes == 1 { "its own".to_owned() } else { nodes.to_string() };
        table.add_row([name, bytes.to_string(), nodes]);
    }
    table::print(&table)
}

fn history(head: &Client, node: &Subject, json: bool) -> anyhow::Result<()> {
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

fn path(node: &Subject) -> String {
    format!("/v1/user-data/{}", utf8_percent_encode(node.as_str(), NON_ALPHANUMERIC))
}
