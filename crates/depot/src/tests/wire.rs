//! A wire to a server that breaks after so many bytes, and counts them.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Carries bytes between a port of its own and the server's.
pub(super) struct Wire {
    pub(super) port: u16,
    up: Arc<Way>,
    down: Arc<Way>,
}

/// One direction.
struct Way {
    carried: AtomicUsize,
    limit: AtomicUsize,
}

impl Way {
    fn new() -> Arc<Self> {
        Arc::new(Self { carried: AtomicUsize::new(0), limit: AtomicUsize::new(usize::MAX) })
    }

    /// Carries until the end, or until the wire breaks.
    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut chunk = vec![0; 16 * 1024];
        while let Ok(read) = from.read(&mut chunk) {
            let carried = self.carried.fetch_add(read, Ordering::SeqCst) + read;
            if read == 0
                || carried > self.limit.load(Ordering::SeqCst)
                || to.write_all(&chunk[..read]).is_err()
            {
                break;
            }
        }
        for end in [from, to] {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

impl Wire {
    pub(super) fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let (up, down) = (Way::new(), Way::new());
        let ways = (up.clone(), down.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let (Ok(to_client), Ok(to_server)) = (client.try_clone(), server.try_clone()) else {
                    continue;
                };
                let (up, down) = ways.clone();
                std::thread::spawn(move || up.carry(client, to_server));
                std::thread::spawn(move || down.carry(server, to_client));
            }
        });
        Self { port, up, down }
    }

    /// Breaks, and stays broken, once more bytes than that went to the server.
    pub(super) fn break_after_up(&self, bytes: usize) {
        self.up.limit.store(self.up.carried.load(Ordering::SeqCst) + bytes, Ordering::SeqCst);
    }

    /// The same for bytes that come from it.
    pub(super) fn break_after_down(&self, bytes: usize) {
        self.down.limit.store(self.down.carried.load(Ordering::SeqCst) + bytes, Ordering::SeqCst);
    }

    /// Makes it whole, and counts anew.
    pub(super) fn mend(&self) {
        for way in [&self.up, &self.down] {
            way.carried.store(0, Ordering::SeqCst);
            way.limit.store(usize::MAX, Ordering::SeqCst);
        }
    }

    pub(super) fn up_bytes(&self) -> usize {
        self.up.carried.load(Ordering::SeqCst)
    }

    pub(super) fn down_bytes(&self) -> usize {
        self.down.carried.load(Ordering::SeqCst)
    }
}
