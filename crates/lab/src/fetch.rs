//! One HTTP GET from inside the lab's network: how a person outside sees a node's page.
//!
//! HTTP/1.0 without redirects, TLS or names: the lab's nodes are addresses.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// How long connecting may take, and how long the server may be silent. A container that has only just started on a board
/// emulated beside two others has needed more than five seconds for its first answer.
const SILENCE_LIMIT: Duration = Duration::from_secs(20);
/// The largest answer that is read, in bytes.
const ANSWER_LIMIT: u64 = 1 << 20;

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The status, such as 200.
    pub status: u16,
    /// The body as text.
    pub body: String,
}

/// Gets `http://ADDRESS[:PORT]/PATH`.
///
/// # Errors
/// The URL is of another kind, nobody answers there, or the answer is not HTTP.
pub(crate) fn get(url: &str) -> anyhow::Result<Page> {
    let (address, path) = parse(url)?;
    let mut stream = TcpStream::connect_timeout(&address, SILENCE_LIMIT)
        .with_context(|| format!("connecting to {address}"))?;
    stream.set_read_timeout(Some(SILENCE_LIMIT))?;
    // In one piece: a server that answers the first of several pieces, and closes, resets the connection.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).context("sending the request")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_LIMIT).read_to_end(&mut answer).with_context(|| format!("reading from {address}"))?;
    page(&String::from_utf8_lossy(&answer))
}

fn parse(url: &str) -> anyhow::Result<(SocketAddr, String)> {
    let rest = url.strip_prefix("http://").context("only http:// can be fetched in the lab")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = host.parse().or_else(|_| host.parse().map(|ip| SocketAddr::new(ip, 80)));
    let address =
        address.map_err(|_| anyhow::anyhow!("`{host}` is not an address of the lab, such as 10.78.0.11"))?;
    Ok((address, format!("/{path}")))
}

fn page(answer: &str) -> anyhow::Result<Page> {
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer ended before its body")?;
    let status =
        head.split(' ').nth(1).and_then(|word| word.parse().ok()).context("the answer is not HTTP")?;
    Ok(Page { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn gets_a_page_from_a_port_and_path() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let url = format!("http://{}/a?b", listener.local_addr().expect("an address"));
        let server = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().expect("a client");
            let mut request = [0; 512];
            let size = peer.read(&mut request).expect("a request");
            peer.write_all(b"HTTP/1.0 404 Not Found\r\nA: b\r\n\r\nno\r\n\r\nsuch").expect("answered");
            String::from_utf8_lossy(&request[..size]).into_owned()
        });
        assert_eq!(get(&url).expect("a page"), Page { status: 404, body: "no\r\n\r\nsuch".into() });
        assert!(server.join().expect("served").starts_with("GET /a?b HTTP/1.0\r\n"));
    }

    #[test]
    fn refuses_what_it_cannot_fetch() {
        for url in ["https://10.78.0.11/", "http://node1/", "10.78.0.11", "http://"] {
            assert!(get(url).is_err(), "{url}");
        }
        assert_eq!(parse("http://10.78.0.11").expect("valid").0.port(), 80);
        assert!(page("SSH-2.0\r\n\r\n").is_err());
    }
}
