//! Replies of other resolvers, kept as long as they may be. Limits on their number and bytes; what would go first
//! anyway goes first.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::packet::{NAME_BYTES_LIMIT, Question};
use super::reply::Reply;

/// The most replies that are kept.
const ENTRIES_LIMIT: usize = 10_000;
/// The most memory that kept replies take, in bytes.
const BYTES_LIMIT: usize = 4 * 1024 * 1024;
/// The longest reply that is kept, in bytes.
const ENTRY_BYTES_LIMIT: usize = 16 * 1024;
/// What an entry takes besides its name and records, in bytes, about.
const ENTRY_OVERHEAD_BYTES: usize = 256;

/// What makes two questions the same: name in lower case, type, and what is said of signatures.
pub(super) type Key = Arc<[u8]>;

/// The kept replies.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: HashMap<Key, Entry>,
    by_expiry: BTreeSet<(u64, Key)>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    reply: Reply,
    since_ms: u64,
    expires_ms: u64,
}

impl Cache {
    /// The kept reply to a question, and how old it is, in seconds.
    pub(super) fn look_up(&self, key: &[u8], now_ms: u64) -> Option<(&Reply, u32)> {
        let entry = self.entries.get(key).filter(|entry| now_ms < entry.expires_ms)?;
        let age_secs = now_ms.saturating_sub(entry.since_ms) / 1_000;
        Some((&entry.reply, u32::try_from(age_secs).unwrap_or(u32::MAX)))
    }

    /// Keeps a reply, unless it may not be kept or is too long.
    pub(super) fn keep(&mut self, key: Key, reply: Reply, now_ms: u64) {
        let expires_ms = now_ms + u64::from(reply.keep_secs()) * 1_000;
        if expires_ms == now_ms || reply.bytes() > ENTRY_BYTES_LIMIT {
            return;
        }
        self.remove(&key);
        self.bytes += cost(&key, &reply);
        self.by_expiry.insert((expires_ms, key.clone()));
        self.entries.insert(key, Entry { reply, since_ms: now_ms, expires_ms });
        while self.entries.len() > ENTRIES_LIMIT || self.bytes > BYTES_LIMIT {
            let Some((_, first)) = self.by_expiry.first().cloned() else { return };
            self.remove(&first);
        }
    }

    fn remove(&mut self, key: &Key) {
        let Some(entry) = self.entries.remove(key) else { return };
        self.by_expiry.remove(&(entry.expires_ms, key.clone()));
        self.bytes -= cost(key, &entry.reply);
    }
}

fn cost(key: &Key, reply: &Reply) -> usize {
    key.len() + reply.bytes() + ENTRY_OVERHEAD_BYTES
}

/// Room for a key, so that looking one up allocates nothing.
pub(super) struct KeyBuffer {
    bytes: [u8; NAME_BYTES_LIMIT + 3],
    length: usize,
}

impl KeyBuffer {
    /// The key of a question.
    pub(super) fn new(question: &Question) -> Self {
        let name = question.name();
        let length = name.len() + 3;
        let mut bytes = [0; NAME_BYTES_LIMIT + 3];
        bytes[..name.len()].copy_from_slice(name);
        bytes[..name.len()].make_ascii_lowercase();
        bytes[name.len()..length - 1].copy_from_slice(&question.kind().to_be_bytes());
        bytes[length - 1] = u8::from(question.wants_dnssec()) | u8::from(question.checks()) << 1;
        Self { bytes, length }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

#[cfg(test)]
mod tests;
