//! `fledermaus user-data …`: what a node runs when it comes up, and the templates that nodes share.

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
    let shown = |path: &str, whose: &str| table::text(json, whose, &head.get_text(path)?);
    match command {
        UserData::List => list(head, json),
        UserData::Edit { node } => edit(head, node, &surroundings.editor, json),
        UserData::Set { node, file } => {
            put(head, node, &input::text(file, USER_DATA_LIMIT)?)?;
            said("user-data set", node, "this", json)
        }
        UserData::Show { node } => shown(&path(node), node.as_str()),
        UserData::History { node } => history(head, node, json),
        UserData::Diff { node, version } => {
            shown(&format!("{}/history/{version}/diff", path(node)), node.as_str())
        }
        UserData::Rollback { node, version } => {
            head.post(&format!("{}/history/{version}/restore", path(node)))?;
            said("user-data rollback", node, &format!("version {version}"), json)
        }
        UserData::Render { node } => shown(&format!("/v1/nodes/{node}/user-data"), node.as_str()),
    }
}

/// The text stays in its file when the head refuses it: nobody's work is lost.
fn edit(head: &Client, node: &Subject, command: &str, json: bool) -> anyhow::Result<()> {
    const ACTION: &str = "user-data edit";
    let before = match head.get_text(&path(node)) {
        // One that is not there yet begins empty.
        Err(ClientError::Refused { status: 404, .. }) if node.is_file() => String::new(),
        found => found?,
    };
    let (_, name) = node.as_str().rsplit_once('/').unwrap_or(("", node.as_str()));
    let draft = editor::Draft::new(name.trim_end_matches(".sh"), &before)?;
    let after = draft.edit(command)?;
    if after == before {
        return table::done(json, ACTION, &node.as_str(), &"nothing changed");
    }
    if let Err(error) = put(head, node, &after) {
        let kept = draft.keep()?;
        return Err(error.context(format!("not changed; your text is in {}", kept.display())));
    }
    said(ACTION, node, "this", json)
}

fn put(head: &Client, node: &Subject, template: &str) -> anyhow::Result<()> {
    if template.len() > USER_DATA_LIMIT {
        return Err(BadInput(format!("user data is larger than {USER_DATA_LIMIT} bytes")).into());
    }
    Ok(head.put(&path(node), template)?)
}

fn said(action: &str, node: &Subject, what: &str, json: bool) -> anyhow::Result<()> {
    let name = node.as_str();
    let message = if node.is_file() {
        format!("nodes that use {name} run {what} when they boot next")
    } else {
        format!("{name} runs {what} when it boots next; `fledermaus node reboot {name}` makes it now")
    };
    table::done(json, action, &name, &message)
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

fn path(node: &Subject) -> String {
    format!("/v1/user-data/{}", utf8_percent_encode(node.as_str(), NON_ALPHANUMERIC))
}
