//! Queries as resolvers send them, and bytes that nobody should send.

use std::net::Ipv4Addr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use proptest::prelude::*;

use super::*;
use crate::dns::Zone;
use crate::dns::packet::UDP_EDNS_LIMIT;

fn zone() -> Zone {
    let nodes =
        (1..=3).map(|n| (format!("node{n}").parse().expect("a name"), Ipv4Addr::new(10, 78, 0, 10 + n)));
    Zone {
        domain: "cluster.test".to_owned(),
        head: Ipv4Addr::new(10, 78, 0, 1),
        prefix: 24,
        managers: vec!["node1".parse().expect("a name"), "node3".parse().expect("a name")],
        nodes: nodes.collect(),
        swarm: vec![Ipv4Addr::new(10, 78, 0, 11), Ipv4Addr::new(10, 78, 0, 12)],
    }
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(0x4242, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    message
}

fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().expect("encodes")
}

/// What is done with a query, and the reply.
fn act<'a>(query: &'a [u8], transport: Transport, zone: &Zone) -> (Answer<'a>, Vec<u8>) {
    let mut reply = Vec::new();
    (answer(query, transport, &Names::new(zone), &mut reply), reply)
}

fn reply_bytes(query: &[u8], transport: Transport, zone: &Zone) -> Vec<u8> {
    let (done, reply) = act(query, transport, zone);
    assert_eq!(done, Answer::Reply);
    reply
}

fn reply_to(message: &Message, zone: &Zone) -> Message {
    Message::from_vec(&reply_bytes(&bytes(message), Transport::Udp, zone)).expect("our own reply")
}

fn ask(name: &str, kind: RecordType) -> Message {
    reply_to(&query(name, kind), &zone())
}

fn addresses(reply: &Message) -> Vec<String> {
    let mut addresses: Vec<String> = reply.answers.iter().map(|record| record.data.to_string()).collect();
    addresses.sort();
    addresses
}

#[test]
fn nodes_the_head_and_the_swarm_have_addresses() {
    for (name, expected) in [
        ("node2.cluster.test.", &["10.78.0.12"][..]),
        ("NODE2.Cluster.TEST.", &["10.78.0.12"]),
        ("head.cluster.test.", &["10.78.0.1"]),
        ("cluster.test.", &["10.78.0.1"]),
        ("swarm.cluster.test.", &["10.78.0.11", "10.78.0.12"]),
    ] {
        let reply = ask(name, RecordType::A);
        assert_eq!(addresses(&reply), expected, "{name}");
        assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
        assert!(reply.metadata.authoritative && reply.metadata.recursion_desired);
        assert_eq!(reply.metadata.id, 0x4242);
        assert!(
            reply.queries[0].name().eq_case(&Name::from_ascii(name).expect("a name")),
            "case is repeated"
        );
    }
}

#[test]
fn the_swarm_s_addresses_take_turns() {
    let first = |id| {
        let mut message = query("swarm.cluster.test.", RecordType::A);
        message.metadata.id = id;
        reply_to(&message, &zone()).answers[0].data.to_string()
    };
    assert_ne!(first(1), first(2));
}

#[test]
fn addresses_have_names() {
    let reply = ask("13.0.78.10.in-addr.arpa.", RecordType::PTR);
    assert_eq!(addresses(&reply), ["node3.cluster.test."]);
    let reply = ask("1.0.78.10.in-addr.arpa.", RecordType::PTR);
    assert_eq!(addresses(&reply), ["head.cluster.test."]);
}

#[test]
fn the_zone_says_who_is_responsible() {
    assert_eq!(addresses(&ask("cluster.test.", RecordType::NS)), ["head.cluster.test."]);
    let reply = ask("cluster.test.", RecordType::SOA);
    assert!(addresses(&reply)[0].starts_with("head.cluster.test. hostmaster.cluster.test. "));
}

#[test]
fn a_name_without_that_record_and_a_name_that_is_not_there_differ() {
    for (name, kind, code, apex) in [
        ("node1.cluster.test.", RecordType::AAAA, ResponseCode::NoError, "cluster.test."),
        ("cluster.test.", RecordType::MX, ResponseCode::NoError, "cluster.test."),
        ("13.0.78.10.in-addr.arpa.", RecordType::A, ResponseCode::NoError, "10.in-addr.arpa."),
        ("0.78.10.in-addr.arpa.", RecordType::PTR, ResponseCode::NoError, "10.in-addr.arpa."),
        ("node9.cluster.test.", RecordType::A, ResponseCode::NXDomain, "cluster.test."),
        ("x.node1.cluster.test.", RecordType::A, ResponseCode::NXDomain, "cluster.test."),
        ("_x.cluster.test.", RecordType::A, ResponseCode::NXDomain, "cluster.test."),
        ("99.1.168.192.in-addr.arpa.", RecordType::PTR, ResponseCode::NXDomain, "168.192.in-addr.arpa."),
    ] {
        let reply = ask(name, kind);
        assert_eq!(reply.metadata.response_code, code, "{name} {kind}");
        assert!(reply.answers.is_empty());
        assert_eq!(reply.authorities[0].name.to_ascii(), apex, "{name}");
        assert_eq!(reply.authorities[0].record_type(), RecordType::SOA);
    }
    let nobody = Zone { swarm: vec![], ..zone() };
    let reply = reply_to(&query("swarm.cluster.test.", RecordType::A), &nobody);
    assert_eq!((reply.metadata.response_code, reply.answers.len()), (ResponseCode::NoError, 0));
}

#[test]
fn the_swarm_s_managers_are_listed() {
    let reply = ask("_Docker-Swarm._tcp.cluster.test.", RecordType::SRV);
    assert_eq!(addresses(&reply), ["0 0 2377 node1.cluster.test.", "0 0 2377 node3.cluster.test."]);
    let between = ask("_tcp.cluster.test.", RecordType::SRV);
    assert_eq!((between.metadata.response_code, between.answers.len()), (ResponseCode::NoError, 0));
    let nobody = Zone { managers: vec![], ..zone() };
    let none = reply_to(&query("_docker-swarm._tcp.cluster.test.", RecordType::SRV), &nobody);
    assert_eq!((none.metadata.response_code, none.answers.len()), (ResponseCode::NoError, 0));
    assert_eq!(none.authorities[0].name.to_ascii(), "cluster.test.");
}

#[test]
fn anything_is_one_small_record() {
    for name in ["swarm.cluster.test.", "cluster.test.", "13.0.78.10.in-addr.arpa.", "node1.cluster.test."] {
        let reply = ask(name, RecordType::ANY);
        assert_eq!(reply.answers.len(), 1, "{name}");
        assert_eq!(reply.answers[0].record_type(), RecordType::HINFO);
    }
    assert_eq!(ask("node9.cluster.test.", RecordType::ANY).metadata.response_code, ResponseCode::NXDomain);
}

#[test]
fn the_reverse_names_of_a_network_that_is_not_private_are_ours_too() {
    let zone = Zone {
        head: Ipv4Addr::new(192, 0, 2, 1),
        nodes: [("a".parse().expect("a name"), Ipv4Addr::new(192, 0, 2, 9))].into(),
        ..zone()
    };
    let reply = |name: &str, kind| reply_to(&query(name, kind), &zone);
    assert_eq!(addresses(&reply("9.2.0.192.in-addr.arpa.", RecordType::PTR)), ["a.cluster.test."]);
    let none = reply("8.2.0.192.in-addr.arpa.", RecordType::PTR);
    assert_eq!(none.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(none.authorities[0].name.to_ascii(), "2.0.192.in-addr.arpa.");
    assert_eq!(addresses(&reply("2.0.192.in-addr.arpa.", RecordType::NS)), ["head.cluster.test."]);
    for name in ["8.3.0.192.in-addr.arpa.", "0.192.in-addr.arpa.", "in-addr.arpa."] {
        let query = bytes(&query(name, RecordType::PTR));
        assert!(matches!(act(&query, Transport::Udp, &zone).0, Answer::Forward(_)), "{name}");
    }
    let part = Zone { prefix: 28, ..zone };
    let other = bytes(&query("99.2.0.192.in-addr.arpa.", RecordType::PTR));
    assert!(matches!(act(&other, Transport::Udp, &part).0, Answer::Forward(_)), "another network's");
}

#[test]
fn what_is_not_the_cluster_s_is_forwarded_for_who_wants_that() {
    for name in ["example.org.", "test.", "xcluster.test.", "8.8.8.8.in-addr.arpa.", "."] {
        let query = bytes(&query(name, RecordType::A));
        assert!(matches!(act(&query, Transport::Udp, &zone()).0, Answer::Forward(_)), "{name}");
    }
    let mut peeping = query("example.org.", RecordType::A);
    peeping.metadata.recursion_desired = false;
    assert_eq!(reply_to(&peeping, &zone()).metadata.response_code, ResponseCode::Refused);
}

#[test]
fn edns_is_answered_in_kind_and_a_newer_version_refused() {
    let mut message = query("node1.cluster.test.", RecordType::A);
    assert!(reply_to(&message, &zone()).edns.is_none());
    let mut edns = Edns::new();
    edns.set_max_payload(4_096);
    message.set_edns(edns.clone());
    assert_eq!(reply_to(&message, &zone()).edns.map(|edns| edns.max_payload()), Some(UDP_EDNS_LIMIT));
    edns.set_version(1);
    message.set_edns(edns);
    // 16 is BADVERS here, and BADSIG to whoever decodes it without knowing of EDNS.
    assert_eq!(u16::from(reply_to(&message, &zone()).metadata.response_code), 16);
}

/// From thirty nodes on the reply was empty but for the mark, and who does not ask by TCP had no address.
#[test]
fn of_a_large_swarm_as_many_addresses_as_fit_come_by_turns_and_all_of_them_by_tcp() {
    let large = Zone { swarm: (0..200).map(|n| Ipv4Addr::new(10, 78, 1, n)).collect(), ..zone() };
    let mut message = query("swarm.cluster.test.", RecordType::A);
    let mut seen = std::collections::BTreeSet::new();
    for id in 0..200 {
        message.metadata.id = id;
        let packet = reply_bytes(&bytes(&message), Transport::Udp, &large);
        let reply = Message::from_vec(&packet).expect("readable");
        assert!(packet.len() <= 512 && packet.len() + ADDRESS_RECORD_BYTES > 512, "{}", packet.len());
        assert!(!reply.metadata.truncation);
        seen.extend(addresses(&reply));
    }
    assert_eq!(seen.len(), 200);
    message.set_edns(Edns::new());
    let reply = reply_bytes(&bytes(&message), Transport::Tcp, &large);
    assert_eq!(Message::from_vec(&reply).expect("readable").answers.len(), 200);
}

#[test]
fn a_reply_that_is_too_long_is_marked_and_tcp_has_it_all() {
    let managers: Vec<cluster::NodeName> =
        (0..200).map(|n| format!("manager{n}").parse().expect("a name")).collect();
    let nodes = managers.iter().cloned().zip((0..200).map(|n| Ipv4Addr::new(10, 78, 1, n))).collect();
    let large = Zone { managers, nodes, ..zone() };
    let mut message = query("_docker-swarm._tcp.cluster.test.", RecordType::SRV);
    let short = reply_to(&message, &large);
    assert!(short.metadata.truncation && short.answers.is_empty());
    let mut edns = Edns::new();
    edns.set_max_payload(u16::MAX);
    message.set_edns(edns);
    let reply = reply_bytes(&bytes(&message), Transport::Udp, &large);
    assert!(reply.len() <= usize::from(UDP_EDNS_LIMIT));
    let reply = reply_bytes(&bytes(&message), Transport::Tcp, &large);
    let whole = Message::from_vec(&reply).expect("readable");
    assert_eq!((whole.answers.len(), whole.metadata.truncation), (200, false));
}

#[test]
fn odd_queries_get_the_code_that_says_why_and_replies_get_silence() {
    let good = query("node1.cluster.test.", RecordType::A);
    let code = |message: &Message| reply_to(message, &zone()).metadata.response_code;
    let mut two = good.clone();
    two.add_query(good.queries[0].clone());
    assert_eq!(code(&two), ResponseCode::FormErr);
    let mut none = good.clone();
    none.queries.clear();
    assert_eq!(code(&none), ResponseCode::FormErr);
    let mut transfer = good.clone();
    transfer.queries[0].set_query_type(RecordType::AXFR);
    assert_eq!(code(&transfer), ResponseCode::Refused);
    let mut twice = good.clone();
    twice.set_edns(Edns::new());
    let mut twice = bytes(&twice);
    twice.extend_from_within(twice.len() - 11..);
    twice[11] = 2;
    assert_eq!(reply_bytes(&twice, Transport::Udp, &zone())[3] & 0x0f, 1, "two OPT records");
    let mut pointing = bytes(&good);
    pointing[12] = 0xc0;
    assert_eq!(reply_bytes(&pointing, Transport::Udp, &zone())[3] & 0x0f, 1, "a name that is a pointer");
    let mut chaos = good.clone();
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(code(&chaos), ResponseCode::Refused);
    let mut notify = good.clone();
    notify.metadata.op_code = OpCode::Notify;
    assert_eq!(code(&notify), ResponseCode::NotImp);

    let mut reply = bytes(&good);
    reply[2] |= 0x80;
    assert_eq!(act(&reply, Transport::Udp, &zone()).0, Answer::Ignore);
    assert_eq!(act(&bytes(&good)[..11], Transport::Udp, &zone()).0, Answer::Ignore);
    let cut = reply_bytes(&bytes(&good)[..20], Transport::Udp, &zone());
    assert_eq!(cut, [0x42, 0x42, 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn domains() {
    for good in ["cluster.internal", "lan", "a.b.c-d"] {
        assert!(crate::dns::is_domain(good), "{good}");
    }
    for bad in ["", ".", "a.", "a..b", "A.b", "a b", &["x"; 100].join("."), "*.a"] {
        assert!(!crate::dns::is_domain(bad), "{bad}");
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(
        noise in proptest::collection::vec(any::<u8>(), 0..300),
        at in 0..60_usize,
        byte in any::<u8>(),
    ) {
        let _ = act(&noise, Transport::Udp, &zone());
        let mut broken = bytes(&query("node1.cluster.test.", RecordType::A));
        broken.extend(&noise);
        let at = at % broken.len();
        broken[at] = byte;
        let (done, reply) = act(&broken, Transport::Udp, &zone());
        if done == Answer::Reply {
            prop_assert!(reply.len() <= usize::from(UDP_EDNS_LIMIT));
            prop_assert_eq!(&reply[..2], &broken[..2]);
            prop_assert!(Message::from_vec(&reply).is_ok());
        }
        let _ = act(&broken, Transport::Tcp, &zone());
    }
}
