//! User data for operators: templates, what a node would get, and what was before.
//!
//! A name with a dot or a slash is a file's, of a template that nodes share; node names have neither.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use cluster::NodeName;
use cluster::view::UserDataVersion;
use serde::Deserialize;

use super::nodes::no_node;
use super::{Desk, failure};
use crate::access::Principal;
use crate::head::{Head, SharedUserData, UserData};
use crate::user_data::diff::diff;
use crate::user_data::{self, Draft, Owner};

/// What a name stands for.
enum Subject {
    Node(UserData),
    Shared(SharedUserData),
}

impl Subject {
    async fn of(head: &Head, name: &str) -> Result<Self, Box<Response>> {
        if name.parse::<NodeName>().is_ok() {
            let node = head.user_data_named(name.to_owned()).await;
            return node.map(Self::Node).ok_or_else(|| Box::new(no_node(name)));
        }
        let shared = head.shared_user_data(name.to_owned()).await;
        shared.map(Self::Shared).map_err(|refusal| Box::new(refusal.into_response()))
    }

    fn owner(&self) -> Owner {
        match self {
            Self::Node(node) => Owner::Node(node.facts.mac),
            Self::Shared(shared) => Owner::Shared(shared.name.clone()),
        }
    }

    /// The file that has it now.
    fn file(&self) -> &std::path::Path {
        match self {
            Self::Node(node) => &node.file,
            Self::Shared(shared) => &shared.file,
        }
    }

    /// The file that is written.
    fn target(&self) -> &std::path::Path {
        match self {
            Self::Node(node) => &node.own,
            Self::Shared(shared) => &shared.file,
        }
    }

    fn check(&self, text: &str) -> anyhow::Result<()> {
        match self {
            Self::Node(node) => node.render(text).map(drop),
            Self::Shared(shared) => shared.check(text.to_owned()),
        }
    }
}

/// A template that a preview is made with.
#[derive(Deserialize)]
pub(super) struct PreviewQuery {
    template: Option<String>,
}

pub(super) async fn templates(State(head): State<Head>) -> Response {
    Json(head.templates().await).into_response()
}

pub(super) async fn template(State(head): State<Head>, Path(name): Path<String>) -> Response {
    match Subject::of(&head, &name).await {
        Ok(subject) if subject.file().is_file() => told(user_data::read(subject.file())),
        Ok(subject) => {
            let place = subject.file().display();
            failure(
                StatusCode::NOT_FOUND,
                format!("there is no {place}: `fledermaus user-data list` shows all"),
            )
        }
        Err(response) => *response,
    }
}

pub(super) async fn rendered(State(head): State<Head>, Path(name): Path<String>) -> Response {
    let Some(wanted) = head.user_data_named(name.clone()).await else { return no_node(&name) };
    told(wanted.rendered())
}

pub(super) async fn preview(
    State(head): State<Head>,
    Path(name): Path<String>,
    Query(query): Query<PreviewQuery>,
    text: String,
) -> Response {
    let Some(wanted) = head.user_data_named(name.clone()).await else { return no_node(&name) };
    told(match query.template {
        Some(name) => wanted.rendered_with(&Draft { name, text }),
        None => wanted.render(&text),
    })
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
    let subject = match Subject::of(&desk.head, &name).await {
        Ok(subject) => subject,
        Err(response) => return *response,
    };
    // A template that all use has all their user data rendered.
    let check = move || (subject.check(&text), subject, text);
    let Ok((checked, subject, text)) = tokio::task::spawn_blocking(check).await else {
        return failure(StatusCode::INTERNAL_SERVER_ERROR, "checking it broke: see the head's log");
    };
    if let Err(error) = checked {
        return failure(StatusCode::BAD_REQUEST, format!("{error:#}"));
    }
    let found = user_data::read(subject.file()).ok();
    // The history first: nothing changes that it does not tell.
    if let Err(refusal) = desk.head.note_user_data(who, subject.owner(), name, found, text.clone()).await {
        return refusal.into_response();
    }
    match user_data::write(subject.target(), &text) {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")),
    }
}

pub(super) async fn history(State(head): State<Head>, Path(name): Path<String>) -> Response {
    let subject = match Subject::of(&head, &name).await {
        Ok(subject) => subject,
        Err(response) => return *response,
    };
    match head.user_data_history(&subject.owner()).await {
        Ok(versions) => Json::<Vec<UserDataVersion>>(versions).into_response(),
        Err(error) => unreadable(&error),
    }
}

pub(super) async fn version(
    State(head): State<Head>,
    Path((name, version)): Path<(String, u64)>,
) -> Response {
    match of_version(&head, &name, version).await {
        Ok((_, text)) => text.into_response(),
        Err(response) => *response,
    }
}

pub(super) async fn difference(
    State(head): State<Head>,
    Path((name, version)): Path<(String, u64)>,
) -> Response {
    match of_version(&head, &name, version).await {
        Ok((subject, old)) => told(user_data::read(subject.file()).map(|now| diff(&old, &now))),
        Err(response) => *response,
    }
}

pub(super) async fn restore(
    State(desk): State<Desk>,
    who: Extension<Principal>,
    Path((name, version)): Path<(String, u64)>,
) -> Response {
    match of_version(&desk.head, &name, version).await {
        Ok((_, text)) => set(State(desk), who, Path(name), text).await,
        Err(response) => *response,
    }
}

async fn of_version(head: &Head, name: &str, version: u64) -> Result<(Subject, String), Box<Response>> {
    let subject = Subject::of(head, name).await?;
    match head.user_data_version(&subject.owner(), version).await {
        Ok(Some(text)) => Ok((subject, text)),
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

fn told(text: anyhow::Result<String>) -> Response {
    match text {
        Ok(text) => text.into_response(),
        Err(error) => failure(StatusCode::BAD_REQUEST, format!("{error:#}")),
    }
}
