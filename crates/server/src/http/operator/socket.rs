//! The operator's Unix socket, which only its owner can open.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, bail};
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::serve::IncomingStream;
use tokio::net::UnixListener;

use super::{Desk, Entrance, app};
use crate::client::SOCKET;

/// Binds the socket, replacing one that a head that is gone left behind.
pub(crate) fn bind(directory: &Path) -> anyhow::Result<UnixListener> {
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
pub(crate) async fn run(listener: UnixListener, desk: Desk) -> anyhow::Result<()> {
    let app = app(desk).layer(from_fn(enter));
    Ok(axum::serve(listener, app.into_make_service_with_connect_info::<User>()).await?)
}

/// Who opened a connection, SO_PEERCRED.
#[derive(Clone, Copy, Debug)]
struct User(Option<u32>);

impl Connected<IncomingStream<'_, UnixListener>> for User {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self(stream.io().peer_cred().ok().map(|user| user.uid()))
    }
}

async fn enter(ConnectInfo(User(user)): ConnectInfo<User>, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(Entrance::Socket(user));
    next.run(request).await
}
