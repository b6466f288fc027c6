//! What a node asks by HTTP: its user data, and what to do; and the operator's own boot files.
//!
//! Everything else hangs on the boot token and the address that holds the node's lease. Whoever has
//! not both gets the same 404 as for a path that is not there.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Json;
use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRequest, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use cluster::BootToken;
use cluster::report::Report;
use tokio::task::spawn_blocking;
use tower_http::services::ServeDir;

use crate::head::Head;

/// The routes; the system image has a way of its own.
pub(crate) fn routes(head: Head) -> Router {
    let mut routes = Router::new();
    if let Some(files) = head.files() {
        routes = routes
            .nest_service("/files", ServeDir::new(files.directory()).append_index_html_on_directories(false));
    }
    routes
        .route("/boot/{token}/report", post(report).layer(DefaultBodyLimit::max(Report::BYTES_LIMIT)))
        .route("/boot/{token}/user-data", get(user_data))
        .with_state(head)
}

async fn report(
    State(head): State<Head>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    Path(token): Path<String>,
    request: Request,
) -> Response {
    let (Some(token), Some(client)) = (read(&token), ipv4(client)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    // Before its body is read: of a stranger the head holds nothing.
    if !head.knows(token.clone(), client).await {
        return StatusCode::NOT_FOUND.into_response();
    }
    let report = match Json::<Report>::from_request(request, &()).await {
        Ok(Json(report)) => report,
        Err(refusal) => return refusal.into_response(),
    };
    match head.report(token, client, report).await {
        Some(orders) => Json(orders).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn user_data(
    State(head): State<Head>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    Path(token): Path<String>,
) -> Response {
    let (Some(token), Some(client)) = (read(&token), ipv4(client)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let Some(wanted) = head.user_data(token, client).await else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let node = wanted.facts.name.clone();
    // It reads files, on a disk that may hang.
    let rendered = spawn_blocking(move || wanted.rendered());
    match rendered.await.map_err(anyhow::Error::from).flatten() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response(),
        Err(error) => {
            tracing::error!(%node, "user data: {error:#}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn read(token: &str) -> Option<BootToken> {
    token.parse().ok()
}

fn ipv4(client: SocketAddr) -> Option<Ipv4Addr> {
    match client {
        SocketAddr::V4(client) => Some(*client.ip()),
        SocketAddr::V6(client) => client.ip().to_ipv4_mapped(),
    }
}
