//! Nodes, and what else is on their wire.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use cluster::view::PowerDeed;
use serde::Deserialize;

use super::failure;
use crate::access::Principal;
use crate::head::{Head, NoLogs, NodeWish};

/// How many boots are given unless a number is named.
const BOOTS: usize = 100;

pub(super) async fn list(State(head): State<Head>) -> Response {
    Json(head.nodes().await).into_response()
}

pub(super) async fn page(State(head): State<Head>, Query(wish): Query<NodeWish>) -> Response {
    Json(head.list(wish).await).into_response()
}

/// How many boots are wished for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BootWish {
    limit: Option<usize>,
}

pub(super) async fn boots(State(head): State<Head>, Query(wish): Query<BootWish>) -> Response {
    Json(head.boots(wish.limit.unwrap_or(BOOTS)).await).into_response()
}

pub(super) async fn leases(State(head): State<Head>) -> Response {
    Json(head.leases().await).into_response()
}

pub(super) async fn one(State(head): State<Head>, Path(name): Path<String>) -> Response {
    match head.node(name.clone()).await {
        Some(detail) => Json(detail).into_response(),
        None => no_node(&name),
    }
}

/// For who may write: logs tell more of a node than its state.
pub(super) async fn logs(State(head): State<Head>, Path(name): Path<String>) -> Response {
    match head.logs(name.clone()).await {
        None => no_node(&name),
        Some(Ok(logs)) => Json(logs).into_response(),
        Some(Err(NoLogs)) => {
            failure(StatusCode::GATEWAY_TIMEOUT, format!("{name} sends no logs: its agent does not answer"))
        }
    }
}

pub(super) async fn reboot(
    State(head): State<Head>,
    Extension(who): Extension<Principal>,
    Path(name): Path<String>,
) -> Response {
    done(head.reboot(who, name).await)
}

pub(super) async fn power(
    State(head): State<Head>,
    Extension(who): Extension<Principal>,
    Path((name, deed)): Path<(String, String)>,
) -> Response {
    match deed.parse::<PowerDeed>() {
        Ok(deed) => done(head.power(who, name, deed).await),
        Err(error) => failure(StatusCode::BAD_REQUEST, format!("`{deed}` is {error}")),
    }
}

pub(super) async fn rivals(State(head): State<Head>) -> Response {
    Json(head.rivals().await).into_response()
}

/// The answer to a wish that is granted and takes its time, or is refused.
pub(super) fn done<E: IntoResponse>(outcome: Result<(), E>) -> Response {
    outcome.map_or_else(IntoResponse::into_response, |()| StatusCode::ACCEPTED.into_response())
}

pub(super) fn no_node(name: &str) -> Response {
    failure(StatusCode::NOT_FOUND, format!("there is no node {name:?}: `fledermaus node list` shows all"))
}
