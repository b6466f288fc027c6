//! Refusals that the framework makes itself: of a parameter that is no number, a method that there is not, a body that is too large. They
//! become what OpenAPI says that every refusal is.

use axum::body::to_bytes;
use axum::http::header;
use axum::response::Response;

use super::failure;

/// The most that is read of the framework's own words, in bytes.
const WORDS_LIMIT: usize = 4_096;

/// An answer as the API gives it: the failures of our own handlers are JSON already.
pub(super) async fn as_the_api_says(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE);
    let is_json = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let words = to_bytes(body, WORDS_LIMIT).await.unwrap_or_default();
    let words = String::from_utf8_lossy(&words).trim().to_owned();
    let reason = status.canonical_reason().unwrap_or("refused");
    let mut answer = failure(status, if words.is_empty() { reason.to_owned() } else { words });
    // Such as which methods there are.
    for own in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
        parts.headers.remove(own);
    }
    answer.headers_mut().extend(parts.headers);
    answer
}
