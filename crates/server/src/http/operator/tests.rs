//! The API through its TLS door, without a wire: who gets in, and whether the OpenAPI document is true.

mod browser;
mod inventory;
mod page;
mod schema;
mod user_data;

use std::net::{IpAddr, Ipv4Addr};

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request};
use cluster::view::{NewToken, Scope};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::guard::{COOKIE, Need, PAGE_HEADER};
use super::*;
use crate::access::Principal;
use crate::head::tests::head;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 78, 0, 9));
/// The largest answer that is read, in bytes.
const ANSWER_LIMIT: usize = 1 << 20;

/// The API of a head with two nodes.
pub(super) struct Api {
    pub(super) desk: Desk,
    router: Router,
    state_dir: tempfile::TempDir,
}

/// The configuration in this folder.
fn options(folder: &std::path::Path) -> Options {
    Options {
        config: folder.join("cluster.toml"),
        interface: Some("lo".to_owned()),
        state_dir: folder.to_owned(),
        image_dir: None,
        access: depot::Access::default(),
    }
}

/// What was answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

impl Api {
    pub(super) async fn new() -> Self {
        let (head, state_dir) = head().await;
        let door = DoorFacts { url: "https://head:8443".to_owned(), fingerprint: "ab".repeat(32) };
        let desk = Desk::new(head, Some(door), options(state_dir.path()));
        Self { router: app(desk.clone()), desk, state_dir }
    }

    /// Where its user data and its state are.
    pub(super) fn folder(&self) -> &std::path::Path {
        self.state_dir.path()
    }

    pub(super) async fn ask(&self, request: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let (method, path) = request.split_once(' ').expect("method and path");
        let method: Method = method.parse().expect("a method");
        let mut request = Request::builder().method(method).uri(path).extension(Entrance::Tls(CLIENT));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).expect("a request");
        let response = self.router.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
        let (parts, body) = response.into_parts();
        let is_stream = parts.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let body =
            if is_stream { Vec::new() } else { to_bytes(body, ANSWER_LIMIT).await.expect("a body").to_vec() };
        let body = String::from_utf8(body).expect("text");
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// A token of a scope, as its header.
    pub(super) async fn token(&self, scope: Scope) -> String {
        let name = scope.word().parse().expect("a name");
        let wish = cluster::view::TokenWish { name, scope, days: None };
        let made = self.desk.head.make_token(Principal::of_socket(Some(0)), wish).await.expect("made");
        format!("Bearer {}", made.secret)
    }

    pub(super) async fn with(&self, token: &str, request: &str, body: &str) -> Answer {
        self.ask(request, &[("authorization", token)], body).await
    }
}

/// Every route with its parameters filled in.
fn routes() -> Vec<(String, Need)> {
    let fill = |path: &str| {
        path.replace("{name}", "node1")
            .replace("{id}", "none")
            .replace("{version}", "1")
            .replace("{mac}", "b8:27:eb:00:00:07")
    };
    let routes = table::all().into_iter();
    routes.map(|route| (format!("{} {}", route.method, fill(route.path)), route.need)).collect()
}

#[tokio::test]
async fn a_stranger_gets_nothing_but_the_login_the_page_and_a_sign_of_life() {
    let api = Api::new().await;
    let mut open = Vec::new();
    for (request, need) in routes() {
        let answer = api.ask(&request, &[], "").await;
        match need {
            Need::Nothing => open.push(request),
            Need::Scope(_) => {
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{request}");
                assert!(!answer.body.contains("node1"), "{request}: {}", answer.body);
            }
        }
    }
    assert_eq!(open, ["GET /healthz", "POST /v1/login"], "and the page's files, which say nothing");
    for path in ["/v2", "/v1/nodes/../audit", "/v1//nodes", "/%2e%2e/state.sqlite", "/v1/nodes/", "//"] {
        let answer = api.ask(&format!("GET {path}"), &[], "").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}: strangers do not learn what there is");
    }
}

#[tokio::test]
async fn headers_that_are_no_token_open_nothing() {
    let api = Api::new().await;
    let token = api.token(Scope::Admin).await;
    let secret = token.strip_prefix("Bearer ").expect("a header");
    assert_eq!(api.with(&token, "GET /v1/nodes", "").await.status, StatusCode::OK);
    let cookie = format!("{COOKIE}={secret}");
    let (long, nul) = ("Bearer ".to_owned() + &"a".repeat(9_000), format!("Bearer {secret}x"));
    for headers in [
        vec![("authorization", secret)],
        vec![("authorization", "Bearer ")],
        vec![("authorization", "Basic YWRtaW46YWRtaW4=")],
        vec![("authorization", &long)],
        vec![("authorization", &nul)],
        vec![("authorization", "Bearer none"), ("authorization", &token)],
        vec![("cookie", &cookie)],
        vec![("x-forwarded-for", "127.0.0.1"), ("x-real-ip", "::1"), ("forwarded", "for=127.0.0.1")],
        vec![
            ("x-original-url", "/healthz"),
            ("x-rewrite-url", "/healthz"),
            ("x-http-method-override", "GET"),
        ],
        vec![("x-remote-user", "root"), ("x-rhn-provisioning-mac-0", "eth0 b8:27:eb:00:01:01")],
    ] {
        let answer = api.ask("GET /v1/nodes", &headers, "").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{headers:?}");
    }
    for query in ["?token=", "?access_token=", "?authorization=Bearer%20", "?mac=b8:27:eb:00:01:01&token="] {
        let answer = api.ask(&format!("GET /v1/nodes{query}{secret}"), &[], "").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{query}");
    }
}

#[tokio::test]
async fn a_scope_opens_its_routes_and_those_of_smaller_ones_alone() {
    let api = Api::new().await;
    let mut refused = 0;
    for scope in [Scope::Read, Scope::Write] {
        let token = api.token(scope).await;
        for (request, need) in routes() {
            let Need::Scope(wanted) = need else { continue };
            if wanted > scope {
                let answer = api.with(&token, &request, "").await;
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{request} with {scope}");
                refused += 1;
            }
        }
    }
    assert!(refused > 20, "{refused}");
    let read = api.token(Scope::Read).await;
    // The export has the power webhook in it, which may have a password.
    for path in ["/v1/nodes/node1/user-data", "/v1/user-data/node1", "/v1/export"] {
        let answer = api.with(&read, &format!("GET {path}"), "").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "it holds secrets: {path}");
    }
}

/// What the framework refuses by itself was plain text.
#[tokio::test]
async fn every_refusal_is_an_object_with_a_sentence() {
    let api = Api::new().await;
    let token = api.token(Scope::Admin).await;
    for (request, status, word) in [
        ("GET /v1/audit?limit=x", StatusCode::BAD_REQUEST, "limit"),
        ("GET /v1/swarm/events?before=-1", StatusCode::BAD_REQUEST, "before"),
        ("GET /v1/user-data/node1/history/abc", StatusCode::BAD_REQUEST, "abc"),
        ("POST /v1/apply?dry_run=perhaps", StatusCode::BAD_REQUEST, "dry_run"),
        ("GET /v1/nodes/%ff", StatusCode::BAD_REQUEST, "UTF-8"),
        ("POST /v1/audit", StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"),
    ] {
        let answer = api.with(&token, request, "").await;
        assert_eq!(answer.status, status, "{request}");
        let failure = answer.json();
        let sentence = failure["error"].as_str().unwrap_or_else(|| panic!("{request}: {failure}"));
        assert!(sentence.contains(word), "{request}: {sentence}");
    }
    let refused = api.with(&token, "POST /v1/audit", "").await;
    assert_eq!(refused.headers["allow"], "GET,HEAD");
    let large = "x".repeat(REQUEST_LIMIT + 1);
    let refused = api.with(&token, "PUT /v1/user-data/node1", &large).await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(refused.json()["error"].is_string());
}

#[tokio::test]
async fn a_one_time_login_gives_a_cookie_that_no_other_site_can_use() {
    let api = Api::new().await;
    let admin = api.token(Scope::Admin).await;
    let made = api.with(&admin, "POST /v1/logins", "").await.json();
    let url = made["url"].as_str().expect("an address");
    let once = url.strip_prefix("https://head:8443/#login=").expect("the page's address");
    let wish = json!({ "once": once }).to_string();
    let answer = api.ask("POST /v1/login", &[], &wish).await;
    assert_eq!((answer.status, answer.json()["scope"].as_str()), (StatusCode::OK, Some("admin")));
    let set = answer.headers["set-cookie"].to_str().expect("text");
    for word in ["Secure", "HttpOnly", "SameSite=Strict", "Path=/;"] {
        assert!(set.contains(word), "{set}");
    }
    let cookie = set.split(';').next().expect("a pair");
    assert_eq!(api.ask("POST /v1/login", &[], &wish).await.status, StatusCode::UNAUTHORIZED, "replayed");
    let large = api.ask("POST /v1/login", &[], &" ".repeat(5_000)).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE, "strangers' bodies are small");
    assert_eq!(api.ask("GET /v1/me", &[("cookie", cookie)], "").await.json()["name"], "admin");
    // What another site's page could make the browser send.
    let origin = ("origin", "https://evil.example");
    let own =
        [("cookie", cookie), ("host", "head:8443"), ("origin", "https://head:8443"), (PAGE_HEADER, "page")];
    for headers in [vec![own[0]], vec![own[0], own[1], origin], vec![own[0], own[1], origin, own[3]]] {
        let answer = api.ask("POST /v1/nodes/node1/reboot", &headers, "").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{headers:?}");
    }
    assert_eq!(api.ask("POST /v1/nodes/node1/reboot", &own, "").await.status, StatusCode::ACCEPTED);
    let lines = api.ask("GET /v1/audit", &[own[0]], "").await.json();
    assert_eq!((&lines[0]["who"], &lines[0]["action"]), (&json!("admin"), &json!("reboot")));
    assert_eq!((&lines[0]["from"], &lines[0]["subject"]), (&json!("10.78.0.9"), &json!("node1")));
    assert_eq!(api.ask("POST /v1/logout", &own, "").await.status, StatusCode::ACCEPTED);
    assert_eq!(api.ask("GET /v1/me", &[own[0]], "").await.status, StatusCode::UNAUTHORIZED, "it ended");
}

#[tokio::test]
async fn a_password_logs_in_and_guessing_ends_after_some_tries() {
    let api = Api::new().await;
    let admin = api.token(Scope::Admin).await;
    let set = json!({ "scope": "write", "password": "a long password" }).to_string();
    assert_eq!(api.with(&admin, "PUT /v1/accounts/ada", &set).await.status, StatusCode::ACCEPTED);
    let short = json!({ "password": "short" }).to_string();
    let answer = api.with(&admin, "PUT /v1/accounts/ada", &short).await;
    assert!(answer.status == StatusCode::BAD_REQUEST && answer.body.contains("10 to 200"), "{}", answer.body);
    let log_in = |password: &str| json!({ "name": "ada", "password": password }).to_string();
    let answer = api.ask("POST /v1/login", &[], &log_in("a long password")).await;
    assert_eq!(answer.json(), json!({ "name": "ada", "scope": "write" }));
    let nobody = json!({ "name": "bob", "password": "a long password" }).to_string();
    let mut answers = vec![api.ask("POST /v1/login", &[], &nobody).await];
    for _ in 0..6 {
        answers.push(api.ask("POST /v1/login", &[], &log_in("another password")).await);
    }
    assert_eq!(answers[0].body, answers[1].body, "nobody learns which accounts there are");
    let last = answers.pop().expect("some");
    assert_eq!(last.status, StatusCode::TOO_MANY_REQUESTS);
    let right = api.ask("POST /v1/login", &[], &log_in("a long password")).await;
    assert_eq!(right.status, StatusCode::TOO_MANY_REQUESTS, "not even the right one now");
    assert_eq!(api.with(&admin, "GET /v1/nodes", "").await.status, StatusCode::OK, "who is in goes on");
    let accounts = api.with(&admin, "GET /v1/accounts", "").await;
    assert!(!accounts.body.contains("argon2"), "{}", accounts.body);
}

#[tokio::test]
async fn a_token_is_made_listed_without_its_secret_and_revoked() {
    let api = Api::new().await;
    let admin = api.token(Scope::Admin).await;
    let wish = json!({ "name": "ci", "scope": "read", "days": 3 }).to_string();
    let made = api.with(&admin, "POST /v1/tokens", &wish).await;
    let made: NewToken = serde_json::from_str(&made.body).expect("a token");
    let token = format!("Bearer {}", made.secret);
    assert_eq!(api.with(&token, "GET /v1/me", "").await.json(), json!({ "name": "ci", "scope": "read" }));
    let listed = api.with(&admin, "GET /v1/tokens", "").await;
    assert!(listed.body.contains(&made.token.id) && !listed.body.contains(&made.secret), "{}", listed.body);
    let revoked = api.with(&admin, &format!("DELETE /v1/tokens/{}", made.token.id), "").await;
    assert_eq!(revoked.status, StatusCode::ACCEPTED);
    assert_eq!(api.with(&token, "GET /v1/me", "").await.status, StatusCode::UNAUTHORIZED);
    let wrong = api.with(&admin, "POST /v1/tokens", r#"{"name":"ci","scope":"root"}"#).await;
    assert!(wrong.status == StatusCode::BAD_REQUEST && wrong.body.contains("root"), "{}", wrong.body);
}

#[tokio::test]
async fn every_answer_says_that_nobody_may_keep_frame_or_guess_at_it() {
    let api = Api::new().await;
    let read = api.token(Scope::Read).await;
    for answer in [api.ask("GET /healthz", &[], "").await, api.with(&read, "GET /v1/nodes", "").await] {
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert!(
            answer.headers["content-security-policy"].to_str().expect("text").contains("default-src 'none'")
        );
    }
}
