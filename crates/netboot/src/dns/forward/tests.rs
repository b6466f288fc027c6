//! Dialogues: clients on one side, another resolver on the other, the clock stepped between.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use proptest::prelude::*;

use super::*;

type Clients = Forwarder<&'static str>;

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

fn client_query(text: &str, id: u16) -> Message {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(text), RecordType::A));
    message
}

fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().expect("encodes")
}

/// Each has its own address, by the first letter of its name.
fn ask(
    clients: &mut Clients,
    query: &Message,
    who: &'static str,
    now_ms: u64,
) -> (Next<&'static str>, Message) {
    let client = (Ipv4Addr::new(10, 78, 0, who.as_bytes()[0]), who);
    let (query, mut buffer) = (bytes(query), Vec::new());
    let question = Question::parse(&query).expect("a question");
    let next = clients.ask(&question, Transport::Udp, client, now_ms, &mut buffer);
    (next, Message::from_vec(&buffer).unwrap_or_else(|_| Message::query()))
}

fn asked(clients: &mut Clients, query: &Message, who: &'static str, now_ms: u64) -> Asked {
    match ask(clients, query, who, now_ms).0 {
        Next::Ask(asked) => asked,
        other => panic!("{other:?}"),
    }
}

/// What the other resolver says: whoever asks gets this code and these records.
fn says(
    asked: &Asked,
    code: ResponseCode,
    answers: &[(&str, u32, RData)],
    soa: Option<(u32, u32)>,
) -> Vec<u8> {
    let mut message = Message::from_vec(&asked.packet).expect("our own query").into_response();
    message.metadata.response_code = code;
    for (owner, ttl_secs, data) in answers {
        message.add_answer(Record::from_rdata(name(owner), *ttl_secs, data.clone()));
    }
    if let Some((ttl_secs, minimum_secs)) = soa {
        let data = SOA::new(name("ns.test."), name("me.test."), 1, 2, 3, 4, minimum_secs);
        message.add_authority(Record::from_rdata(name("test."), ttl_secs, RData::SOA(data)));
    }
    let mut edns = Edns::new();
    edns.set_max_payload(4_096);
    message.set_edns(edns);
    bytes(&message)
}

fn address() -> RData {
    RData::A(A([192, 0, 2, 7].into()))
}

fn parse(packet: &[u8], asked: &Asked) -> Reply {
    Reply::parse(packet, &asked.packet).expect("a reply")
}

fn ttls(message: &Message) -> Vec<u32> {
    message.answers.iter().map(|record| record.ttl).collect()
}

#[test]
fn one_question_for_many_askers_and_each_gets_its_own_number_and_case() {
    let mut clients = Clients::default();
    let sent = asked(&mut clients, &client_query("www.Example.test.", 1), "a", 0);
    let theirs = Message::from_vec(&sent.packet).expect("our own query");
    assert!(theirs.metadata.recursion_desired && theirs.edns.is_some_and(|edns| edns.max_payload() == 1_232));
    let mut with_edns = client_query("WWW.example.test.", 2);
    with_edns.set_edns(Edns::new());
    assert_eq!(ask(&mut clients, &with_edns, "b", 10).0, Next::Wait);
    let chain = [
        ("www.example.test.", 300, RData::CNAME(CNAME(name("example.test.")))),
        ("example.test.", 60, address()),
    ];
    let reply = parse(&says(&sent, ResponseCode::NoError, &chain, None), &sent);
    let replies = clients.answered(sent, reply, 20);
    assert_eq!(replies.iter().map(|(_, who)| *who).collect::<Vec<_>>(), ["a", "b"]);
    for ((bytes, _), (id, text, edns)) in
        replies.iter().zip([(1, "www.Example.test.", false), (2, "WWW.example.test.", true)])
    {
        let message = Message::from_vec(bytes).expect("readable");
        assert_eq!((message.metadata.id, message.answers.len()), (id, 2));
        assert!(message.queries[0].name().eq_case(&name(text)));
        assert_eq!(message.edns.is_some(), edns);
        assert!(message.metadata.recursion_available && !message.metadata.authoritative);
        assert_eq!(message.answers[1].data, address());
    }
}

#[test]
fn a_kept_reply_grows_old_and_is_asked_for_again() {
    let mut clients = Clients::default();
    let query = client_query("a.test.", 1);
    let sent = asked(&mut clients, &query, "a", 0);
    let records = [("a.test.", 60, address()), ("a.test.", 90, address())];
    let reply = parse(&says(&sent, ResponseCode::NoError, &records, None), &sent);
    assert_eq!(clients.answered(sent, reply, 1_000).len(), 1);
    let (next, kept) = ask(&mut clients, &query, "b", 41_500);
    assert_eq!((next, ttls(&kept)), (Next::Reply("b"), vec![20, 50]));
    assert!(matches!(ask(&mut clients, &query, "b", 61_000).0, Next::Ask(_)), "60 s are over");
}

#[test]
fn an_absence_is_kept_as_long_as_the_soa_says() {
    for (code, soa, kept_secs) in [
        (ResponseCode::NXDomain, Some((300, 30)), 30),
        (ResponseCode::NXDomain, Some((20, 30)), 20),
        (ResponseCode::NoError, Some((1_000_000, 1_000_000)), 3_600),
        (ResponseCode::NXDomain, None, 0),
        (ResponseCode::NoError, None, 0),
        (ResponseCode::ServFail, None, 1),
    ] {
        let mut clients = Clients::default();
        let query = client_query("no.test.", 1);
        let sent = asked(&mut clients, &query, "a", 0);
        let reply = parse(&says(&sent, code, &[], soa), &sent);
        clients.answered(sent, reply, 0);
        if kept_secs > 0 {
            let (next, kept) = ask(&mut clients, &query, "a", kept_secs * 1_000 - 1);
            assert_eq!((next, kept.metadata.response_code), (Next::Reply("a"), code), "{soa:?}");
        }
        assert!(
            matches!(ask(&mut clients, &query, "a", kept_secs * 1_000).0, Next::Ask(_)),
            "{code} {soa:?}"
        );
    }
}

#[test]
fn nobody_answers() {
    let mut clients = Clients::default();
    let query = client_query("a.test.", 9);
    let sent = asked(&mut clients, &query, "a", 0);
    let replies = clients.answered(sent, Reply::failure(), 0);
    let message = Message::from_vec(&replies[0].0).expect("readable");
    assert_eq!((message.metadata.id, message.metadata.response_code), (9, ResponseCode::ServFail));
    assert!(matches!(ask(&mut clients, &query, "a", 999).0, Next::Reply(_)));
    assert!(matches!(ask(&mut clients, &query, "a", 1_000).0, Next::Ask(_)));
}

#[test]
fn what_is_said_of_signatures_keeps_questions_apart() {
    let mut clients = Clients::default();
    let plain = client_query("a.test.", 1);
    let mut signed = plain.clone();
    let mut edns = Edns::new();
    edns.set_dnssec_ok(true);
    signed.set_edns(edns);
    let mut checked = plain.clone();
    checked.metadata.checking_disabled = true;
    for query in [plain, signed, checked] {
        let theirs = Message::from_vec(&asked(&mut clients, &query, "a", 0).packet).expect("our own query");
        assert_eq!(theirs.metadata.checking_disabled, query.metadata.checking_disabled);
        let wants = |message: &Message| message.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok);
        assert_eq!(wants(&theirs), wants(&query));
    }
}

#[test]
fn a_reply_to_something_else_is_none() {
    let mut clients = Clients::default();
    let sent = asked(&mut clients, &client_query("a.test.", 1), "a", 0);
    let good = says(&sent, ResponseCode::NoError, &[("a.test.", 60, address())], None);
    // Byte 0: number; 2: it is a reply; 5: one question; 13: name; 21: type; 23: class.
    for (at, change) in [(0, 1), (2, 0x80), (5, 3), (13, 3), (21, 3), (23, 2)] {
        let mut other = good.clone();
        other[at] ^= change;
        assert_eq!(Reply::parse(&other, &sent.packet), Err(super::super::Mismatch::Foreign), "{at}");
    }
    for length in 0..good.len() {
        assert!(Reply::parse(&good[..length], &sent.packet).is_err(), "{length}");
    }
    let mut cut = good;
    cut[2] |= 0x02;
    assert_eq!(Reply::parse(&cut, &sent.packet), Err(super::super::Mismatch::Truncated));
}

#[test]
fn a_long_reply_is_marked_for_who_takes_only_short_ones() {
    let mut clients = Clients::default();
    let query = client_query("a.test.", 1);
    let sent = asked(&mut clients, &query, "a", 0);
    let many = vec![("a.test.", 60, address()); 60];
    let reply = parse(&says(&sent, ResponseCode::NoError, &many, None), &sent);
    let replies = clients.answered(sent, reply, 0);
    let message = Message::from_vec(&replies[0].0).expect("readable");
    assert!(replies[0].0.len() <= 512 && message.metadata.truncation && message.answers.is_empty());
    let mut roomy = query;
    let mut edns = Edns::new();
    edns.set_max_payload(1_232);
    roomy.set_edns(edns);
    assert_eq!(ask(&mut clients, &roomy, "b", 0).1.answers.len(), 60);
}

#[test]
fn there_are_limits_to_what_waits() {
    let mut clients = Clients::default();
    let first = client_query("a0.test.", 1);
    let sent = asked(&mut clients, &first, "a", 0);
    for _ in 0..2 * ASKERS_LIMIT {
        assert_eq!(ask(&mut clients, &first, "b", 0).0, Next::Wait);
    }
    for number in 1..QUESTIONS_LIMIT {
        let who = ["a", "b", "c", "d"][number / QUESTIONS_PER_CLIENT_LIMIT];
        asked(&mut clients, &client_query(&format!("a{number}.test."), 1), who, 0);
    }
    // Silence would be asked again, and more often.
    let (next, reply) = ask(&mut clients, &client_query("more.test.", 1), "e", 0);
    assert_eq!((next, reply.metadata.response_code), (Next::Reply("e"), ResponseCode::ServFail));
    assert_eq!(clients.answered(sent, Reply::failure(), 0).len(), ASKERS_LIMIT);
    assert!(matches!(ask(&mut clients, &client_query("more.test.", 1), "a", 0).0, Next::Ask(_)));
}

#[test]
fn one_client_leaves_room_for_others() {
    let mut clients = Clients::default();
    for number in 0..QUESTIONS_PER_CLIENT_LIMIT {
        asked(&mut clients, &client_query(&format!("a{number}.test."), 1), "a", 0);
    }
    assert_eq!(ask(&mut clients, &client_query("more.test.", 1), "a", 0).0, Next::Reply("a"));
    assert_eq!(ask(&mut clients, &client_query("a1.test.", 1), "a", 0).0, Next::Wait, "it is asked anyway");
    assert!(matches!(ask(&mut clients, &client_query("more.test.", 1), "b", 0).0, Next::Ask(_)));
}

#[test]
fn a_resolver_that_does_not_know_edns_is_noticed() {
    let mut clients = Clients::default();
    let sent = asked(&mut clients, &client_query("a.test.", 1), "a", 0);
    // Some repeat the question, and some send the header alone (RFC 6891 section 7).
    let bare = |code: u8| {
        let mut header = sent.packet[..12].to_vec();
        (header[2], header[3]) = (0x80, code);
        header[4..].fill(0);
        header
    };
    let whole = says(&sent, ResponseCode::FormErr, &[], None);
    for refusal in [&bare(1), &bare(4), &whole] {
        assert_eq!(Reply::parse(refusal, &sent.packet), Err(super::super::Mismatch::NoEdns));
    }
    let mut foreign = bare(1);
    foreign[0] ^= 1;
    assert_eq!(Reply::parse(&foreign, &sent.packet), Err(super::super::Mismatch::Foreign));
    assert_eq!(Reply::parse(&bare(0), &sent.packet), Err(super::super::Mismatch::Foreign));
    let plain = crate::dns::without_edns(&sent.packet);
    let message = Message::from_vec(&plain).expect("readable");
    assert!(message.edns.is_none() && message.queries[0].name() == &name("a.test."));
    assert!(Reply::parse(&whole, &plain).expect("a failure").is_failure(), "what it says to that is final");
}

proptest! {
    #[test]
    fn no_reply_makes_a_panic_or_too_long_a_packet(
        noise in proptest::collection::vec(any::<u8>(), 0..300),
        counts in any::<[u8; 3]>(),
        at in 0..200_usize,
        byte in any::<u8>(),
    ) {
        let mut clients = Clients::default();
        let sent = asked(&mut clients, &client_query("a.test.", 1), "a", 0);
        let mut packet = says(&sent, ResponseCode::NoError, &[("a.test.", 60, address())], Some((5, 5)));
        packet.extend(&noise);
        let at = at % packet.len();
        packet[at] = byte;
        for (section, count) in counts.iter().enumerate() {
            packet[7 + 2 * section] = count % 4;
        }
        if let Ok(reply) = Reply::parse(&packet, &sent.packet) {
            for (bytes, _) in clients.answered(sent, reply, 0) {
                prop_assert!(bytes.len() <= 512);
            }
        }
    }
}
