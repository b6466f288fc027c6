//! The system image: by far most of what the head sends. The kernel moves it from its cache to the wire (sendfile(2));
//! it never comes into this program's memory, however many nodes fetch it.

use std::fs::File;
use std::io;
use std::ops::Range;

use httparse::Status;
use nix::sys::sendfile::sendfile;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::door::HEAD_PATIENCE;
use crate::artefacts::Images;

/// How a request for it begins.
pub(super) const REQUEST: &[u8; 12] = b"GET /system/";
/// The longest head of a request, in bytes, and the most fields.
const HEAD_LIMIT: usize = 8 * 1024;
const FIELDS_LIMIT: usize = 32;
/// The most that is given to the kernel with one call, in bytes: others have their turn between two. As much as a socket
/// holds (the last of Linux' `net.ipv4.tcp_wmem`, ip-sysctl.rst): what is less fills it with more calls and more turns.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// What a request says.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    path: String,
    range: Option<String>,
}

/// What is answered.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// All of it: 200.
    Whole,
    /// A part: 206.
    Part(Range<u64>),
    /// No byte of it is in the range that was asked for: 416.
    Outside,
}

/// Answers the one request of a connection, which begins with [`REQUEST`], and closes it.
///
/// # Errors
/// The client went away, or took nothing for too long.
pub(super) async fn serve(mut stream: TcpStream, images: &Images) -> io::Result<()> {
    let head = timeout(HEAD_PATIENCE, read_head(&mut stream)).await??;
    let Some(wanted) = wanted(&head) else { return refuse(stream, "400 Bad Request").await };
    let Some(image) = wanted.path.strip_prefix("/system/").and_then(|digest| images.by_path(digest)) else {
        return refuse(stream, "404 Not Found").await;
    };
    let total = image.system_bytes;
    let (status, range, more) = match answer(wanted.range.as_deref(), total) {
        Answer::Whole => ("200 OK", 0..total, String::new()),
        Answer::Part(range) => {
            let more = format!("Content-Range: bytes {}-{}/{total}\r\n", range.start, range.end - 1);
            ("206 Partial Content", range, more)
        }
        Answer::Outside => ("416 Range Not Satisfiable", 0..0, format!("Content-Range: bytes */{total}\r\n")),
    };
    let more = format!("Content-Type: application/octet-stream\r\nAccept-Ranges: bytes\r\n{more}");
    begin(&mut stream, status, range.end - range.start, &more).await?;
    send(&stream, &image.system, range).await?;
    stream.shutdown().await
}

async fn refuse(mut stream: TcpStream, status: &str) -> io::Result<()> {
    begin(&mut stream, status, 0, "").await?;
    stream.shutdown().await
}

/// The head of an answer; `more` are fields with their line ends.
async fn begin(stream: &mut TcpStream, status: &str, length: u64, more: &str) -> io::Result<()> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{more}Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await
}

/// Reads to the empty line, or as much as is allowed.
async fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(1_024);
    while !head.windows(4).any(|window| window == b"\r\n\r\n") && head.len() < HEAD_LIMIT {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

/// What is asked for; `None` if it is no request.
fn wanted(head: &[u8]) -> Option<Wanted> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_LIMIT];
    let mut request = httparse::Request::new(&mut fields);
    if !matches!(request.parse(head), Ok(Status::Complete(_))) {
        return None;
    }
    let path = request.path?.to_owned();
    let range = request.headers.iter().find(|field| field.name.eq_ignore_ascii_case("range"));
    let range = range.and_then(|field| std::str::from_utf8(field.value).ok()).map(str::to_owned);
    Some(Wanted { path, range })
}

/// What to say to a `Range` field, for an image of so many bytes.
fn answer(field: Option<&str>, total: u64) -> Answer {
    match field.and_then(|field| range(field, total)) {
        None => Answer::Whole,
        Some(range) if range.is_empty() => Answer::Outside,
        Some(range) => Answer::Part(range),
    }
}

/// The one range of a `Range` field (RFC 9110 section 14.2), empty if it lies outside; `None` for anything else, which a
/// server may ignore.
fn range(field: &str, total: u64) -> Option<Range<u64>> {
    let (first, last) = field.trim().strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| -> Option<u64> {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    };
    if first.is_empty() {
        let length = number(last)?.min(total);
        return Some(total - length..total);
    }
    let first = number(first)?;
    let end = if last.is_empty() { total } else { number(last)?.checked_add(1)?.min(total) };
    // A last byte before the first makes the field invalid.
    (last.is_empty() || number(last)? >= first).then_some(if first < total { first..end } else { 0..0 })
}

async fn send(stream: &TcpStream, file: &File, range: Range<u64>) -> io::Result<()> {
    let end = i64::try_from(range.end).map_err(io::Error::other)?;
    let mut offset = i64::try_from(range.start).map_err(io::Error::other)?;
    while offset < end {
        // For a minute at most: the door has the kernel close who takes nothing (`places`).
        stream.writable().await?;
        let count = CHUNK_BYTES.min(usize::try_from(end - offset).unwrap_or(CHUNK_BYTES));
        let sent =
            stream.try_io(Interest::WRITABLE, || Ok(sendfile(stream, file, Some(&mut offset), count)?));
        match sent {
            // The file was cut while it was served.
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => tokio::task::yield_now().await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::places::limit_silence;
    use super::*;

    const PATH: &str = "/system/0f";

    fn asked(fields: &str) -> Answer {
        let head = format!("GET {PATH} HTTP/1.1\r\nHost: head\r\n{fields}\r\n");
        let wanted = wanted(head.as_bytes()).expect("a request");
        assert_eq!(wanted.path, PATH);
        answer(wanted.range.as_deref(), 1_000)
    }

    #[test]
    fn one_range_is_answered_as_rfc_9110_has_it() {
        assert_eq!(asked(""), Answer::Whole);
        assert_eq!(asked("Range: bytes=0-\r\n"), Answer::Part(0..1_000));
        assert_eq!(asked("range: bytes=400-499\r\n"), Answer::Part(400..500));
        assert_eq!(asked("Range: bytes=999-5000\r\n"), Answer::Part(999..1_000));
        assert_eq!(asked("Range: bytes=-10\r\n"), Answer::Part(990..1_000));
        assert_eq!(asked("Range: bytes=-5000\r\n"), Answer::Part(0..1_000));
        for outside in ["bytes=1000-", "bytes=-0", "bytes=18446744073709551614-"] {
            assert_eq!(asked(&format!("Range: {outside}\r\n")), Answer::Outside, "{outside}");
        }
    }

    #[test]
    fn what_is_no_range_is_as_if_it_were_not_there() {
        for ignored in [
            "bytes=5-4",
            "bytes=+1-2",
            "bytes=0-1,5-6",
            "lines=1-2",
            "bytes=",
            "bytes=-",
            "bytes=99999999999999999999-",
        ] {
            assert_eq!(asked(&format!("Range: {ignored}\r\n")), Answer::Whole, "{ignored}");
        }
    }

    #[test]
    fn rubbish_is_refused() {
        assert_eq!(wanted(b"GET /system/0f\r\n\r\n"), None);
        let many = format!("GET {PATH} HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(FIELDS_LIMIT + 1));
        assert_eq!(wanted(many.as_bytes()), None);
    }

    #[tokio::test]
    async fn who_takes_nothing_of_the_image_is_closed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connects");
        let (stream, _) = listener.accept().await.expect("accepted");
        limit_silence(&stream, Duration::from_millis(500)).expect("set");
        let file = tempfile::tempfile().expect("a file");
        // Far more than sockets hold.
        let bytes = 1 << 30;
        file.set_len(bytes).expect("a hole");
        let sent =
            timeout(Duration::from_secs(20), send(&stream, &file, 0..bytes)).await.expect("closed in time");
        sent.expect_err("nobody took it");
        drop(client);
    }
}
