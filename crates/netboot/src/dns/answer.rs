//! What a DNS query is answered.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, RData, Record};

use super::zone::{Found, TTL_SECS, Zone};

/// Length of a DNS header in bytes.
const HEADER_BYTES: usize = 12;
/// The longest UDP reply without EDNS, in bytes (RFC 1035 section 4.2.1).
const UDP_LIMIT: u16 = 512;
/// The longest UDP reply that is offered and sent, in bytes: fits every path without fragments (RFC 9715).
const UDP_EDNS_LIMIT: u16 = 1_232;

/// What to do with a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Send this.
    Reply(Vec<u8>),
    /// Ask another resolver; if none answers, send [`server_failure`].
    Forward,
    /// Send nothing: not a query.
    Ignore,
}

/// Answers a query that came by UDP: the reply is as long as the client can take, else marked as truncated.
pub fn answer(query: &[u8], zone: &Zone) -> Answer {
    match decide(query, zone) {
        Decided::Reply(reply, client_limit) => encode(&reply, usize::from(client_limit)),
        Decided::Bytes(answer) => answer,
    }
}

/// Answers a query that came by TCP, without the two bytes of length before it.
pub fn answer_stream(query: &[u8], zone: &Zone) -> Answer {
    match decide(query, zone) {
        Decided::Reply(reply, _) => encode(&reply, usize::from(u16::MAX)),
        Decided::Bytes(answer) => answer,
    }
}

/// The reply where no resolver answers; `None` if `query` is no query.
pub fn server_failure(query: &[u8]) -> Option<Vec<u8>> {
    let message = Message::from_vec(query).ok()?;
    if message.metadata.message_type != MessageType::Query {
        return None;
    }
    respond(&message, ResponseCode::ServFail).to_vec().ok()
}

enum Decided {
    /// A reply, and the longest UDP packet that its client takes, in bytes.
    Reply(Box<Message>, u16),
    Bytes(Answer),
}

fn decide(query: &[u8], zone: &Zone) -> Decided {
    // A reply (bit QR) is never answered, readable or not: two servers could go on for ever.
    if query.len() < HEADER_BYTES || query[2] & 0x80 != 0 {
        return Decided::Bytes(Answer::Ignore);
    }
    let Ok(message) = Message::from_vec(query) else {
        return Decided::Bytes(Answer::Reply(format_error(query)));
    };
    let client_limit = match &message.edns {
        Some(edns) => edns.max_payload().clamp(UDP_LIMIT, UDP_EDNS_LIMIT),
        None => UDP_LIMIT,
    };
    let reply = |message| Decided::Reply(Box::new(message), client_limit);
    let question = match question(&message) {
        Ok(question) => question,
        Err(code) => return reply(respond(&message, code)),
    };
    match zone.look_up(question.name(), question.query_type()) {
        Found::Elsewhere => Decided::Bytes(Answer::Forward),
        found => reply(found_reply(&message, question, found, zone)),
    }
}

/// The one question of a query, or the code that says why it is not answered.
fn question(message: &Message) -> Result<&Query, ResponseCode> {
    if message.metadata.op_code != OpCode::Query {
        return Err(ResponseCode::NotImp);
    }
    if message.edns.as_ref().is_some_and(|edns| edns.version() != 0) {
        return Err(ResponseCode::BADVERS);
    }
    let [question] = &message.queries[..] else { return Err(ResponseCode::FormErr) };
    match question.query_class() {
        DNSClass::IN => Ok(question),
        _ => Err(ResponseCode::Refused),
    }
}

fn found_reply(query: &Message, question: &Query, found: Found, zone: &Zone) -> Message {
    let code =
        if matches!(found, Found::NxDomain(_)) { ResponseCode::NXDomain } else { ResponseCode::NoError };
    let mut reply = respond(query, code);
    reply.metadata.authoritative = true;
    match found {
        Found::Records(mut records) => {
            // Clients take the first address: begin with another each time.
            let turn = usize::from(query.metadata.id) % records.len().max(1);
            records.rotate_left(turn);
            let record = |data: RData| Record::from_rdata(question.name().clone(), TTL_SECS, data);
            reply.add_answers(records.into_iter().map(record));
        }
        Found::NoData(apex) | Found::NxDomain(apex) => {
            let soa = zone.soa(&apex);
            reply.add_authority(Record::from_rdata(apex.0, TTL_SECS, soa));
        }
        Found::Elsewhere => {}
    }
    reply
}

/// A reply without records.
fn respond(query: &Message, code: ResponseCode) -> Message {
    let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.checking_disabled = query.metadata.checking_disabled;
    reply.metadata.recursion_available = true;
    reply.metadata.response_code = code;
    reply.add_queries(query.queries.iter().take(1).cloned());
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_EDNS_LIMIT);
        edns.set_rcode_high(code.high());
        reply.set_edns(edns);
    }
    reply
}

fn encode(reply: &Message, limit: usize) -> Answer {
    let whole = match reply.to_vec() {
        Ok(bytes) if bytes.len() <= limit => return Answer::Reply(bytes),
        other => other,
    };
    match whole.and_then(|_| reply.truncate().to_vec()) {
        Ok(bytes) => Answer::Reply(bytes),
        Err(_) => Answer::Ignore,
    }
}

/// FORMERR for a query that cannot be read: its number, and nothing of its contents.
fn format_error(query: &[u8]) -> Vec<u8> {
    const QR: u8 = 0x80;
    const FORMERR: u8 = 1;
    let mut reply = vec![0; HEADER_BYTES];
    reply[..2].copy_from_slice(&query[..2]);
    reply[2] = QR | (query[2] & 0x79); // The opcode and RD are repeated.
    reply[3] = FORMERR;
    reply
}

#[cfg(test)]
mod tests;
