//! The operator's API: one table of routes behind two doors. The Unix socket of mode 0600 is for who owns it; the other
//! door is TLS, and who comes through it shows a token or a session.

mod access;
mod door;
mod events;
mod guard;
mod inventory;
mod metrics;
mod nodes;
mod openapi;
mod page;
mod refusal;
mod socket;
mod swarm;
mod table;
mod user_data;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, middleware};
use tokio::sync::Semaphore;

pub(crate) use self::door::{CERTIFICATE, Door, DoorFacts, KEY};
pub(crate) use self::socket::{bind, run};
use super::failure;
use crate::Options;
use crate::head::Head;
use crate::head::access::Refusal;

/// The largest request, in bytes: user data is the largest.
const REQUEST_LIMIT: usize = crate::user_data::BYTES_LIMIT;
/// How many passwords are checked at a time: each takes a processor and 19 MiB.
const PASSWORDS_AT_ONCE: usize = 1;
/// How many pages may listen for news at a time.
const LISTENERS_LIMIT: usize = 64;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Desk {
    head: Head,
    /// The TLS door, if there is one.
    door: Option<DoorFacts>,
    /// Where the configuration and the images are, to be read again.
    options: Arc<Options>,
    /// One at a time writes user data.
    writing: Arc<Semaphore>,
    /// One at a time opens images: two that fetch the same would write into one file.
    opening: Arc<Semaphore>,
    passwords: Arc<Semaphore>,
    listeners: Arc<Semaphore>,
}

impl Desk {
    /// A desk of this head.
    pub(crate) fn new(head: Head, door: Option<DoorFacts>, options: Options) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        let (writing, opening, passwords) = (places(1), places(1), places(PASSWORDS_AT_ONCE));
        let listeners = places(LISTENERS_LIMIT);
        Self { head, door, options: Arc::new(options), writing, opening, passwords, listeners }
    }
}

impl FromRef<Desk> for Head {
    fn from_ref(desk: &Desk) -> Self {
        desk.head.clone()
    }
}

/// Which door a request came through.
#[derive(Clone, Copy, Debug)]
enum Entrance {
    /// The socket, and the user who opened it.
    Socket(Option<u32>),
    /// TLS, and the client's address.
    Tls(std::net::IpAddr),
}

/// The routes, with the doors' guard. The door adds an [`Entrance`].
fn app(desk: Desk) -> Router {
    let mut router = Router::new();
    for route in table::all() {
        router = router.route(route.path, route.service());
    }
    for file in page::FILES {
        router = router.route(file.0, get(move || async move { page::file(file) }));
    }
    router
        .layer(DefaultBodyLimit::max(REQUEST_LIMIT))
        .layer(middleware::map_response(refusal::as_the_api_says))
        .fallback(nothing)
        .layer(middleware::from_fn_with_state(desk.head.clone(), guard::admit))
        .with_state(desk)
}

/// A path that is not there. Strangers do not learn which are.
async fn nothing(Extension(who): Extension<guard::Who>) -> Response {
    match who.0 {
        Some(_) => failure(StatusCode::NOT_FOUND, "there is nothing at this path"),
        None => guard::unknown(),
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::NotThere(sentence) => failure(StatusCode::NOT_FOUND, sentence),
            Self::Wrong(sentence) => failure(StatusCode::BAD_REQUEST, sentence),
            Self::Conflict(sentence) => failure(StatusCode::CONFLICT, sentence),
        }
    }
}

#[cfg(test)]
mod tests;
