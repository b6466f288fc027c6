//! The task that answers: it owns the names, the replies that are kept, and the UDP socket.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Instant;

use netboot::dns::{Answer, Asked, Forwarder, Names, Next, Reply, Transport, Zone, answer};
use tokio::net::UdpSocket;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinSet;

use super::ERROR_PAUSE;
use super::resolver::Resolvers;
use crate::head::Head;
use crate::pump::Networks;
use crate::pump::batch::{Received, Replies};

/// A query that came by TCP.
#[derive(Debug)]
pub(super) struct Query {
    /// The message without its length.
    pub(super) packet: Vec<u8>,
    /// Who asked.
    pub(super) client: Ipv4Addr,
    /// Where the reply goes.
    pub(super) asker: Asker,
}

/// Where a reply goes.
#[derive(Debug)]
pub(super) enum Asker {
    /// To that address, in one packet.
    Packet(SocketAddrV4),
    /// To a TCP connection, which holds a place for it until it has it.
    Connection { replies: mpsc::Sender<(Vec<u8>, OwnedSemaphorePermit)>, place: OwnedSemaphorePermit },
}

/// See the module.
pub(super) struct Desk {
    socket: UdpSocket,
    networks: Networks,
    head: Head,
    zone: Arc<Zone>,
    names: Names,
    forwarder: Forwarder<Asker>,
    resolvers: Arc<Resolvers>,
    /// The questions that other resolvers are asked; as many as the forwarder lets out.
    asking: JoinSet<(Asked, Reply)>,
    started: Instant,
}

/// What there is to do.
enum Event {
    /// Packets wait, or the socket reports an error.
    Packets(io::Result<()>),
    Query(Query),
    Answered(Asked, Reply),
}

impl Desk {
    pub(super) fn new(socket: UdpSocket, own: Ipv4Addr, networks: Networks, head: Head) -> Self {
        let zone = head.zone();
        let names = Names::new(&zone);
        let forwarder = Forwarder::default();
        Self {
            socket,
            networks,
            head,
            zone,
            names,
            forwarder,
            resolvers: Arc::new(Resolvers::beside(own)),
            asking: JoinSet::new(),
            started: Instant::now(),
        }
    }

    /// Answers until nobody can ask any more.
    pub(super) async fn run(mut self, mut queries: mpsc::Receiver<Query>) {
        let (mut received, mut replies) = (Received::new(), Replies::new());
        loop {
            let event = tokio::select! {
                ready = self.socket.readable() => Event::Packets(ready),
                Some(answered) = self.asking.join_next() => match answered {
                    Ok((asked, reply)) => Event::Answered(asked, reply),
                    Err(error) => {
                        tracing::warn!("asking a resolver: {error}");
                        continue;
                    }
                },
                query = queries.recv() => match query {
                    Some(query) => Event::Query(query),
                    None => return,
                },
            };
            self.refresh();
            match event {
                Event::Query(query) => self.query(query),
                Event::Answered(asked, reply) => self.answered(asked, reply),
                Event::Packets(ready) => {
                    let taken = ready.and_then(|()| self.packets(&mut received, &mut replies));
                    if let Err(error) = taken {
                        tracing::warn!("receiving DNS queries: {error}");
                        tokio::time::sleep(ERROR_PAUSE).await;
                    }
                }
            }
        }
    }

    /// Makes the names ready if the head has others by now.
    fn refresh(&mut self) {
        let zone = self.head.zone();
        if !Arc::ptr_eq(&zone, &self.zone) {
            self.names = Names::new(&zone);
            self.zone = zone;
        }
    }

    /// One batch of packets; what is over is still there the next time.
    fn packets(&mut self, received: &mut Received, replies: &mut Replies) -> io::Result<()> {
        match received.receive(&self.socket) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            other => other?,
        }
        let now_ms = self.now_ms();
        for (packet, client) in received.packets().filter(|(_, client)| self.networks.serve(*client.ip())) {
            let question = match answer(packet, Transport::Udp, &self.names, replies.buffer()) {
                Answer::Ignore => continue,
                Answer::Reply => {
                    replies.push(client);
                    continue;
                }
                Answer::Forward(question) => question,
            };
            let asker = (*client.ip(), Asker::Packet(client));
            match self.forwarder.ask(&question, Transport::Udp, asker, now_ms, replies.buffer()) {
                Next::Reply(_) => replies.push(client),
                Next::Ask(asked) => drop(self.asking.spawn(self.resolvers.clone().ask(asked))),
                Next::Wait => {}
            }
        }
        replies.send(&self.socket);
        Ok(())
    }

    fn query(&mut self, query: Query) {
        let Query { packet, client, asker } = query;
        let mut reply = Vec::new();
        let question = match answer(&packet, Transport::Tcp, &self.names, &mut reply) {
            Answer::Ignore => return,
            Answer::Reply => return self.send(reply, asker),
            Answer::Forward(question) => question,
        };
        match self.forwarder.ask(&question, Transport::Tcp, (client, asker), self.now_ms(), &mut reply) {
            Next::Reply(asker) => self.send(reply, asker),
            Next::Ask(asked) => self.put(asked),
            Next::Wait => {}
        }
    }

    fn answered(&mut self, asked: Asked, reply: Reply) {
        for (reply, asker) in self.forwarder.answered(asked, reply, self.now_ms()) {
            self.send(reply, asker);
        }
    }

    fn put(&mut self, asked: Asked) {
        self.asking.spawn(self.resolvers.clone().ask(asked));
    }

    /// Sends one reply. A socket that is full loses it; a connection has room for what it asked, or is gone.
    fn send(&self, reply: Vec<u8>, asker: Asker) {
        match asker {
            Asker::Packet(client) => {
                if let Err(error) = self.socket.try_send_to(&reply, SocketAddr::V4(client)) {
                    tracing::debug!("sending a DNS reply to {client}: {error}");
                }
            }
            Asker::Connection { replies, place } => drop(replies.try_send((reply, place))),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
