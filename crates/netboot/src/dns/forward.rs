//! Questions that are not about the cluster: who waits for what, and what is known already. The pump asks.
//!
//! ```text
//! ask ─► kept? ──► Reply    asked already? ──► Wait    else ──► Ask ──► (pump) ──► answered ──► all who wait
//! ```

use std::collections::HashMap;

use super::cache::{Cache, Key, KeyBuffer};
use super::packet::{Question, Transport, query};
use super::reply::Reply;

/// The most questions that other resolvers are being asked.
const QUESTIONS_LIMIT: usize = 256;
/// The most clients that wait for the same reply; the next ask again by themselves.
const ASKERS_LIMIT: usize = 256;

/// What is forwarded. `A` says where a reply goes.
#[derive(Debug)]
pub struct Forwarder<A> {
    cache: Cache,
    waiting: HashMap<Key, Vec<Asker<A>>>,
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
    /// The reply is written: send it to the one who asked.
    Reply(A),
    /// Ask another resolver; in any case tell [`Forwarder::answered`] how it went.
    Ask(Asked),
    /// Somebody has asked that; the reply will be for both. Or too many are waiting: silence.
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
    /// Takes a question of [`super::Answer::Forward`]. The reply, if it is known, goes into the buffer.
    pub fn ask(
        &mut self,
        question: &Question,
        transport: Transport,
        address: A,
        now_ms: u64,
        buffer: &mut Vec<u8>,
    ) -> Next<A> {
        let key = KeyBuffer::new(question);
        if let Some((reply, age_secs)) = self.cache.look_up(key.as_slice(), now_ms) {
            reply.write(question, transport, age_secs, buffer);
            return Next::Reply(address);
        }
        let asker = Asker { query: question.packet().to_vec(), transport, address };
        if let Some(askers) = self.waiting.get_mut(key.as_slice()) {
            if askers.len() < ASKERS_LIMIT {
                askers.push(asker);
            }
            return Next::Wait;
        }
        if self.waiting.len() >= QUESTIONS_LIMIT {
            return Next::Wait;
        }
        let key: Key = key.as_slice().into();
        self.waiting.insert(key.clone(), vec![asker]);
        Next::Ask(Asked { packet: query(question), key })
    }

    /// Takes the reply to a question; [`Reply::failure`] if there is none. Gives each reply, and where it goes.
    pub fn answered(&mut self, asked: Asked, reply: Reply, now_ms: u64) -> Vec<(Vec<u8>, A)> {
        let mut replies = Vec::new();
        for asker in self.waiting.remove(&asked.key).unwrap_or_default() {
            let Ok(question) = Question::parse(&asker.query) else { continue };
            let mut bytes = Vec::new();
            reply.write(&question, asker.transport, 0, &mut bytes);
            replies.push((bytes, asker.address));
        }
        self.cache.keep(asked.key, reply, now_ms);
        replies
    }
}

#[cfg(test)]
mod tests;
