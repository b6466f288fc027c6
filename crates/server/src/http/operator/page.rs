//! The page: files in this program, for everybody. What they show is asked for with the session's cookie.

use axum::http::header;
use axum::response::{IntoResponse, Response};

/// Only the head's own files and answers, no frames, no inline anything, and no way from text to HTML.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, media type, content.
type File = (&'static str, &'static str, &'static str);

/// All files.
pub(super) const FILES: [File; 13] = [
    ("/", "text/html; charset=utf-8", include_str!("../../../page/index.html")),
    ("/page/style.css", "text/css; charset=utf-8", include_str!("../../../page/style.css")),
    ("/page/icon.svg", "image/svg+xml", include_str!("../../../page/icon.svg")),
    ("/page/app.js", SCRIPT, include_str!("../../../page/app.js")),
    ("/page/dom.js", SCRIPT, include_str!("../../../page/dom.js")),
    ("/page/boots.js", SCRIPT, include_str!("../../../page/boots.js")),
    ("/page/nodes.js", SCRIPT, include_str!("../../../page/nodes.js")),
    ("/page/node.js", SCRIPT, include_str!("../../../page/node.js")),
    ("/page/user_data.js", SCRIPT, include_str!("../../../page/user_data.js")),
    ("/page/logs.js", SCRIPT, include_str!("../../../page/logs.js")),
    ("/page/images.js", SCRIPT, include_str!("../../../page/images.js")),
    ("/page/swarm.js", SCRIPT, include_str!("../../../page/swarm.js")),
    ("/page/access.js", SCRIPT, include_str!("../../../page/access.js")),
];

/// The answer with a file.
pub(super) fn file((_, kind, content): File) -> Response {
    let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_SECURITY_POLICY, POLICY)];
    (headers, content).into_response()
}
