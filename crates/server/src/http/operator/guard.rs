//! Who is asking: looked up once for each request, before its route is looked for. What a route needs is in its table.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use cluster::view::{Scope, TokenKind};

use super::{Entrance, failure};
use crate::access::Principal;
use crate::head::Head;

/// The session's cookie. The prefix makes browsers take it over TLS alone, and from this host alone (RFC 6265bis).
pub(super) const COOKIE: &str = "__Host-fledermaus";
/// A header that the page sends with each change. No other site's page can: browsers ask first, and are told no.
pub(super) const PAGE_HEADER: &str = "x-fledermaus";
/// The longest secret that is looked up, in bytes.
const SECRET_LIMIT: usize = 128;

/// Who is asking; `None` for a stranger.
#[derive(Clone, Debug)]
pub(super) struct Who(pub(super) Option<Principal>);

/// What a route wants of who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: strangers may.
    Nothing,
    /// A scope.
    Scope(Scope),
}

/// Finds out who asks.
pub(super) async fn admit(State(head): State<Head>, mut request: Request, next: Next) -> Response {
    let who = match request.extensions().get::<Entrance>() {
        Some(Entrance::Socket(user)) => Some(Principal::of_socket(*user)),
        Some(Entrance::Tls(address)) => {
            let (address, shown) = (*address, shown(request.headers()));
            match shown {
                Some((TokenKind::Session, _)) if is_forged(request.method(), request.headers()) => {
                    let text = "this change did not come from the head's own page";
                    return guarded(failure(StatusCode::FORBIDDEN, text));
                }
                Some((kind, secret)) => find(&head, kind, secret, address).await,
                None => None,
            }
        }
        None => None,
    };
    request.extensions_mut().insert(Who(who));
    guarded(next.run(request).await)
}

/// Lets a request through to its route, or not.
pub(super) async fn check(need: Need, mut request: Request, next: Next) -> Response {
    let Need::Scope(scope) = need else { return next.run(request).await };
    let Some(Who(Some(who))) = request.extensions().get::<Who>().cloned() else { return unknown() };
    if who.scope < scope {
        let text = format!("{} has the scope {}; this takes {scope}", who.name, who.scope);
        return failure(StatusCode::FORBIDDEN, text);
    }
    request.extensions_mut().insert(who);
    next.run(request).await
}

/// The answer to a stranger.
pub(super) fn unknown() -> Response {
    let text = "log in, or send a token as `Authorization: Bearer …`: `fledermaus token create` makes one";
    let mut response = failure(StatusCode::UNAUTHORIZED, text);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

async fn find(head: &Head, kind: TokenKind, secret: String, address: IpAddr) -> Option<Principal> {
    head.principal(secret, kind, address).await
}

/// The secret that a request shows: a token's before a cookie's.
fn shown(headers: &HeaderMap) -> Option<(TokenKind, String)> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let secret = value.to_str().ok()?.strip_prefix("Bearer ")?;
        return Some((TokenKind::Token, fitting(secret)?));
    }
    Some((TokenKind::Session, fitting(cookie(headers)?)?))
}

/// The session's cookie.
pub(super) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

fn fitting(secret: &str) -> Option<String> {
    (!secret.is_empty() && secret.len() <= SECRET_LIMIT).then(|| secret.to_owned())
}

/// Whether a change with a session's cookie may come from another site's page.
pub(super) fn is_forged(method: &Method, headers: &HeaderMap) -> bool {
    if matches!(*method, Method::GET | Method::HEAD) {
        return false;
    }
    let text = |name: &header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let own = text(&header::HOST).map(|host| format!("https://{host}"));
    let other = headers.contains_key(header::ORIGIN) && text(&header::ORIGIN) != own.as_deref();
    !headers.contains_key(PAGE_HEADER) || other
}

/// What every answer carries: it is nobody's to keep, to guess at or to frame.
fn guarded(mut response: Response) -> Response {
    const ALWAYS: [(header::HeaderName, &str); 5] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    for (name, value) in ALWAYS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
