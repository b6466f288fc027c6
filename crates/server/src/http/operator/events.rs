//! What changes, as server-sent events (HTML Living Standard section 9.2): `news`, and `again` for who was too slow and has
//! to read everything anew.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use tokio::time::{Instant, timeout_at};

use super::{Desk, failure};
use crate::head::news::News;

/// How long one connection lives. The browser comes again by itself, and shows its session again.
const LIFE: Duration = Duration::from_secs(300);

struct Listener {
    news: broadcast::Receiver<Arc<News>>,
    until: Instant,
    /// Its place among those that listen.
    _place: OwnedSemaphorePermit,
}

pub(super) async fn listen(State(desk): State<Desk>) -> Response {
    let Ok(place) = desk.listeners.clone().try_acquire_owned() else {
        return failure(StatusCode::SERVICE_UNAVAILABLE, "too many pages listen: close some");
    };
    let listener = Listener { news: desk.head.news(), until: Instant::now() + LIFE, _place: place };
    let stream = unfold(listener, |mut listener| async move {
        let event = match timeout_at(listener.until, listener.news.recv()).await {
            Ok(Ok(news)) => Event::default().event("news").json_data(&*news).ok()?,
            Ok(Err(RecvError::Lagged(_))) => Event::default().event("again").data("{}"),
            Ok(Err(RecvError::Closed)) | Err(_) => return None,
        };
        Some((Ok::<_, Infallible>(event), listener))
    });
    Sse::new(stream).keep_alive(KeepAlive::default()).into_response()
}
