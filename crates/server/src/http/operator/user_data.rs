//! User data for operators: templates, what a node would get, and what was before.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};

use super::nodes::no_node;
use super::{Desk, failure};
use crate::access::Principal;
use crate::head::{Head, UserData};
use crate::user_data;
use crate::user_data::diff::diff;

pub(super) async fn template(State(head): State<Head>, Path(name): Path<String>) -> Response {
    with_user_data(&head, &name, |wanted| user_data::read(&wanted.file)).await
}

pub(super) async fn rendered(State(head): State<Head>, Path(name): Path<String>) -> Response {
    with_user_data(&head, &name, UserData::rendered).await
}

pub(super) async fn preview(State(head): State<Head>, Path(name): Path<String>, text: String) -> Response {
    with_user_data(&head, &name, |wanted| wanted.render(&text)).await
}

pub(super) async fn set(
    State(desk): State<Desk>,
    Extension(who): Extension<Principal>,
    Path(name): Path<String>,
    text: String,
) -> Response {
    // Versions are numbered in the order in which the file has them.
    let Ok(_turn) = desk.writing.acquire().await else {
        return failure(StatusCode::SERVICE_UNAVAILABLE, "the head is going down");
    };
    let Some(wanted) = desk.head.user_data_named(name.clone()).await else { return no_node(&name) };
    if let Err(error) = wanted.render(&text) {
        return failure(StatusCode::BAD_REQUEST, format!("{error:#}"));
    }
    let found = user_data::read(&wanted.file).ok();
    // The history first: nothing changes that it does not tell.
    if let Err(refusal) = desk.head.note_user_data(who, name, found, text.clone()).await {
        return refusal.into_response();
    }
    match user_data::write(&wanted.own, &text) {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")),
    }
}

pub(super) async fn history(State(head): State<Head>, Path(name): Path<String>) -> Response {
    match head.user_data_history(name.clone()).await {
        Ok(Some(versions)) => Json(versions).into_response(),
        Ok(None) => no_node(&name),
        Err(error) => unreadable(&error),
    }
}

pub(super) async fn version(
    State(head): State<Head>,
    Path((name, version)): Path<(String, u64)>,
) -> Response {
    match of_version(&head, &name, version).await {
        Ok(text) => text.into_response(),
        Err(response) => *response,
    }
}

pub(super) async fn difference(
    State(head): State<Head>,
    Path((name, version)): Path<(String, u64)>,
) -> Response {
    let old = match of_version(&head, &name, version).await {
        Ok(text) => text,
        Err(response) => return *response,
    };
    with_user_data(&head, &name, |wanted| Ok(diff(&old, &user_data::read(&wanted.file)?))).await
}

pub(super) async fn restore(
    State(desk): State<Desk>,
    who: Extension<Principal>,
    Path((name, version)): Path<(String, u64)>,
) -> Response {
    match of_version(&desk.head, &name, version).await {
        Ok(text) => set(State(desk), who, Path(name), text).await,
        Err(response) => *response,
    }
}

async fn of_version(head: &Head, name: &str, version: u64) -> Result<String, Box<Response>> {
    match head.user_data_version(name.to_owned(), version).await {
        Ok(Some(text)) => Ok(text),
        Ok(None) => {
            let text =
                format!("{name} has no version {version}: `fledermaus user-data history {name}` shows all");
            Err(Box::new(failure(StatusCode::NOT_FOUND, text)))
        }
        Err(error) => Err(Box::new(unreadable(&error))),
    }
}

fn unreadable(error: &anyhow::Error) -> Response {
    tracing::error!("reading the history of user data: {error:#}");
    failure(StatusCode::INTERNAL_SERVER_ERROR, "the history cannot be read: see the head's log")
}

async fn with_user_data(
    head: &Head,
    name: &str,
    act: impl FnOnce(&UserData) -> anyhow::Result<String>,
) -> Response {
    let Some(wanted) = head.user_data_named(name.to_owned()).await else { return no_node(name) };
    match act(&wanted) {
        Ok(text) => text.into_response(),
        Err(error) => failure(StatusCode::BAD_REQUEST, format!("{error:#}")),
    }
}
