//! The OpenAPI document beside the implementation: every route answers as it says.

use serde_json::{Value, json};

use super::super::openapi;
use super::*;

/// What of an answer is not as its schema says, by a small reading of JSON Schema 2020-12: the words that our document
/// uses, and a failure for one that it does not know.
fn breaches(document: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let mut found = Vec::new();
    let Some(words) = schema.as_object() else { return found };
    for (word, wanted) in words {
        match word.as_str() {
            "$ref" => {
                let pointer =
                    wanted.as_str().and_then(|text| text.strip_prefix('#')).expect("a local reference");
                let target = document.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is not there"));
                found.extend(breaches(document, target, value, place));
            }
            "type" if !is_of_type(value, wanted) => found.push(format!("{place}: {value} is no {wanted}")),
            "properties" => found.extend(member_breaches(document, wanted, value, place)),
            "required" => {
                for name in wanted.as_array().expect("names") {
                    if value.get(name.as_str().expect("a name")).is_none() {
                        found.push(format!("{place}: no {name}"));
                    }
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(breaches(document, wanted, item, &format!("{place}[{index}]")));
                }
            }
            "enum" if !wanted.as_array().expect("values").contains(value) => {
                found.push(format!("{place}: {value} is none of {wanted}"));
            }
            "const" if wanted != value => found.push(format!("{place}: {value} is not {wanted}")),
            "oneOf" | "anyOf" => {
                let fits = |schema: &&Value| breaches(document, schema, value, place).is_empty();
                if !wanted.as_array().expect("schemas").iter().any(|schema| fits(&schema)) {
                    found.push(format!("{place}: {value} fits none of {wanted}"));
                }
            }
            "type"
            | "enum"
            | "const"
            | "additionalProperties"
            | "description"
            | "title"
            | "format"
            | "minimum"
            | "maximum"
            | "prefixItems"
            | "minItems"
            | "maxItems"
            | "default"
            | "uniqueItems" => {}
            unknown => panic!("{place}: the test does not know the word {unknown}"),
        }
    }
    found
}

fn is_of_type(value: &Value, wanted: &Value) -> bool {
    let is = |kind: &Value| match kind.as_str() {
        Some("null") => value.is_null(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => false,
    };
    wanted.as_array().map_or_else(|| is(wanted), |kinds| kinds.iter().any(is))
}

fn member_breaches(document: &Value, wanted: &Value, value: &Value, place: &str) -> Vec<String> {
    let mut found = Vec::new();
    let members = wanted.as_object().expect("properties");
    for (name, schema) in members {
        if let Some(value) = value.get(name) {
            found.extend(breaches(document, schema, value, &format!("{place}.{name}")));
        }
    }
    // The head says nothing that the document does not know.
    for name in value.as_object().into_iter().flat_map(|object| object.keys()) {
        if !members.contains_key(name) {
            found.push(format!("{place}.{name} is not in the document"));
        }
    }
    found
}

#[tokio::test]
async fn every_route_of_the_document_answers_as_it_says_and_there_is_no_other() {
    let api = Api::new().await;
    let token = api.token(Scope::Admin).await;
    let served = api.with(&token, "GET /api/openapi.json", "").await.json();
    assert_eq!(served, openapi::document());
    assert_eq!(served["openapi"], "3.1.0");
    let compose = r#"{"compose": "services: {}"}"#;
    assert_eq!(api.with(&token, "PUT /v1/stacks/hello", compose).await.status, StatusCode::ACCEPTED);
    assert_eq!(
        api.with(&token, "POST /v1/rollout", "{}").await.status,
        StatusCode::CONFLICT,
        "no node ever booted"
    );
    let (mut compared, mut operations) = (0, 0);
    for (path, methods) in served["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            operations += 1;
            let real = path.replace("{name}", if path.contains("stacks") { "hello" } else { "node1" });
            let request = format!(
                "{} {}",
                method.to_uppercase(),
                real.replace("{id}", "none")
                    .replace("{version}", "1")
                    .replace("{mac}", "none")
                    .replace("{deed}", "none")
            );
            let content = &operation["responses"]["2XX"]["content"];
            // One of the routes ends its own session.
            let token = api.token(Scope::Admin).await;
            let answer = match method.as_str() {
                "get" => api.with(&token, &request, "").await,
                // Not carried out: a body that is none, or a thing that is not there.
                _ => api.with(&token, &request.replace("node1", "nobody"), "\u{0}").await,
            };
            assert_ne!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{request}");
            assert!(!answer.body.contains("nothing at this path"), "{request} is not there");
            if answer.status.is_success() {
                let Some(schema) = content["application/json"].get("schema") else { continue };
                let found = breaches(&served, schema, &answer.json(), &request);
                assert!(found.is_empty(), "{found:#?}");
                compared += 1;
            } else {
                let refused =
                    &served["components"]["responses"]["Refused"]["content"]["application/json"]["schema"];
                let found = breaches(&served, refused, &answer.json(), &request);
                assert!(found.is_empty(), "{request}: {found:#?}");
            }
        }
    }
    assert_eq!(operations, table::all().len());
    assert!(compared >= 8, "{compared} answers were compared");
}

#[test]
fn what_a_schema_does_not_allow_is_found() {
    let document = json!({ "components": { "schemas": { "A": { "type": "object", "required": ["b"],
        "properties": { "b": { "type": ["string", "null"] }, "c": { "oneOf": [{ "const": 1 }, { "enum": [2] }] } } } } } });
    let schema = json!({ "type": "array", "items": { "$ref": "#/components/schemas/A" } });
    let found = |value: Value| breaches(&document, &schema, &value, "");
    assert_eq!(found(json!([{ "b": null, "c": 2 }])), Vec::<String>::new());
    for wrong in [
        json!([{ "b": 3 }]),
        json!([{}]),
        json!([{ "b": "", "c": 3 }]),
        json!({}),
        json!([{ "b": "", "d": 1 }]),
    ] {
        assert_eq!(found(wrong.clone()).len(), 1, "{wrong}");
    }
}
