//! Docker's API over its Unix socket: one call per connection, JSON in and out.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::http::{Answer, Request, exchange};

/// The API of Docker 26, the image's.
const API: &str = "/v1.45";
/// The largest answer, in bytes: a list of a few thousand nodes.
const ANSWER_LIMIT: usize = 16 * 1024 * 1024;
/// How long a question may take.
const QUESTION_LIMIT: Duration = Duration::from_secs(10);
/// How long a change may take; joining waits 20 s by itself.
const CHANGE_LIMIT: Duration = Duration::from_secs(90);
/// How long Docker may take to load an image from a slow card.
const LOAD_LIMIT: Duration = Duration::from_secs(900);

/// A Docker that answers on a socket.
#[derive(Clone)]
pub(crate) struct Docker {
    socket: PathBuf,
}

/// Docker did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DockerError {
    /// It does not answer, or not in a way that can be understood.
    #[error("Docker does not answer: {0}")]
    Silent(#[from] io::Error),
    /// It says no.
    #[error("Docker refuses (status {status}): {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Docker's sentence.
        message: String,
    },
}

impl Docker {
    /// A Docker on this socket; need not be there yet.
    pub(crate) fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Whether Docker answers, and its word on the swarm (`active/manager`, `inactive`, …), which it
    /// gives here without work.
    ///
    /// # Errors
    /// It does not answer yet.
    pub(crate) fn ping(&self) -> Result<String, DockerError> {
        let answer = self.call("GET", "/_ping", "", &[], QUESTION_LIMIT)?;
        Ok(answer.header("swarm").unwrap_or_default().to_owned())
    }

    /// Asks.
    ///
    /// # Errors
    /// Docker does not answer or refuses.
    pub(crate) fn get(&self, path: &str) -> Result<Value, DockerError> {
        let answer = self.call("GET", &format!("{API}{path}"), "", &[], QUESTION_LIMIT)?;
        Ok(serde_json::from_slice(&answer.body).map_err(io::Error::from)?)
    }

    /// Changes something.
    ///
    /// # Errors
    /// Docker does not answer or refuses.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<(), DockerError> {
        let json = if body.is_null() { String::new() } else { body.to_string() };
        let target = format!("{API}{path}");
        self.call("POST", &target, "application/json", json.as_bytes(), CHANGE_LIMIT).map(drop)
    }

    /// Deletes something.
    ///
    /// # Errors
    /// Docker does not answer or refuses.
    pub(crate) fn delete(&self, path: &str) -> Result<(), DockerError> {
        self.call("DELETE", &format!("{API}{path}"), "", &[], CHANGE_LIMIT).map(drop)
    }

    /// Loads the images of a docker-archive tar of `length` bytes.
    ///
    /// # Errors
    /// Docker does not answer or refuses.
    pub(crate) fn load_image(&self, tar: &mut dyn Read, length: u64) -> Result<(), DockerError> {
        let target = format!("{API}/images/load?quiet=1");
        let request = request("POST", &target, "application/x-tar", length);
        accepted(exchange(&mut self.connect(LOAD_LIMIT)?, &request, tar, ANSWER_LIMIT)?).map(drop)
    }

    fn call(
        &self,
        method: &str,
        target: &str,
        content_type: &str,
        mut body: &[u8],
        limit: Duration,
    ) -> Result<Answer, DockerError> {
        let request = request(method, target, content_type, body.len() as u64);
        accepted(exchange(&mut self.connect(limit)?, &request, &mut body, ANSWER_LIMIT)?)
    }

    fn connect(&self, limit: Duration) -> io::Result<UnixStream> {
        let stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        Ok(stream)
    }
}

fn request<'a>(method: &'a str, target: &'a str, content_type: &'a str, length: u64) -> Request<'a> {
    Request { method, target, host: "docker", content_type, length }
}

fn accepted(answer: Answer) -> Result<Answer, DockerError> {
    if answer.status < 400 {
        return Ok(answer);
    }
    let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let message = json["message"].as_str().unwrap_or("without a reason").chars().take(500).collect();
    Err(DockerError::Refused { status: answer.status, message })
}
