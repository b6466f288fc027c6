//! The swarm, its stacks and its rollout.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use cluster::NodeName;
use cluster::stack::StackWish;
use cluster::swarm::Rollout;
use cluster::view::RolloutWish;

use super::access::LogWish;
use super::failure;
use super::nodes::done;
use crate::access::Principal;
use crate::head::access::Refusal;
use crate::head::{Head, Steer};
use crate::store::archive::LINES_LIMIT;

pub(super) async fn show(State(head): State<Head>) -> Response {
    Json(head.swarm().await).into_response()
}

pub(super) async fn events(State(head): State<Head>, Query(wish): Query<LogWish>) -> Response {
    match head.swarm_events(wish.before, wish.limit.unwrap_or(LINES_LIMIT)).await {
        Ok(events) => Json(events).into_response(),
        Err(error) => {
            tracing::error!("reading the swarm's events: {error:#}");
            failure(StatusCode::INTERNAL_SERVER_ERROR, "the events cannot be read: see the head's log")
        }
    }
}

pub(super) async fn rollout(State(head): State<Head>) -> Response {
    match head.rollout().await {
        Some(rollout) => Json(rollout).into_response(),
        None => {
            failure(StatusCode::NOT_FOUND, "there was no rollout yet: `fledermaus rollout start` begins one")
        }
    }
}

pub(super) async fn begin_rollout(
    State(head): State<Head>,
    Extension(who): Extension<Principal>,
    wish: String,
) -> Response {
    match serde_json::from_str::<RolloutWish>(&wish) {
        Ok(wish) => rolled(head.begin_rollout(who, wish).await),
        Err(error) => failure(StatusCode::BAD_REQUEST, format!("this is no wish for a rollout: {error}")),
    }
}

pub(super) async fn stop_rollout(State(head): State<Head>, Extension(who): Extension<Principal>) -> Response {
    rolled(head.steer_rollout(who, Steer::Stop).await)
}

pub(super) async fn resume_rollout(
    State(head): State<Head>,
    Extension(who): Extension<Principal>,
) -> Response {
    rolled(head.steer_rollout(who, Steer::Resume).await)
}

pub(super) async fn take_rollout_back(
    State(head): State<Head>,
    Extension(who): Extension<Principal>,
) -> Response {
    rolled(head.steer_rollout(who, Steer::Back).await)
}

fn rolled(outcome: Result<Rollout, Refusal>) -> Response {
    outcome.map_or_else(IntoResponse::into_response, |rollout| Json(rollout).into_response())
}

pub(super) async fn put_stack(
    State(head): State<Head>,
    Extension(who): Extension<Principal>,
    Path(name): Path<String>,
    wish: String,
) -> Response {
    if name.parse::<NodeName>().is_err() {
        return failure(
            StatusCode::BAD_REQUEST,
            format!("{name:?} cannot name a stack: use lower-case letters, digits, dashes"),
        );
    }
    let wish = match serde_json::from_str::<StackWish>(&wish) {
        Ok(wish) => wish,
        // Without the parser's words: they quote what is there, and that may be a secret.
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            let sentence = format!("this is no wish for a stack: see line {line}, column {column}");
            return failure(StatusCode::BAD_REQUEST, sentence);
        }
    };
    match wish.check() {
        Ok(()) => done(head.put_stack(who, name, wish).await),
        Err(error) => failure(StatusCode::BAD_REQUEST, error.to_string()),
    }
}

pub(super) async fn stacks(State(head): State<Head>) -> Response {
    Json(head.stacks().await).into_response()
}

pub(super) async fn stack(State(head): State<Head>, Path(name): Path<String>) -> Response {
    match head.stacks().await.into_iter().find(|stack| stack.name == name) {
        Some(stack) => Json(stack).into_response(),
        None => failure(
            StatusCode::NOT_FOUND,
            format!("there is no stack {name:?}: `fledermaus stack list` shows all"),
        ),
    }
}

pub(super) async fn remove_stack(
    State(head): State<Head>,
    Extension(who): Extension<Principal>,
    Path(name): Path<String>,
) -> Response {
    done(head.remove_stack(who, name).await)
}
