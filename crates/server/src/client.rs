//! The operator's way to a running head: HTTP/1.1 over its Unix socket, blocking.
//!
//! One request per connection; `Connection: close` ends the answer. For the command line and the lab.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cluster::view::Failure;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The name of the socket in the state directory.
pub const SOCKET: &str = "head.sock";
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer that is read, in bytes.
const ANSWER_LIMIT: u64 = 64 * 1024 * 1024;

/// A head's socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// A request that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing answers at the socket.
    #[error(
        "no head answers at {socket}: start one with `fledermaus serve`, or name its socket with --socket"
    )]
    NotRunning {
        /// The socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The head refused.
    #[error("{message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The head's sentence.
        message: String,
    },
    /// The connection or the answer broke.
    #[error("the head's answer cannot be read: {0}")]
    Broken(String),
}

impl Client {
    /// A client of the head at this socket; nothing is connected yet.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Fetches an object.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let text = self.get_text(path)?;
        serde_json::from_str(&text).map_err(|error| ClientError::Broken(error.to_string()))
    }

    /// Fetches a text.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn get_text(&self, path: &str) -> Result<String, ClientError> {
        self.request("GET", path, "")
    }

    /// Puts a text.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn put(&self, path: &str, body: &str) -> Result<(), ClientError> {
        self.request("PUT", path, body).map(drop)
    }

    /// Has something removed.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn delete(&self, path: &str) -> Result<(), ClientError> {
        self.request("DELETE", path, "").map(drop)
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn post(&self, path: &str) -> Result<(), ClientError> {
        self.request("POST", path, "").map(drop)
    }

    /// Asks for something to be done, and reads what came of it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn ask<T: DeserializeOwned>(&self, path: &str, wish: &impl Serialize) -> Result<T, ClientError> {
        let broken = |error: serde_json::Error| ClientError::Broken(error.to_string());
        let wish = serde_json::to_string(wish).map_err(broken)?;
        serde_json::from_str(&self.request("POST", path, &wish)?).map_err(broken)
    }

    fn request(&self, method: &str, path: &str, body: &str) -> Result<String, ClientError> {
        let mut stream = UnixStream::connect(&self.socket)
            .map_err(|source| ClientError::NotRunning { socket: self.socket.clone(), source })?;
        let answer = exchange(&mut stream, method, path, body)
            .map_err(|error| ClientError::Broken(error.to_string()))?;
        understand(&answer)
    }
}

fn exchange(stream: &mut UnixStream, method: &str, path: &str, body: &str) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: head\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = Vec::new();
    stream.take(ANSWER_LIMIT).read_to_end(&mut answer)?;
    Ok(answer)
}

/// The body of a success, the sentence of a failure. The head never sends a chunked body here.
fn understand(answer: &[u8]) -> Result<String, ClientError> {
    let text = std::str::from_utf8(answer).map_err(|_| ClientError::Broken("it is not text".to_owned()))?;
    let (head, body) =
        text.split_once("\r\n\r\n").ok_or_else(|| ClientError::Broken("it is cut short".to_owned()))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    match status {
        Some(200..=299) => Ok(body.to_owned()),
        Some(status) => {
            let sentence = serde_json::from_str(body).map(|failure: Failure| failure.error);
            Err(ClientError::Refused {
                status,
                message: sentence.unwrap_or_else(|_| format!("HTTP status {status}")),
            })
        }
        None => Err(ClientError::Broken("it has no status".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_a_refusal_and_nonsense_are_told_apart() {
        assert_eq!(understand(b"HTTP/1.1 200 OK\r\n\r\nhello").expect("a success"), "hello");
        let refused = understand(b"HTTP/1.1 404 Not Found\r\n\r\n{\"error\":\"no node x\"}");
        assert!(
            matches!(refused, Err(ClientError::Refused { status: 404, message }) if message == "no node x")
        );
        assert!(matches!(understand(b"garbage"), Err(ClientError::Broken(_))));
    }

    #[test]
    fn a_head_that_does_not_run_is_named() {
        let error =
            Client::new(Path::new("/nonexistent/head.sock")).get_text("/v1/nodes").expect_err("no head");
        assert!(error.to_string().contains("fledermaus serve"), "{error}");
    }
}
