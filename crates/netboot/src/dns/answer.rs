//! What a DNS query is answered.

use super::packet::{Draft, Question, Transport, Unfit, bare, code, kind, pointer};
use super::zone::{Found, Names};

/// How long an answer may be kept, in seconds: nodes come and go.
const TTL_SECS: u32 = 5;
/// The port of a Docker swarm's managers.
const SWARM_PORT: u16 = 2_377;
/// Length of a record with an address: a pointer to its name, type, class, TTL, length, and the address. In bytes.
const ADDRESS_RECORD_BYTES: usize = 16;
/// Sections of a reply, as [`Draft::record`] counts them.
const ANSWER: usize = 0;
const AUTHORITY: usize = 1;

/// What to do with a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// Send the reply.
    Reply,
    /// Ask another resolver: see [`super::Forwarder::ask`].
    Forward(Question<'a>),
    /// Send nothing: not a query.
    Ignore,
}

/// Answers a query into a buffer, which is emptied first. Allocates nothing where the buffer is large enough.
pub fn answer<'a>(query: &'a [u8], transport: Transport, names: &Names, reply: &mut Vec<u8>) -> Answer<'a> {
    let question = match Question::parse(query) {
        Ok(question) => question,
        Err(Unfit::NotQuery) => return Answer::Ignore,
        Err(Unfit::Unreadable(code)) => {
            bare(reply, query, code);
            return Answer::Reply;
        }
        Err(Unfit::Refused(question, code)) => {
            Draft::new(reply, &question, transport, code).finish();
            return Answer::Reply;
        }
    };
    match names.look_up(question.name(), question.kind()) {
        // Who does not want us to ask would only look at what others asked for.
        Found::Elsewhere if !question.wants_recursion() => {
            Draft::new(reply, &question, transport, code::REFUSED).finish();
        }
        Found::Elsewhere => return Answer::Forward(question),
        found => write(found, &question, transport, names, reply),
    }
    Answer::Reply
}

fn write(found: Found, question: &Question, transport: Transport, names: &Names, reply: &mut Vec<u8>) {
    let response_code =
        if matches!(found, Found::NxDomain { .. }) { code::NO_SUCH_NAME } else { code::NO_ERROR };
    let mut draft = Draft::new(reply, question, transport, response_code);
    draft.authoritative();
    match found {
        Found::Addresses(addresses) => {
            // Clients take the first address: begin with another each time. As many as fit, without the mark that some are
            // left out: any of them will do, and a resolver without TCP would have none.
            let (before, after) = addresses.split_at(usize::from(question.id()) % addresses.len());
            for address in after.iter().chain(before) {
                if !draft.has_room(ADDRESS_RECORD_BYTES) {
                    break;
                }
                draft.record(ANSWER, 0, kind::A, TTL_SECS, |data| data.extend(address.octets()));
            }
        }
        Found::Host(label) => draft.record(ANSWER, 0, kind::PTR, TTL_SECS, |data| {
            data.extend_from_slice(label);
            data.extend_from_slice(names.domain());
        }),
        Found::Servers(labels) => {
            for label in labels {
                draft.record(ANSWER, 0, kind::SRV, TTL_SECS, |data| server(data, label, names));
            }
        }
        // One small record of our choice, not all there are (RFC 8482 section 4.2).
        Found::Anything => {
            draft.record(ANSWER, 0, kind::HINFO, TTL_SECS, |data| data.extend_from_slice(b"\x07RFC8482\0"));
        }
        Found::NameServer => draft.record(ANSWER, 0, kind::NS, TTL_SECS, |data| {
            under_domain(data, Names::head_label(), question, 0, names);
        }),
        Found::Authority => authority(&mut draft, ANSWER, question, 0, names),
        Found::NoData { apex } | Found::NxDomain { apex } => {
            authority(&mut draft, AUTHORITY, question, apex, names);
        }
        Found::Elsewhere => {}
    }
    draft.finish();
}

/// A server of the swarm: all have the same priority and weight. Its name is written out (RFC 2782).
fn server(data: &mut Vec<u8>, label: &[u8], names: &Names) {
    let [high, low] = SWARM_PORT.to_be_bytes();
    data.extend_from_slice(&[0, 0, 0, 0, high, low]);
    data.extend_from_slice(label);
    data.extend_from_slice(names.domain());
}

/// The SOA record of a zone of ours. Nobody copies the zone, so its numbers mean nothing but the last: how long
/// a negative answer may be kept (RFC 2308).
fn authority(draft: &mut Draft, section: usize, question: &Question, apex: usize, names: &Names) {
    draft.record(section, apex, kind::SOA, TTL_SECS, |data| {
        under_domain(data, Names::head_label(), question, apex, names);
        under_domain(data, b"\x0ahostmaster", question, apex, names);
        for number in [1, 3_600, 600, 86_400, TTL_SECS] {
            data.extend_from_slice(&number.to_be_bytes());
        }
    });
}

/// A name under the domain: a pointer does where the domain is the end of the question's name.
fn under_domain(data: &mut Vec<u8>, label: &[u8], question: &Question, apex: usize, names: &Names) {
    data.extend_from_slice(label);
    if names.is_domain_at(question.name(), apex) {
        data.extend_from_slice(&pointer(apex));
    } else {
        data.extend_from_slice(names.domain());
    }
}

#[cfg(test)]
mod tests;
