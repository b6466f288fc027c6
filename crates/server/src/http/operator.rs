//! What an operator asks, over a Unix socket that only its owner can open.

use std::os::unix::fs::PermissionsExt;
use std::path::Path as FilePath;

use anyhow::{Context, bail};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use cluster::NodeName;
use cluster::swarm::Rollout;
use cluster::view::RolloutWish;
use tokio::net::UnixListener;

use super::failure;
use crate::client::SOCKET;
use crate::head::stack::COMPOSE_LIMIT;
use crate::head::{Head, UserData};
use crate::user_data;

/// Binds the socket, replacing one that a head that is gone left behind.
pub(crate) fn bind(directory: &FilePath) -> anyhow::Result<UnixListener> {
    let path = directory.join(SOCKET);
    if std::os::unix::net::UnixStream::connect(&path).is_ok() {
        bail!(
            "a head runs already with the state in {}: stop it, or name another --state-dir",
            directory.display()
        );
    }
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("replacing {}", path.display()));
        }
        _ => {}
    }
    // Closed to others before it has its name.
    let hidden = directory.join(format!(".{SOCKET}"));
    let _ = std::fs::remove_file(&hidden);
    let listener = UnixListener::bind(&hidden).with_context(|| format!("listening on {}", path.display()))?;
    std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(0o600))
        .and_then(|()| std::fs::rename(&hidden, &path))
        .with_context(|| format!("listening on {}", path.display()))?;
    Ok(listener)
}

/// Serves until it fails.
pub(crate) async fn run(listener: UnixListener, head: Head) -> anyhow::Result<()> {
    Ok(axum::serve(listener, app(head)).await?)
}

/// The routes.
pub(crate) fn app(head: Head) -> Router {
    Router::new()
        .route("/v1/nodes", get(nodes))
        .route("/v1/nodes/{name}", get(node))
        .route("/v1/nodes/{name}/reboot", post(reboot))
        .route("/v1/nodes/{name}/user-data", get(rendered))
        .route("/v1/user-data/{name}", get(template).put(set_template))
        .route("/v1/rivals", get(rivals))
        .route("/v1/swarm", get(swarm))
        .route("/v1/stacks", get(stacks))
        .route("/v1/stacks/{name}", get(stack).put(put_stack).delete(remove_stack))
        .route("/v1/rollout", get(rollout).post(begin_rollout))
        .route("/v1/rollout/stop", post(stop_rollout))
        .route("/v1/rollout/resume", post(resume_rollout))
        .layer(DefaultBodyLimit::max(user_data::BYTES_LIMIT))
        .fallback(|| async { failure(StatusCode::NOT_FOUND, "there is nothing at this path") })
        .with_state(head)
}

fn no_node(name: &str) -> Response {
    failure(StatusCode::NOT_FOUND, format!("there is no node {name:?}: `fledermaus node list` shows all"))
}

async fn nodes(State(head): State<Head>) -> Response {
    Json(head.nodes().await).into_response()
}

async fn node(State(head): State<Head>, Path(name): Path<String>) -> Response {
    match head.node(name.clone()).await {
        Some(detail) => Json(detail).into_response(),
        None => no_node(&name),
    }
}

async fn reboot(State(head): State<Head>, Path(name): Path<String>) -> Response {
    if head.reboot(name.clone()).await { StatusCode::ACCEPTED.into_response() } else { no_node(&name) }
}

async fn rivals(State(head): State<Head>) -> Response {
    Json(head.rivals().await).into_response()
}

async fn swarm(State(head): State<Head>) -> Response {
    Json(head.swarm().await).into_response()
}

async fn template(State(head): State<Head>, Path(name): Path<String>) -> Response {
    with_user_data(&head, &name, |wanted| user_data::read(&wanted.file)).await
}

async fn rendered(State(head): State<Head>, Path(name): Path<String>) -> Response {
    with_user_data(&head, &name, |wanted| {
        user_data::read(&wanted.file).and_then(|template| user_data::render(&template, &wanted.facts))
    })
    .await
}

async fn set_template(State(head): State<Head>, Path(name): Path<String>, text: String) -> Response {
    with_user_data(&head, &name, |wanted| {
        user_data::render(&text, &wanted.facts)?;
        user_data::write(&wanted.own, &text)?;
        Ok(String::new())
    })
    .await
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

async fn rollout(State(head): State<Head>) -> Response {
    match head.rollout().await {
        Some(rollout) => Json(rollout).into_response(),
        None => {
            failure(StatusCode::NOT_FOUND, "there was no rollout yet: `fledermaus rollout start` begins one")
        }
    }
}

async fn begin_rollout(State(head): State<Head>, wish: String) -> Response {
    match serde_json::from_str::<RolloutWish>(&wish) {
        Ok(wish) => rolled(head.begin_rollout(wish).await),
        Err(error) => failure(StatusCode::BAD_REQUEST, format!("this is no wish for a rollout: {error}")),
    }
}

async fn stop_rollout(State(head): State<Head>) -> Response {
    rolled(head.steer_rollout(false).await)
}

async fn resume_rollout(State(head): State<Head>) -> Response {
    rolled(head.steer_rollout(true).await)
}

fn rolled(outcome: Result<Rollout, String>) -> Response {
    match outcome {
        Ok(rollout) => Json(rollout).into_response(),
        Err(sentence) => failure(StatusCode::CONFLICT, sentence),
    }
}

async fn put_stack(State(head): State<Head>, Path(name): Path<String>, compose: String) -> Response {
    if name.parse::<NodeName>().is_err() {
        return failure(
            StatusCode::BAD_REQUEST,
            format!("{name:?} cannot name a stack: use lower-case letters, digits, dashes"),
        );
    }
    if compose.trim().is_empty() || compose.len() > COMPOSE_LIMIT {
        return failure(StatusCode::BAD_REQUEST, format!("a compose file has 1 to {COMPOSE_LIMIT} bytes"));
    }
    head.put_stack(name, compose).await;
    StatusCode::ACCEPTED.into_response()
}

async fn stacks(State(head): State<Head>) -> Response {
    Json(head.stacks().await).into_response()
}

async fn stack(State(head): State<Head>, Path(name): Path<String>) -> Response {
    match head.stacks().await.into_iter().find(|stack| stack.name == name) {
        Some(stack) => Json(stack).into_response(),
        None => no_stack(&name),
    }
}

async fn remove_stack(State(head): State<Head>, Path(name): Path<String>) -> Response {
    if head.remove_stack(name.clone()).await { StatusCode::ACCEPTED.into_response() } else { no_stack(&name) }
}

fn no_stack(name: &str) -> Response {
    failure(StatusCode::NOT_FOUND, format!("there is no stack {name:?}: `fledermaus stack list` shows all"))
}
