//! Logging in and out, tokens, accounts and the audit log; and whether the head is well.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use cluster::NodeName;
use cluster::view::{AccountWish, LoginWish, Me, NewLogin, TokenView};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::guard::COOKIE;
use super::nodes::done;
use super::{Desk, Entrance, failure};
use crate::access::{self, Account, PASSWORD_BYTES, Principal, Secret};
use crate::head::Head;
use crate::head::access::{Refusal, SESSION_MS};
use crate::store::archive::LINES_LIMIT;

/// How long a login waits until another's password is checked.
const PASSWORD_PATIENCE: Duration = Duration::from_secs(5);
/// The largest login, in bytes.
const LOGIN_BYTES_LIMIT: usize = 4_096;
/// How long the head's state may take to answer and still be well.
const READY_PATIENCE: Duration = Duration::from_secs(1);

pub(super) async fn is_alive() -> &'static str {
    "ok\n"
}

pub(super) async fn is_ready(State(head): State<Head>) -> Response {
    // An answer means that the state lives and that the disk takes what it changes.
    match timeout(READY_PATIENCE, head.rivals()).await {
        Ok(_) => "ok\n".into_response(),
        Err(_) => failure(
            StatusCode::SERVICE_UNAVAILABLE,
            "the head's state does not answer within a second: see its log, and its disk",
        ),
    }
}

pub(super) async fn me(Extension(who): Extension<Principal>) -> Response {
    Json(Me { name: who.name, scope: who.scope }).into_response()
}

pub(super) async fn log_in(
    State(desk): State<Desk>,
    Extension(entrance): Extension<Entrance>,
    request: Request,
) -> Response {
    let Entrance::Tls(address) = entrance else {
        return failure(StatusCode::BAD_REQUEST, "the socket needs no login");
    };
    if !desk.head.may_log_in(address).await {
        let text = "too many logins failed: wait for a minute";
        let mut response = failure(StatusCode::TOO_MANY_REQUESTS, text);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
        return response;
    }
    // Strangers ask this: the head holds little of theirs.
    let Ok(body) = to_bytes(request.into_body(), LOGIN_BYTES_LIMIT).await else {
        return failure(StatusCode::PAYLOAD_TOO_LARGE, "this is too large for a login");
    };
    let wish = match read::<LoginWish>(&String::from_utf8_lossy(&body)) {
        Ok(wish) => wish,
        Err(refusal) => return refusal.into_response(),
    };
    let session = match wish {
        LoginWish { once: Some(once), .. } => desk.head.log_in_once(once, address).await,
        LoginWish { name: Some(name), password: Some(password), .. } => {
            match with_password(&desk, name, password, address).await {
                Ok(session) => session,
                Err(response) => return response,
            }
        }
        _ => return failure(StatusCode::BAD_REQUEST, "give `once`, or `name` and `password`"),
    };
    match session {
        Some((view, secret)) => welcome(view, &secret),
        None => {
            tracing::warn!(from = %address, "a login failed");
            let text = "this login is wrong, used or over: `fledermaus login` on the head makes a new one";
            failure(StatusCode::UNAUTHORIZED, text)
        }
    }
}

async fn with_password(
    desk: &Desk,
    name: String,
    password: String,
    address: IpAddr,
) -> Result<Option<(TokenView, Secret)>, Response> {
    let busy = || failure(StatusCode::SERVICE_UNAVAILABLE, "others log in just now: try again");
    if !PASSWORD_BYTES.contains(&password.len()) {
        return Ok(None);
    }
    let Ok(Ok(turn)) = timeout(PASSWORD_PATIENCE, desk.passwords.clone().acquire_owned()).await else {
        return Err(busy());
    };
    let kept = desk.head.password_of(name.clone()).await;
    let checked = tokio::task::spawn_blocking(move || {
        let is_right = access::is_password(&password, kept.as_deref());
        drop(turn);
        is_right
    });
    match checked.await {
        Ok(true) => Ok(desk.head.log_in_with_password(name, address).await),
        Ok(false) => Ok(None),
        Err(_) => Err(busy()),
    }
}

fn welcome(view: TokenView, secret: &Secret) -> Response {
    let seconds = SESSION_MS / 1_000;
    let secret = secret.expose();
    let cookie = format!("{COOKIE}={secret}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Strict");
    let me = Json(Me { name: view.name, scope: view.scope });
    ([(header::SET_COOKIE, cookie)], me).into_response()
}

pub(super) async fn log_out(State(head): State<Head>, Extension(who): Extension<Principal>) -> Response {
    let Some(id) = who.credential.clone() else {
        return failure(StatusCode::BAD_REQUEST, "the socket has no session to end");
    };
    let mut response = done(head.revoke(who, id).await);
    let gone = format!("{COOKIE}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict");
    if let Ok(gone) = HeaderValue::from_str(&gone) {
        response.headers_mut().insert(header::SET_COOKIE, gone);
    }
    response
}

pub(super) async fn make_login(State(desk): State<Desk>, Extension(who): Extension<Principal>) -> Response {
    match desk.head.make_login(who).await {
        Ok((secret, until_ms)) => {
            let url = desk.door.as_ref().map(|door| door.login_url(&secret));
            let fingerprint = desk.door.map(|door| door.fingerprint);
            Json(NewLogin { url, fingerprint, until_ms }).into_response()
        }
        Err(refusal) => refusal.into_response(),
    }
}

pub(super) async fn tokens(State(head): State<Head>) -> Response {
    Json(head.tokens().await).into_response()
}

pub(super) async fn make_token(
    State(head): State<Head>,
    Extension(who): Extension<Principal>,
    body: String,
) -> Response {
    match read(&body) {
        Ok(wish) => match head.make_token(who, wish).await {
            Ok(made) => Json(made).into_response(),
            Err(refusal) => refusal.into_response(),
        },
        Err(refusal) => refusal.into_response(),
    }
}

pub(super) async fn revoke(
    State(head): State<Head>,
    Extension(who): Extension<Principal>,
    Path(id): Path<String>,
) -> Response {
    done(head.revoke(who, id).await)
}

pub(super) async fn accounts(State(head): State<Head>) -> Response {
    Json(head.accounts().await).into_response()
}

pub(super) async fn set_account(
    State(desk): State<Desk>,
    Extension(who): Extension<Principal>,
    Path(name): Path<String>,
    body: String,
) -> Response {
    let AccountWish { scope, password } = match read(&body) {
        Ok(wish) => wish,
        Err(refusal) => return refusal.into_response(),
    };
    if let Err(error) = name.parse::<NodeName>() {
        return failure(StatusCode::BAD_REQUEST, error.to_string().replace("a node", "an account"));
    }
    if !PASSWORD_BYTES.contains(&password.len()) {
        let (least, most) = (PASSWORD_BYTES.start(), PASSWORD_BYTES.end());
        return failure(StatusCode::BAD_REQUEST, format!("a password has {least} to {most} bytes"));
    }
    let Ok(_turn) = desk.passwords.acquire().await else {
        return failure(StatusCode::SERVICE_UNAVAILABLE, "the head is going down");
    };
    let hashed = tokio::task::spawn_blocking(move || access::hash_password(&password)).await;
    let Ok(Some(password)) = hashed else {
        return failure(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the password cannot be hashed: see the head's log",
        );
    };
    done(desk.head.set_account(who, Account { name, scope, set_ms: 0, password }).await)
}

pub(super) async fn remove_account(
    State(head): State<Head>,
    Extension(who): Extension<Principal>,
    Path(name): Path<String>,
) -> Response {
    done(head.remove_account(who, name).await)
}

/// Which lines of a log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogWish {
    pub(super) before: Option<u64>,
    pub(super) limit: Option<u32>,
}

pub(super) async fn audit(State(head): State<Head>, Query(wish): Query<LogWish>) -> Response {
    match head.audit(wish.before, wish.limit.unwrap_or(LINES_LIMIT)).await {
        Ok(lines) => Json(lines).into_response(),
        Err(error) => {
            tracing::error!("reading the audit log: {error:#}");
            failure(StatusCode::INTERNAL_SERVER_ERROR, "the audit log cannot be read: see the head's log")
        }
    }
}

/// Reads an object whatever the request calls it.
pub(super) fn read<T: DeserializeOwned>(body: &str) -> Result<T, Refusal> {
    serde_json::from_str(body)
        .map_err(|error| Refusal::Wrong(format!("the request's JSON is wrong: {error}")))
}
