//! The operator's way to a running head: HTTP/1.1 over its Unix socket or over TLS, blocking.
//!
//! One request per connection; `Connection: close` ends the answer. For the command line and the lab.

mod remote;

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cluster::view::Failure;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::remote::{InvalidRemote, Remote};

/// The name of the socket in the state directory.
pub const SOCKET: &str = "head.sock";
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long the head may take to apply its configuration: an image that is new in a store is fetched first, over whatever network.
pub const APPLY_PATIENCE: Duration = Duration::from_secs(15 * 60);
/// The largest answer that is read, in bytes.
const ANSWER_LIMIT: u64 = 64 * 1024 * 1024;

/// The way to a head.
#[derive(Clone, Debug)]
pub struct Client {
    way: Way,
    patience: Duration,
}

#[derive(Clone, Debug)]
enum Way {
    Socket(PathBuf),
    Tls(Remote),
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
    /// The socket is another user's.
    #[error(
        "{socket}: permission denied: use sudo, or ask over TLS with FLEDERMAUS_URL and FLEDERMAUS_TOKEN (`fledermaus token \
         create` on the head makes one)"
    )]
    NotAllowed {
        /// The socket.
        socket: PathBuf,
    },
    /// Nothing answers at the address, or it is not the head that was meant.
    #[error("no head answers at {place}: its address, its fingerprint or the network is wrong")]
    NoAnswer {
        /// The address.
        place: String,
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
        Self { way: Way::Socket(socket.to_owned()), patience: TIMEOUT }
    }

    /// A client of a head on another machine; nothing is connected yet.
    pub fn remote(remote: Remote) -> Self {
        Self { way: Way::Tls(remote), patience: TIMEOUT }
    }

    /// The same way, with this much patience for each answer.
    #[must_use]
    pub fn with_patience(&self, patience: Duration) -> Self {
        Self { way: self.way.clone(), patience }
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
        self.ask_by("POST", path, wish)
    }

    /// The same by another method of HTTP.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn ask_by<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        wish: &impl Serialize,
    ) -> Result<T, ClientError> {
        let broken = |error: serde_json::Error| ClientError::Broken(error.to_string());
        let wish = serde_json::to_string(wish).map_err(broken)?;
        serde_json::from_str(&self.request(method, path, &wish)?).map_err(broken)
    }

    fn request(&self, method: &str, path: &str, body: &str) -> Result<String, ClientError> {
        let patience = Some(self.patience);
        let answer = match &self.way {
            Way::Socket(socket) => {
                let stream = UnixStream::connect(socket).map_err(|error| unreached(socket, error))?;
                let limits = [stream.set_read_timeout(patience), stream.set_write_timeout(patience)];
                let set = limits.into_iter().collect::<io::Result<()>>();
                set.and_then(|()| exchange(stream, ["head", ""], [method, path, body]))
                    .map_err(|error| ClientError::Broken(error.to_string()))?
            }
            Way::Tls(remote) => {
                let no_answer = |source| ClientError::NoAnswer { place: remote.place(), source };
                let stream = remote.connect(self.patience).map_err(no_answer)?;
                let (authority, header) = (remote.authority(), remote.header());
                exchange(stream, [&authority, &header], [method, path, body]).map_err(no_answer)?
            }
        };
        understand(&answer)
    }
}

/// What it means that a socket cannot be connected to.
fn unreached(socket: &Path, source: io::Error) -> ClientError {
    let socket = socket.to_owned();
    match source.kind() {
        io::ErrorKind::PermissionDenied => ClientError::NotAllowed { socket },
        _ => ClientError::NotRunning { socket, source },
    }
}

fn exchange(
    mut stream: impl Read + Write,
    [host, headers]: [&str; 2],
    [method, path, body]: [&str; 3],
) -> io::Result<Vec<u8>> {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut answer = Vec::new();
    match stream.take(ANSWER_LIMIT).read_to_end(&mut answer) {
        // Who closes TLS without a word may have cut the answer; its length tells (see `understand`).
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(answer),
        Err(error) => Err(error),
        Ok(_) => Ok(answer),
    }
}

/// The body of a success, the sentence of a failure. The head never sends a chunked body here.
fn understand(answer: &[u8]) -> Result<String, ClientError> {
    let text = std::str::from_utf8(answer).map_err(|_| ClientError::Broken("it is not text".to_owned()))?;
    let (head, body) =
        text.split_once("\r\n\r\n").ok_or_else(|| ClientError::Broken("it is cut short".to_owned()))?;
    let length = head.lines().filter_map(|line| line.split_once(':'));
    let mut length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    if length.any(|(_, value)| value.trim().parse::<usize>().is_ok_and(|length| length > body.len())) {
        return Err(ClientError::Broken("it is cut short".to_owned()));
    }
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
        let short = understand(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello");
        assert!(matches!(short, Err(ClientError::Broken(why)) if why.contains("cut short")));
    }

    #[test]
    fn a_head_that_does_not_run_is_named() {
        let error =
            Client::new(Path::new("/nonexistent/head.sock")).get_text("/v1/nodes").expect_err("no head");
        assert!(error.to_string().contains("fledermaus serve"), "{error}");
    }

    /// It was said to be no head at all: who is not root was told to start one.
    #[test]
    fn a_head_that_may_not_be_asked_is_told_from_none() {
        let denied = unreached(Path::new("/x/head.sock"), io::ErrorKind::PermissionDenied.into()).to_string();
        assert!(denied.starts_with("/x/head.sock: permission denied: use sudo"), "{denied}");
        assert!(!denied.contains("fledermaus serve"), "{denied}");
    }
}
