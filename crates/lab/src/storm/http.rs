//! The clients' HTTP: one request and one answer per connection, from the client's own address.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrIn, bind, connect, recv, socket,
};
use std::os::fd::AsRawFd;

/// How long the head may be silent.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
/// The longest head of an answer, in bytes.
const HEAD_LIMIT: usize = 16 * 1024;

/// Fetches a file and counts its bytes.
///
/// # Errors
/// The head does not answer, answers with another status than 200, or ends too early.
pub(super) fn get(own: Ipv4Addr, head: SocketAddrV4, path: &str) -> Result<u64, String> {
    fetch(own, head, path, read)
}

/// The same, but the kernel throws the file away: a load that copied what it gets would mostly measure its copying.
///
/// # Errors
/// As [`get`].
pub(super) fn discard(own: Ipv4Addr, server: SocketAddrV4, path: &str) -> Result<u64, String> {
    fetch(own, server, path, drop_unread)
}

fn fetch(own: Ipv4Addr, head: SocketAddrV4, path: &str, take: Take) -> Result<u64, String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {head}\r\nConnection: close\r\n\r\n");
    exchange(own, head, &request, take).map_err(|error| format!("HTTP: {error}"))
}

/// Posts JSON.
///
/// # Errors
/// As [`get`].
pub(super) fn post(own: Ipv4Addr, head: SocketAddrV4, path: &str, body: &str) -> Result<u64, String> {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {head}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    exchange(own, head, &request, read).map_err(|error| format!("HTTP report: {error}"))
}

/// Takes more of an answer's body: how many bytes.
type Take = fn(&TcpStream, &mut [u8]) -> io::Result<usize>;

fn read(mut stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    stream.read(buffer)
}

/// As many as the buffer has room for, which stays as it was (tcp(7)).
fn drop_unread(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(recv(stream.as_raw_fd(), buffer, MsgFlags::MSG_TRUNC)?)
}

fn exchange(own: Ipv4Addr, head: SocketAddrV4, request: &str, take: Take) -> Result<u64, String> {
    let mut stream = dial(own, head).map_err(|error| format!("connecting: {error}"))?;
    stream.set_read_timeout(Some(SILENCE_LIMIT)).map_err(|error| error.to_string())?;
    stream.write_all(request.as_bytes()).map_err(|error| format!("asking: {error}"))?;
    let mut buffer = vec![0; 256 * 1024];
    let mut begun = Vec::new();
    let (status, mut count, length) = loop {
        let read = stream.read(&mut buffer).map_err(|error| format!("reading: {error}"))?;
        begun.extend_from_slice(&buffer[..read]);
        if let Some(answer) = head_of(&begun) {
            break answer;
        }
        if read == 0 || begun.len() > HEAD_LIMIT {
            return Err("the answer has no head".to_owned());
        }
    };
    if status != 200 {
        return Err(format!("status {status}"));
    }
    while count < length {
        match take(&stream, &mut buffer).map_err(|error| format!("reading: {error}"))? {
            0 => return Err("the answer ended too early".to_owned()),
            read => count += read as u64,
        }
    }
    Ok(count)
}

/// Status, bytes of the body so far, and how many there will be.
fn head_of(answer: &[u8]) -> Option<(u16, u64, u64)> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse().ok()?;
    Some((status, (answer.len() - end - 4) as u64, length))
}

fn dial(own: Ipv4Addr, head: SocketAddrV4) -> nix::Result<TcpStream> {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(own, 0)))?;
    connect(socket.as_raw_fd(), &SockaddrIn::from(head))?;
    Ok(TcpStream::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answers_head_is_read_once_it_is_whole() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nabc";
        assert_eq!(head_of(answer), Some((200, 3, 7)));
        assert_eq!(head_of(&answer[..30]), None);
    }
}
