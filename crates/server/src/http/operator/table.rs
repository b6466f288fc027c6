//! The table of the API: every route once, with who may use it, what it takes and what it gives. The router and the
//! OpenAPI document are both made of it.

use axum::extract::Request;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{Next, from_fn};
use axum::routing::{MethodFilter, MethodRouter, on};
use cluster::stack::StackWish;
use cluster::swarm::Rollout;
use cluster::view::{
    AccountView, AccountWish, ApplyView, AuditLine, BootView, ImageView, LeaseView, LoginWish, LogsView, Me,
    NewLogin, NewToken, NodeChange, NodeDetail, NodePage, NodeSet, NodeView, RivalView, RolloutWish, Scope,
    StackView, SwarmEvent, SwarmView, TemplateView, TokenView, TokenWish, UserDataVersion, WaitingView,
};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::guard::{Need, check};
use super::{Desk, access, events, inventory, metrics, nodes, openapi, swarm, user_data};

/// What a request or an answer holds.
#[derive(Clone, Copy)]
pub(super) enum Content {
    /// Nothing.
    Nothing,
    /// Text of this media type.
    Text(&'static str),
    /// An object.
    Json(fn(&mut SchemaGenerator) -> Schema),
}

/// An object of this type.
fn json<T: JsonSchema>() -> Content {
    Content::Json(|generator| generator.subschema_for::<T>())
}

const PLAIN: Content = Content::Text("text/plain");

/// One route.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) need: Need,
    /// One sentence without a full stop.
    pub(super) summary: &'static str,
    pub(super) takes: Content,
    pub(super) gives: Content,
    /// What may stand behind the path's question mark, each with what it is.
    pub(super) query: &'static [(&'static str, &'static str)],
    handler: MethodRouter<Desk>,
}

impl Route {
    fn new<T: 'static>(
        (method, path): (Method, &'static str),
        need: Need,
        summary: &'static str,
        handler: impl Handler<T, Desk>,
    ) -> Self {
        let filter = MethodFilter::try_from(method.clone()).expect("one of HTTP's own methods");
        let (takes, gives) = (Content::Nothing, Content::Nothing);
        Self { method, path, need, summary, takes, gives, query: &[], handler: on(filter, handler) }
    }

    fn takes(self, takes: Content) -> Self {
        Self { takes, ..self }
    }

    fn gives(self, gives: Content) -> Self {
        Self { gives, ..self }
    }

    fn query(self, query: &'static [(&'static str, &'static str)]) -> Self {
        Self { query, ..self }
    }

    /// The handler behind its guard.
    pub(super) fn service(self) -> MethodRouter<Desk> {
        let need = self.need;
        self.handler.layer(from_fn(move |request: Request, next: Next| check(need, request, next)))
    }
}

/// Every route.
pub(super) fn all() -> Vec<Route> {
    [of_nodes(), of_the_inventory(), of_user_data(), of_the_swarm(), of_access()]
        .into_iter()
        .flatten()
        .collect()
}

const READ: Need = Need::Scope(Scope::Read);
const WRITE: Need = Need::Scope(Scope::Write);
const ADMIN: Need = Need::Scope(Scope::Admin);

fn get(path: &'static str) -> (Method, &'static str) {
    (Method::GET, path)
}

fn post(path: &'static str) -> (Method, &'static str) {
    (Method::POST, path)
}

fn put(path: &'static str) -> (Method, &'static str) {
    (Method::PUT, path)
}

fn delete(path: &'static str) -> (Method, &'static str) {
    (Method::DELETE, path)
}

const NODES: &[(&str, &str)] = &[
    ("q", "what stands somewhere in name, address, MAC or role"),
    ("state", "ready, booting, failed or unseen"),
    ("offset", "how many nodes to leave out"),
    ("limit", "how many nodes at most, up to 1000"),
];

fn of_nodes() -> Vec<Route> {
    let node_reboot = "Make a node new as soon as the swarm can spare it";
    vec![
        Route::new(get("/v1/nodes"), READ, "All nodes", nodes::list).gives(json::<Vec<NodeView>>()),
        Route::new(get("/v1/node-list"), READ, "Some of the nodes", nodes::page)
            .query(NODES)
            .gives(json::<NodePage>()),
        Route::new(get("/v1/boots"), READ, "The newest boot of each node, newest first", nodes::boots)
            .query(&[("limit", "how many boots at most, up to 1000")])
            .gives(json::<Vec<BootView>>()),
        Route::new(get("/v1/leases"), READ, "The addresses that are given", nodes::leases)
            .gives(json::<Vec<LeaseView>>()),
        Route::new(get("/v1/nodes/{name}"), READ, "One node and its timeline", nodes::one)
            .gives(json::<NodeDetail>()),
        Route::new(get("/v1/nodes/{name}/logs"), WRITE, "The ends of a node's logs", nodes::logs)
            .gives(json::<LogsView>()),
        Route::new(post("/v1/nodes/{name}/reboot"), WRITE, node_reboot, nodes::reboot),
        Route::new(
            post("/v1/nodes/{name}/power/{deed}"),
            WRITE,
            "Work a node's power: on, off or cycle",
            nodes::power,
        ),
        Route::new(get("/v1/rivals"), READ, "Other DHCP servers on the wire", nodes::rivals)
            .gives(json::<Vec<RivalView>>()),
        Route::new(get("/v1/events"), READ, "What changes, as server-sent events", events::listen)
            .gives(Content::Text("text/event-stream")),
    ]
}

fn of_the_inventory() -> Vec<Route> {
    const DRY: &[(&str, &str)] = &[("dry_run", "true: only tell what would change")];
    let patch = (Method::PATCH, "/v1/nodes/{name}");
    vec![
        Route::new(patch, WRITE, "Set what is wished of a node", inventory::set)
            .takes(json::<NodeSet>())
            .gives(json::<Vec<NodeChange>>()),
        Route::new(delete("/v1/nodes/{name}"), WRITE, "Forget a node", inventory::forget),
        Route::new(get("/v1/waiting"), READ, "Machines that wait for approval", inventory::waiting)
            .gives(json::<Vec<WaitingView>>()),
        Route::new(post("/v1/waiting/{mac}/approve"), WRITE, "Make a machine a node", inventory::approve),
        Route::new(post("/v1/apply"), WRITE, "Have all be as cluster.toml says", inventory::apply)
            .query(DRY)
            .gives(json::<ApplyView>()),
        Route::new(get("/v1/images"), READ, "The images that are served", inventory::images)
            .gives(json::<Vec<ImageView>>()),
        Route::new(get("/v1/export"), WRITE, "cluster.toml with what is wished of nodes", inventory::export)
            .gives(PLAIN),
    ]
}

fn of_user_data() -> Vec<Route> {
    let (one, preview) = ("/v1/user-data/{name}", "Render a template that is not set");
    const TEMPLATE: &[(&str, &str)] =
        &[("template", "the file whose text this is; without it, it is the node's own template")];
    vec![
        Route::new(get("/v1/user-data"), READ, "All templates", user_data::templates)
            .gives(json::<Vec<TemplateView>>()),
        Route::new(get("/v1/nodes/{name}/user-data"), WRITE, "What a node would get", user_data::rendered)
            .gives(PLAIN),
        Route::new(post("/v1/nodes/{name}/preview"), WRITE, preview, user_data::preview)
            .query(TEMPLATE)
            .takes(PLAIN)
            .gives(PLAIN),
        Route::new(get(one), WRITE, "A node's template, or the file of that name", user_data::template)
            .gives(PLAIN),
        Route::new(put(one), WRITE, "Set a node's template, or the file of that name", user_data::set)
            .takes(PLAIN),
        Route::new(
            get("/v1/user-data/{name}/history"),
            WRITE,
            "Its versions, newest first",
            user_data::history,
        )
        .gives(json::<Vec<UserDataVersion>>()),
        Route::new(get("/v1/user-data/{name}/history/{version}"), WRITE, "One version", user_data::version)
            .gives(PLAIN),
        Route::new(
            get("/v1/user-data/{name}/history/{version}/diff"),
            WRITE,
            "What changed since, line by line",
            user_data::difference,
        )
        .gives(PLAIN),
        Route::new(
            post("/v1/user-data/{name}/history/{version}/restore"),
            WRITE,
            "Set a version anew",
            user_data::restore,
        ),
    ]
}

const LOG: &[(&str, &str)] =
    &[("before", "only lines with smaller numbers"), ("limit", "how many lines at most, up to 1000")];

fn of_the_swarm() -> Vec<Route> {
    vec![
        Route::new(get("/v1/swarm"), READ, "The swarm", swarm::show).gives(json::<SwarmView>()),
        Route::new(get("/v1/swarm/events"), READ, "What was decided, newest first", swarm::events)
            .query(LOG)
            .gives(json::<Vec<SwarmEvent>>()),
        Route::new(get("/v1/stacks"), READ, "All stacks", swarm::stacks).gives(json::<Vec<StackView>>()),
        Route::new(get("/v1/stacks/{name}"), READ, "One stack", swarm::stack).gives(json::<StackView>()),
        Route::new(put("/v1/stacks/{name}"), WRITE, "Deploy a compose file", swarm::put_stack)
            .takes(json::<StackWish>()),
        Route::new(delete("/v1/stacks/{name}"), WRITE, "Remove a stack", swarm::remove_stack),
        Route::new(get("/v1/rollout"), READ, "The newest rollout", swarm::rollout).gives(json::<Rollout>()),
        Route::new(post("/v1/rollout"), WRITE, "Begin a rollout", swarm::begin_rollout)
            .takes(json::<RolloutWish>())
            .gives(json::<Rollout>()),
        Route::new(post("/v1/rollout/stop"), WRITE, "Take no further node", swarm::stop_rollout)
            .gives(json::<Rollout>()),
        Route::new(post("/v1/rollout/resume"), WRITE, "Go on after a stop", swarm::resume_rollout)
            .gives(json::<Rollout>()),
        Route::new(
            post("/v1/rollout/back"),
            WRITE,
            "Give the nodes of the newest rollout what they had before it",
            swarm::take_rollout_back,
        )
        .gives(json::<Rollout>()),
    ]
}

fn of_access() -> Vec<Route> {
    let nothing = Need::Nothing;
    vec![
        Route::new(get("/healthz"), nothing, "Whether the head runs", access::is_alive).gives(PLAIN),
        Route::new(get("/metrics"), READ, "Figures for Prometheus", metrics::show).gives(PLAIN),
        Route::new(get("/readyz"), READ, "Whether the head's state answers", access::is_ready).gives(PLAIN),
        Route::new(get("/api/openapi.json"), READ, "This document", openapi::show)
            .gives(json::<serde_json::Value>()),
        Route::new(
            post("/v1/login"),
            nothing,
            "Log in; the answer sets the session's cookie",
            access::log_in,
        )
        .takes(json::<LoginWish>())
        .gives(json::<Me>()),
        Route::new(post("/v1/logout"), READ, "End this session", access::log_out),
        Route::new(get("/v1/me"), READ, "Who is asking", access::me).gives(json::<Me>()),
        Route::new(post("/v1/logins"), ADMIN, "Make a one-time login", access::make_login)
            .gives(json::<NewLogin>()),
        Route::new(get("/v1/tokens"), ADMIN, "Tokens and sessions", access::tokens)
            .gives(json::<Vec<TokenView>>()),
        Route::new(post("/v1/tokens"), ADMIN, "Make a token", access::make_token)
            .takes(json::<TokenWish>())
            .gives(json::<NewToken>()),
        Route::new(delete("/v1/tokens/{id}"), ADMIN, "Revoke a token or session", access::revoke),
        Route::new(get("/v1/accounts"), ADMIN, "Accounts with passwords", access::accounts)
            .gives(json::<Vec<AccountView>>()),
        Route::new(
            put("/v1/accounts/{name}"),
            ADMIN,
            "Make an account or set its password",
            access::set_account,
        )
        .takes(json::<AccountWish>()),
        Route::new(delete("/v1/accounts/{name}"), ADMIN, "Remove an account", access::remove_account),
        Route::new(get("/v1/audit"), ADMIN, "Who changed what, newest first", access::audit)
            .query(LOG)
            .gives(json::<Vec<AuditLine>>()),
    ]
}
