//! Speaks HTTP/1.1 to the head: posts reports, fetches the system image from a given byte on.
//!
//! Only what init needs: one request per connection, answers with a Content-Length. No TLS, no
//! redirects, no chunks.

use std::io::{Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cluster::plan::NodePlan;
use cluster::report::{Orders, Report};

/// How long the head may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(4);
/// How long a connection may stand still before it counts as broken.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);
/// The longest answer before the body, in bytes.
const HEADERS_LIMIT: usize = 16 * 1024;
/// The largest answer to a report, in bytes.
const ORDERS_LIMIT: u64 = 1024 * 1024;

/// The head, as this boot's plan names it.
#[derive(Clone)]
pub(crate) struct Head {
    address: SocketAddrV4,
    report_path: String,
}

/// The body of an answer; reads exactly the promised bytes, then ends.
pub(crate) struct Body {
    start: Vec<u8>,
    taken: usize,
    connection: TcpStream,
    /// Bytes that are still to come.
    pub(crate) left: u64,
}

/// What an answer says before its body.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    length: u64,
    /// First byte of a partial answer (Content-Range, RFC 9110 section 14.4).
    first_byte: Option<u64>,
}

impl Head {
    /// The head of this plan.
    pub(crate) fn new(plan: &NodePlan) -> Self {
        Self { address: plan.head, report_path: plan.report_path() }
    }

    /// Posts a report.
    ///
    /// # Errors
    /// The head does not answer in time, refuses, or answers something else than orders.
    pub(crate) fn report(&self, report: &Report) -> Result<Orders> {
        let json = serde_json::to_vec(report).context("writing a report")?;
        let mut request = self.request("POST", &self.report_path);
        request += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", json.len());
        let (answer, body) = self.ask([request.as_bytes(), &json].concat())?;
        ensure!(answer.status == 200, "the head refuses the report (status {})", answer.status);
        let mut text = Vec::new();
        body.take(ORDERS_LIMIT).read_to_end(&mut text).context("reading the head's answer")?;
        serde_json::from_slice(&text).context("understanding the head's answer")
    }

    /// Asks for a file from its byte `offset` on.
    ///
    /// # Errors
    /// The head does not answer in time, refuses, or starts at another byte.
    pub(crate) fn file_from(&self, path: &str, offset: u64) -> Result<Body> {
        let request = self.request("GET", path) + &format!("Range: bytes={offset}-\r\n\r\n");
        let (answer, body) = self.ask(request.into_bytes())?;
        match (answer.status, answer.first_byte) {
            (200, _) if offset == 0 => Ok(body),
            (206, Some(first)) if first == offset => Ok(body),
            (status, _) => bail!("the head does not serve {path} from byte {offset} (status {status})"),
        }
    }

    fn request(&self, method: &str, path: &str) -> String {
        format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address)
    }

    fn ask(&self, request: Vec<u8>) -> Result<(Answer, Body)> {
        let address = SocketAddr::V4(self.address);
        let mut connection = TcpStream::connect_timeout(&address, CONNECT_LIMIT)
            .with_context(|| format!("connecting to the head at {address}"))?;
        connection.set_read_timeout(Some(SILENCE_LIMIT))?;
        connection.set_write_timeout(Some(SILENCE_LIMIT))?;
        connection.write_all(&request).context("sending a request to the head")?;
        let (answer, start) = read_answer(&mut connection)?;
        let left = answer.length;
        Ok((answer, Body { start, taken: 0, connection, left }))
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let buffer = &mut buffer[..wanted];
        let waiting = &self.start[self.taken..];
        let count = if waiting.is_empty() {
            self.connection.read(buffer)?
        } else {
            let count = waiting.len().min(buffer.len());
            buffer[..count].copy_from_slice(&waiting[..count]);
            self.taken += count;
            count
        };
        self.left -= count as u64;
        Ok(count)
    }
}

/// Reads up to the end of the headers; what was read beyond them is returned with them.
fn read_answer(connection: &mut impl Read) -> Result<(Answer, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut piece = [0; 2048];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            let text = std::str::from_utf8(&bytes).context("reading the head's headers")?;
            return Ok((parse_answer(text)?, rest));
        }
        ensure!(bytes.len() < HEADERS_LIMIT, "the head's headers do not end");
        match connection.read(&mut piece).context("waiting for the head's answer")? {
            0 => bail!("the head closed the connection without an answer"),
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
}

fn parse_answer(text: &str) -> Result<Answer> {
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1."));
    let status = status.and_then(|line| line.get(2..5)?.parse().ok());
    let mut answer =
        Answer { status: status.context("the head does not speak HTTP")?, length: 0, first_byte: None };
    let mut length = None;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok(),
            "content-range" => answer.first_byte = first_byte(value),
            _ => {}
        }
    }
    answer.length = length.context("the head's answer has no length")?;
    Ok(answer)
}

/// `bytes 1000-1999/2000` starts at 1000.
fn first_byte(range: &str) -> Option<u64> {
    range.trim().strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_with_what_follows_it() {
        let mut wire: &[u8] =
            b"HTTP/1.1 206 Partial Content\r\ncontent-length: 5\r\nContent-Range: bytes 7-11/12\r\n\r\nhello";
        let (answer, rest) = read_answer(&mut wire).expect("an answer");
        assert_eq!(answer, Answer { status: 206, length: 5, first_byte: Some(7) });
        assert_eq!(rest, b"hello");
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for wire in
            ["", "HTTP/1.1 200 OK\r\n", "SSH-2.0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 2\r\n\r\n"]
        {
            assert!(read_answer(&mut wire.as_bytes()).is_err(), "{wire}");
        }
        let endless = vec![b'x'; 2 * HEADERS_LIMIT];
        assert!(read_answer(&mut endless.as_slice()).is_err());
    }
}
