//! Carries connections on, byte for byte: an emulated head's socket for operators is not a file out here.
//!
//! ```text
//! lab, tests ─► head.sock in the lab's directory ─► the lab's process ═ cable for operators ═► the head's PID 1 ─► head.sock
//! ```
//! Knows nothing of what is said.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use nix::sys::socket::{Shutdown, shutdown};

/// Connections that are carried at the same time; further ones wait.
const CONNECTIONS: usize = 32;

/// Carries what `accept` gives to what `connect` gives, for as long as this process lives.
pub(crate) fn begin(
    accept: impl Fn() -> io::Result<OwnedFd> + Send + Sync + 'static,
    connect: impl Fn() -> io::Result<OwnedFd> + Send + Sync + 'static,
) {
    let ends = Arc::new((accept, connect));
    for _ in 0..CONNECTIONS {
        let ends = Arc::clone(&ends);
        std::thread::spawn(move || {
            loop {
                let (accept, connect) = &*ends;
                // Where nobody is on the other side, the one who came finds the connection closed.
                if let Ok(near) = accept()
                    && let Ok(far) = connect()
                {
                    carry(&File::from(near), &File::from(far));
                }
            }
        });
    }
}

/// Both directions, until both have ended.
fn carry(near: &File, far: &File) {
    std::thread::scope(|both| {
        both.spawn(|| pour(near, far));
        pour(far, near);
    });
}

/// One direction. Its end is passed on: the other one may have more to say.
fn pour(mut from: &File, mut to: &File) {
    // Either side may break off whenever it likes; the other one then sees the end.
    let _ = io::copy(&mut from, &mut to);
    let _ = shutdown(to.as_raw_fd(), Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn what_is_said_arrives_and_so_does_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let (near, far) = (folder.path().join("near.sock"), folder.path().join("far.sock"));
        let head = UnixListener::bind(&far).unwrap();
        let cable = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = cable.local_addr().unwrap();
        let outside = UnixListener::bind(&near).unwrap();
        begin(move || Ok(cable.accept()?.0.into()), move || Ok(UnixStream::connect(&far)?.into()));
        begin(move || Ok(outside.accept()?.0.into()), move || Ok(TcpStream::connect(address)?.into()));
        let answering = std::thread::spawn(move || {
            let mut question = Vec::new();
            let (mut peer, _) = head.accept().unwrap();
            // Ends only if the end of the question is passed on.
            peer.read_to_end(&mut question).unwrap();
            question.reverse();
            peer.write_all(&question).unwrap();
        });
        let question: Vec<u8> = (0..300_000_u32).map(|number| number as u8).collect();
        let mut asking = UnixStream::connect(&near).unwrap();
        asking.write_all(&question).unwrap();
        asking.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        asking.read_to_end(&mut answer).unwrap();
        answering.join().unwrap();
        assert!(answer.iter().eq(question.iter().rev()));
    }

    #[test]
    fn who_comes_while_nobody_is_there_is_not_kept_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let near = folder.path().join("near.sock");
        let outside = UnixListener::bind(&near).unwrap();
        let nobody = folder.path().join("nobody.sock");
        begin(move || Ok(outside.accept()?.0.into()), move || Ok(UnixStream::connect(&nobody)?.into()));
        let mut answer = Vec::new();
        let mut asking = UnixStream::connect(&near).unwrap();
        asking.read_to_end(&mut answer).unwrap();
        assert!(answer.is_empty());
    }
}
