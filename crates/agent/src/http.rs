//! The client's half of HTTP/1.1 over any stream: one request, one answer whose end is certain.
//!
//! No redirects, no TLS, no connection reuse. An answer that only ends because the connection does
//! counts as broken: nobody can tell whether it is whole.

use std::io::{self, BufRead, BufReader, Read, Write};

/// The longest line and the most headers of an answer.
const LINE_LIMIT: u64 = 16 * 1024;
const HEADERS_LIMIT: usize = 100;

/// What to ask.
pub(crate) struct Request<'a> {
    /// `GET`, `POST`, `DELETE`.
    pub(crate) method: &'a str,
    /// Path and query.
    pub(crate) target: &'a str,
    /// The Host header.
    pub(crate) host: &'a str,
    /// The Content-Type, if there is a body.
    pub(crate) content_type: &'a str,
    /// Size of the body in bytes.
    pub(crate) length: u64,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    /// The whole body.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// Sends a request with the body that `body` yields and reads an answer of at most `limit` bytes.
///
/// # Errors
/// `UnexpectedEof` if the answer is not whole, `InvalidData` if it is not HTTP, without certain end or
/// too large; whatever the stream says.
pub(crate) fn exchange<S: Read + Write>(
    stream: &mut S,
    request: &Request<'_>,
    body: &mut dyn Read,
    limit: usize,
) -> io::Result<Answer> {
    let mut head = format!(
        "{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
        request.method, request.target, request.host
    );
    if request.length > 0 {
        head += &format!("Content-Type: {}\r\n", request.content_type);
    }
    if request.length > 0 || request.method == "POST" {
        head += &format!("Content-Length: {}\r\n", request.length);
    }
    head += "\r\n";
    // A small body goes in one piece with the head: one packet, one wake-up.
    let mut first = head.into_bytes();
    body.take(8 * 1024).read_to_end(&mut first)?;
    stream.write_all(&first)?;
    io::copy(body, stream)?;
    stream.flush()?;
    read_answer(&mut BufReader::new(stream), limit)
}

fn read_answer(reader: &mut impl BufRead, limit: usize) -> io::Result<Answer> {
    let status_line = line(reader)?;
    let status = status_line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
    let status = status.ok_or_else(|| invalid("not an HTTP answer"))?;
    let mut headers = Vec::new();
    loop {
        let line = line(reader)?;
        if line.is_empty() {
            break;
        }
        if headers.len() == HEADERS_LIMIT {
            return Err(invalid("too many headers"));
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    let mut answer = Answer { status, headers, body: Vec::new() };
    if !matches!(status, 204 | 304) {
        answer.body = read_body(reader, &answer, limit)?;
    }
    Ok(answer)
}

fn read_body(reader: &mut impl BufRead, answer: &Answer, limit: usize) -> io::Result<Vec<u8>> {
    if answer.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return read_chunks(reader, limit);
    }
    let length = answer.header("content-length").and_then(|length| length.parse().ok());
    let length = length.ok_or_else(|| invalid("the answer has neither a length nor chunks"))?;
    let mut body = Vec::new();
    append(reader, length, limit, &mut body)?;
    Ok(body)
}

fn read_chunks(reader: &mut impl BufRead, limit: usize) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size_line = line(reader)?;
        let digits = size_line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(digits, 16).map_err(|_| invalid("a chunk without a size"))?;
        if size == 0 {
            while !line(reader)?.is_empty() {}
            return Ok(body);
        }
        append(reader, size, limit, &mut body)?;
        if !line(reader)?.is_empty() {
            return Err(invalid("a chunk that does not end where it says"));
        }
    }
}

fn append(reader: &mut impl Read, count: usize, limit: usize, body: &mut Vec<u8>) -> io::Result<()> {
    if count > limit.saturating_sub(body.len()) {
        return Err(invalid("the answer is too large"));
    }
    match reader.take(count as u64).read_to_end(body)? {
        read if read == count => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// One line without its end.
fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut bytes = Vec::new();
    reader.take(LINE_LIMIT).read_until(b'\n', &mut bytes)?;
    if bytes.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    String::from_utf8(bytes).map_err(|_| invalid("a header that is not text"))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(wire: &str) -> io::Result<Answer> {
        read_answer(&mut wire.as_bytes(), 20)
    }

    #[test]
    fn bodies_by_length_and_in_chunks() {
        let answer = read("HTTP/1.1 200 OK\r\nSwarm: active/manager\r\nContent-Length: 2\r\n\r\nOKrest")
            .expect("whole");
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"OK"[..]));
        assert_eq!(answer.header("swarm"), Some("active/manager"));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nhell\r\n1\r\no\r\n0\r\nA: b\r\n\r\n";
        assert_eq!(read(chunked).expect("whole").body, b"hello");
        assert!(read("HTTP/1.1 204 No Content\r\n\r\n").expect("whole").body.is_empty());
    }

    #[test]
    fn an_answer_that_is_cut_anywhere_is_an_error() {
        for whole in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ] {
            assert!(read(whole).is_ok());
            for end in 0..whole.len() {
                assert!(read(&whole[..end]).is_err(), "{:?}", &whole[..end]);
            }
        }
    }

    #[test]
    fn answers_without_end_or_limit_are_refused() {
        assert!(read("HTTP/1.1 200 OK\r\n\r\nhello").is_err());
        assert!(read("HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n012345678901234567890").is_err());
        assert!(read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n").is_err());
        assert!(read(&format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(HEADERS_LIMIT + 1))).is_err());
    }
}
