//! Changing the inventory: approving, setting and forgetting nodes, applying and exporting cluster.toml.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use cluster::Mac;
use cluster::view::NodeSet;
use serde::Deserialize;

use super::access::read;
use super::nodes::done;
use super::{Desk, failure};
use crate::access::Principal;
use crate::config;
use crate::head::Head;

pub(super) async fn set(
    State(head): State<Head>,
    Extension(who): Extension<Principal>,
    Path(name): Path<String>,
    body: String,
) -> Response {
    let wish: NodeSet = match read(&body) {
        Ok(wish) => wish,
        Err(refusal) => return refusal.into_response(),
    };
    match head.set_node(who, name, wish.set).await {
        Ok(changes) => Json(changes).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

pub(super) async fn forget(
    State(head): State<Head>,
    Extension(who): Extension<Principal>,
    Path(name): Path<String>,
) -> Response {
    done(head.forget(who, name).await)
}

pub(super) async fn waiting(State(head): State<Head>) -> Response {
    Json(head.waiting().await).into_response()
}

pub(super) async fn approve(
    State(head): State<Head>,
    Extension(who): Extension<Principal>,
    Path(mac): Path<String>,
) -> Response {
    match mac.parse::<Mac>() {
        Ok(mac) => done(head.approve(who, mac).await),
        Err(error) => failure(StatusCode::BAD_REQUEST, error.to_string()),
    }
}

/// Whether the file is only to be looked at.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApplyWish {
    #[serde(default)]
    dry_run: bool,
}

pub(super) async fn apply(
    State(desk): State<Desk>,
    Extension(who): Extension<Principal>,
    Query(wish): Query<ApplyWish>,
) -> Response {
    let options = desk.options.clone();
    let settings = match tokio::task::spawn_blocking(move || options.settings()).await {
        Ok(Ok((settings, _))) => settings,
        // The mistakes with their lines.
        Ok(Err(error)) => return failure(StatusCode::BAD_REQUEST, format!("{error:#}")),
        Err(error) => return failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    let Ok(turn) = desk.opening.clone().acquire_owned().await else {
        return failure(StatusCode::SERVICE_UNAVAILABLE, "the head is going down");
    };
    let images = match desk.options.images(&settings, turn).await {
        Ok(images) => images,
        Err(error) => return failure(StatusCode::BAD_REQUEST, format!("{error:#}")),
    };
    match desk.head.apply(who, settings, images, wish.dry_run).await {
        Ok(view) => Json(view).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

pub(super) async fn images(State(head): State<Head>) -> Response {
    Json(head.image_views().await).into_response()
}

pub(super) async fn export(State(desk): State<Desk>) -> Response {
    let nodes = desk.head.export().await;
    let file = &desk.options.config;
    let written = match std::fs::read_to_string(file) {
        Ok(text) => with_nodes(&text, &nodes),
        Err(error) => {
            let text = format!("reading {}: {error}", file.display());
            return failure(StatusCode::INTERNAL_SERVER_ERROR, text);
        }
    };
    match config::parse(file, &written) {
        Ok(_) => written.into_response(),
        Err(mistakes) => {
            failure(StatusCode::CONFLICT, format!("what would be written is not valid: {mistakes}"))
        }
    }
}

/// A configuration with other nodes: its `[[node]]` tables, which end where another table begins, give way to these.
fn with_nodes(text: &str, nodes: &str) -> String {
    let mut kept = String::new();
    let mut in_node = false;
    for line in text.lines() {
        let start = line.trim_start();
        if start.starts_with('[') {
            in_node = start.starts_with("[[node]]") || start.starts_with("[node.");
        }
        if !in_node {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    format!("{}\n\n{nodes}", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_tables_give_way_and_the_rest_stays() {
        let text = "# mine\nname = \"a\"\n[[node]]\nname = \"x\"\n# of x\n[swarm] # more\nmanagers = 3\n[[node]]\nmac = \"m\"\n";
        let new = with_nodes(text, "[[node]]\nname = \"y\"\n");
        assert_eq!(new, "# mine\nname = \"a\"\n[swarm] # more\nmanagers = 3\n\n[[node]]\nname = \"y\"\n");
    }
}
