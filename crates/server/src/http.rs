//! HTTP: the nodes' side on the cluster's address, the operator's side on a Unix socket.

pub(crate) mod door;
mod node;
pub(crate) mod operator;
mod places;
mod system;

use std::net::SocketAddrV4;

use anyhow::Context;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use cluster::view::Failure;
use tokio::net::TcpListener;

/// Binds the nodes' side.
pub(crate) async fn bind(address: SocketAddrV4) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        let port = address.port();
        format!("serving HTTP on {address}: if another program has port {port}, stop it or set `http_port` in [network] of cluster.toml")
    })
}

/// An error as the API gives it.
pub(super) fn failure(status: StatusCode, sentence: impl Into<String>) -> Response {
    (status, Json(Failure { error: sentence.into() })).into_response()
}
