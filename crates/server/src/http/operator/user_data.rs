//! User data for operators: templates, what a node would get, and what was before.
//!
//! A name is a node's, else that of a template's file.

use std::path::{Path as FilePath, PathBuf};

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
use crate::head::{Head, UserData};
use crate::user_data::diff::diff;
use crate::user_data::{self, Draft, Owner};

/// What a name stands for.
enum Subject {
    Node(Box<UserData>),
    /// A template by its name, and its file.
    Shared(String, PathBuf),
}

impl Subject {
    async fn of(head: &Head, name: &str) -> Result<Self, Box<Response>> {
        if let Some(node) = head.user_data_named(name.to_owned()).await {
            return Ok(Self::Node(Box::new(node)));
        }
        match head.shared_user_data(name.to_owned()).await {
            // Most who say that mean a node.
            Ok(file) if name.parse::<NodeName>().is_ok() && !file.is_file() => Err(Box::new(no_node(name))),
            Ok(file) => Ok(Self::Shared(name.to_owned(), file)),
            Err(refusal) => Err(Box::new(refusal.into_response())),
        }
    }

    fn owner(&self) -> Owner {
        match self {
            Self::Node(node) => Owner::Node(node.facts.mac),
            Self::Shared(name, _) => Owner::Shared(name.clone()),
        }
    }

    /// The file that has it now.
    fn file(&self) -> &FilePath {
        match self {
            Self::Node(node) => &node.file,
            Self::Shared(_, file) => file,
        }
    }

    /// The file that is written.
    fn target(&self) -> &FilePath {
        match self {
            Self::Node(node) => &node.own,
            Self::Shared(_, file) => file,
        }
    }

    /// Whether it may be this text: of a node's own file too, others may be made.
    async fn check(&self, head: &Head, text: &str) -> anyhow::Result<()> {
        let name = match self {
            Self::Node(node) => {
                node.render(text)?;
                format!("{}.sh", node.facts.name)
            }
            Self::Shared(name, _) => name.clone(),
        };
        head.check_user_data(Draft { name, text: text.to_owned() }).await
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
    if let Err(error) = subject.check(&desk.head, &text).await {
        return failure(StatusCode::BAD_REQUEST, format!("{error:#}"));
    }
    let found = user_data::read(subject.file()).ok();
    let written = match user_data::write(subject.target(), &text) {
        Ok(written) => written,
        Err(error) => return failure(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")),
    };
    // The history first: nothing changes that it does not tell.
    if let Err(refusal) = desk.head.note_user_data(who, subject.owner(), name, found, text).await {
        return refusal.into_response();
    }
    match written.replace(subject.target()) {
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
