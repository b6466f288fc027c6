//! The connections of nodes: how many there may be, and how long one may take to say what it wants, and its request. Requests
//! for the system image go to [`system`](super::system), all others to the router.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tower::ServiceExt;

use super::places::Places;
use super::{node, system};
use crate::head::Head;

/// The most connections at a time; who comes later waits in the kernel's queue.
const CONNECTIONS_LIMIT: usize = 2_048;
/// The most connections of one address. A node has one or two at a time.
const ADDRESS_LIMIT: usize = 64;
/// How long a client may take for the head of a request.
pub(super) const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// How long a request may take from its head to the head of the answer: its body comes within that, or it is refused.
const REQUEST_PATIENCE: Duration = Duration::from_secs(30);
/// How often a request line that comes in pieces is looked at.
const CRAWL_PAUSE: Duration = Duration::from_millis(20);

/// Serves until it is dropped.
pub(crate) async fn run(listener: TcpListener, head: Head) -> ! {
    let router = node::routes(head.clone());
    let mut places = Places::new(CONNECTIONS_LIMIT, ADDRESS_LIMIT);
    loop {
        let (stream, client, place) = places.accept(&listener).await;
        let (head, router) = (head.clone(), router.clone());
        tokio::spawn(async move {
            serve(stream, client, head, router).await;
            drop(place);
        });
    }
}

async fn serve(stream: TcpStream, client: SocketAddr, head: Head, router: Router) {
    match timeout(HEAD_PATIENCE, is_for_the_system(&stream)).await {
        Ok(Ok(true)) => {
            if let Err(error) = system::serve(stream, &head.images()).await {
                tracing::debug!("sending the system image to {client}: {error}");
            }
        }
        Ok(Ok(false)) => {
            let answer = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(ConnectInfo(client));
                let answer = router.clone().oneshot(request.map(Body::new));
                async move {
                    let Ok(answer) = timeout(REQUEST_PATIENCE, answer).await else {
                        return Ok::<_, Infallible>(StatusCode::REQUEST_TIMEOUT.into_response());
                    };
                    Ok(answer.unwrap_or_else(|never| match never {}))
                }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE);
            if let Err(error) = http.serve_connection(TokioIo::new(stream), answer).await {
                tracing::debug!("a connection of {client}: {error}");
            }
        }
        Ok(Err(error)) => tracing::debug!("a connection of {client}: {error}"),
        Err(_) => tracing::debug!("{client} connected and asked for nothing"),
    }
}

/// Looks at the beginning of the request, and leaves it where it is.
async fn is_for_the_system(stream: &TcpStream) -> std::io::Result<bool> {
    let mut begin = [0; system::REQUEST.len()];
    loop {
        let length = stream.peek(&mut begin).await?;
        if length == begin.len() || length == 0 || !system::REQUEST.starts_with(&begin[..length]) {
            return Ok(begin == *system::REQUEST);
        }
        tokio::time::sleep(CRAWL_PAUSE).await;
    }
}
