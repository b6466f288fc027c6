//! Questions that are not about the cluster: who waits for what, and what is known already. The pump asks.
//!
//! ```text
//! ask ─► kept? ──► Reply    asked already? ──► Wait    else ──► Ask ──► (pump) ──► answered ──► all who wait
//! ```

use std::collections::HashMap;
use std::net::Ipv4Addr;

use super::cache::{Cache, Key, KeyBuffer};
use super::packet::{HEADER_BYTES, OPT_BYTES, Question, Transport, query};
use super::reply::Reply;

/// The most questions that other resolvers are being asked.
const QUESTIONS_LIMIT: usize = 256;
/// The most of them that one client began: a node that asks for names that nobody knows must leave room for others.
const QUESTIONS_PER_CLIENT_LIMIT: usize = 64;
/// The most clients that wait for the same reply; the next ask again by themselves.
const ASKERS_LIMIT: usize = 256;

/// What is forwarded. `A` says where a reply goes.
#[derive(Debug)]
pub struct Forwarder<A> {
    cache: Cache,
    waiting: HashMap<Key, Waiting<A>>,
}

#[derive(Debug)]
struct Waiting<A> {
    /// Who asked first.
    client: Ipv4Addr,
    askers: Vec<Asker<A>>,
}

#[derive(Debug)]
struct Asker<A> {
    query: Vec<u8>,
    transport: Transport,
    address: A,
}

/// What to do with a question that is not about the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next<A> {
    /// The reply is written, or that too many questions are under way: send it to the one who asked.
    Reply(A),
    /// Ask another resolver; in any case tell [`Forwarder::answered`] how it went.
    Ask(Asked),
    /// Somebody has asked that; the reply will be for both. Or too many wait for the same: silence.
    Wait,
}

/// A question for another resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The packet to send; its first two bytes have to become a random number.
    pub packet: Vec<u8>,
    key: Key,
}

impl<A> Default for Forwarder<A> {
    fn default() -> Self {
        Self { cache: Cache::default(), waiting: HashMap::new() }
    }
}

impl<A> Forwarder<A> {
    /// Takes a question of [`super::Answer::Forward`], of that client. The reply, if there is one, goes into the buffer.
    pub fn ask(
        &mut self,
        question: &Question,
        transport: Transport,
        (client, address): (Ipv4Addr, A),
        now_ms: u64,
        buffer: &mut Vec<u8>,
    ) -> Next<A> {
        let key = KeyBuffer::new(question);
        if let Some((reply, age_secs)) = self.cache.look_up(key.as_slice(), now_ms) {
            reply.write(question, transport, age_secs, buffer);
            return Next::Reply(address);
        }
        let is_asked = self.waiting.contains_key(key.as_slice());
        if !is_asked && !self.has_room(client) {
            // Not silence: who hears nothing asks again, and more often.
            Reply::failure().write(question, transport, 0, buffer);
            return Next::Reply(address);
        }
        let asker = Asker { query: question.packet().to_vec(), transport, address };
        if let Some(waiting) = self.waiting.get_mut(key.as_slice()) {
            if waiting.askers.len() < ASKERS_LIMIT {
                waiting.askers.push(asker);
            }
            return Next::Wait;
        }
        let key: Key = key.as_slice().into();
        self.waiting.insert(key.clone(), Waiting { client, askers: vec![asker] });
        Next::Ask(Asked { packet: query(question), key })
    }

    fn has_room(&self, client: Ipv4Addr) -> bool {
        let own = self.waiting.values().filter(|waiting| waiting.client == client).count();
        self.waiting.len() < QUESTIONS_LIMIT && own < QUESTIONS_PER_CLIENT_LIMIT
    }

    /// Takes the reply to a question; [`Reply::failure`] if there is none. Gives each reply, and where it goes.
    pub fn answered(&mut self, asked: Asked, reply: Reply, now_ms: u64) -> Vec<(Vec<u8>, A)> {
        let mut replies = Vec::new();
        let waiting = self.waiting.remove(&asked.key);
        for asker in waiting.into_iter().flat_map(|waiting| waiting.askers) {
            let Ok(question) = Question::parse(&asker.query) else { continue };
            let mut bytes = Vec::new();
            reply.write(&question, asker.transport, 0, &mut bytes);
            replies.push((bytes, asker.address));
        }
        self.cache.keep(asked.key, reply, now_ms);
        replies
    }
}

/// A packet of [`Next::Ask`], for a resolver that does not know EDNS.
pub fn without_edns(asked: &[u8]) -> Vec<u8> {
    let mut bytes = asked[..asked.len().saturating_sub(OPT_BYTES)].to_vec();
    if let Some(additionals) = bytes.get_mut(10..HEADER_BYTES) {
        additionals.fill(0);
    }
    bytes
}

#[cfg(test)]
mod tests;
