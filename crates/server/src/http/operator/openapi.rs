//! The API's description of itself (OpenAPI 3.1), made of the routes' table and of the objects' own types.

use axum::Json;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::guard::Need;
use super::table::{self, Content, Route};

pub(super) async fn show() -> Json<Value> {
    Json(document())
}

/// The document.
pub(super) fn document() -> Value {
    // What may be absent differs between what is sent and what is taken.
    let settings = || {
        let mut settings = SchemaSettings::draft2020_12();
        settings.definitions_path = "/components/schemas".into();
        settings
    };
    let mut taken = settings().for_deserialize().into_generator();
    let mut given = settings().for_serialize().into_generator();
    let mut paths = Map::new();
    for route in table::all() {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation(&route, &mut taken, &mut given);
    }
    let failure = given.subschema_for::<cluster::view::Failure>();
    let mut schemas = taken.take_definitions(true);
    schemas.extend(given.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "fledermaus",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The head of a cluster of Raspberry Pis. Every refusal carries a sentence for people.",
            "license": { "name": "Apache-2.0 OR MIT" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {
                "Refused": {
                    "description": "A sentence: what was wrong, where, and what to do",
                    "content": { "application/json": { "schema": failure } },
                },
            },
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "session": { "type": "apiKey", "in": "cookie", "name": super::guard::COOKIE },
            },
        },
    })
}

fn operation(route: &Route, taken: &mut SchemaGenerator, given: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "summary": route.summary,
        "operationId": operation_id(route),
        "responses": {
            "2XX": { "description": "Done, or begun", "content": content(route.gives, given) },
            "4XX": { "$ref": "#/components/responses/Refused" },
        },
    });
    let parameters: Vec<Value> = parameters(route);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    let body = content(route.takes, taken);
    if body.as_object().is_some_and(|body| !body.is_empty()) {
        operation["requestBody"] = json!({ "required": true, "content": body });
    }
    match route.need {
        Need::Nothing => operation["security"] = json!([]),
        Need::Scope(scope) => {
            operation["security"] = json!([{ "token": [] }, { "session": [] }]);
            operation["description"] = format!("Takes the scope `{scope}`.").into();
        }
    }
    operation
}

/// The method and the path's words: `get_nodes_name`.
fn operation_id(route: &Route) -> String {
    let words = route.path.split('/').filter(|word| !word.is_empty() && *word != "v1");
    let words: Vec<String> = words.map(|word| word.replace(['{', '}', '.'], "").replace('-', "_")).collect();
    format!("{}_{}", route.method.as_str().to_ascii_lowercase(), words.join("_"))
}

fn parameters(route: &Route) -> Vec<Value> {
    let in_path = route.path.split('/').filter_map(|word| word.strip_prefix('{')?.strip_suffix('}'));
    let in_path = in_path
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    let in_query = route.query.iter().map(|(name, what)| {
        json!({ "name": name, "in": "query", "description": what, "schema": { "type": "string" } })
    });
    in_path.chain(in_query).collect()
}

fn content(content: Content, generator: &mut SchemaGenerator) -> Value {
    match content {
        Content::Nothing => json!({}),
        Content::Text(kind) => json!({ kind: { "schema": { "type": "string" } } }),
        Content::Json(schema) => json!({ "application/json": { "schema": schema(generator) } }),
    }
}
