//! The head's DNS as foreign programs see it: dig asks, dnsmasq is the resolver behind the head.

#[path = "dns/dialogue.rs"]
mod dialogue;
#[expect(dead_code, unused_imports, reason = "other tests furnish their rooms with more")]
mod room;

use std::process::Command;

use room::{Furniture, HEAD, Room, Started, is_outside, run, wait};

const NODES: [(&str, u8); 3] = [("node1", 11), ("node2", 12), ("node3", 13)];
/// The resolver behind the head.
const RESOLVER: &str = "127.0.0.53";
/// How dig may ask: each way has to give the same.
const WAYS: [&str; 4] = ["+notcp +noedns", "+notcp +edns", "+tcp +noedns", "+tcp +edns +dnssec"];

/// What dig says: the status, the flags, the answers and the authorities without their TTLs.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    status: String,
    flags: String,
    answers: Vec<String>,
    authorities: Vec<String>,
}

/// A room with nodes; the client has an address.
fn furnish() -> Room {
    let room = Room::furnish(&Furniture { nodes: &NODES, ..Furniture::default() });
    room.at_client("ip", "address add 10.78.0.9/24 dev node0");
    room
}

/// Asks from the client's namespace.
fn dig(room: &Room, arguments: &str) -> Said {
    let text = room.at_client(
        "dig",
        &format!("@{HEAD} +tries=2 +time=2 +noall +comments +answer +authority {arguments}"),
    );
    read(&text)
}

/// Reads what dig prints.
fn read(text: &str) -> Said {
    assert!(!text.contains("WARNING") && !text.contains("Warning"), "{text}");
    let between = |before: &str, after: &str| {
        let rest = text.split_once(before).unwrap_or_else(|| panic!("no `{before}` in: {text}")).1;
        rest.split(after).next().unwrap_or_default().trim().to_owned()
    };
    let section = |title: &str| {
        let lines = text.split_once(title).map_or("", |(_, rest)| rest).lines().skip(1);
        let mut records: Vec<String> = lines
            .take_while(|line| !line.is_empty() && !line.starts_with(';'))
            .map(|line| {
                let mut words: Vec<&str> = line.split_ascii_whitespace().collect();
                words.remove(1);
                words.join(" ")
            })
            .collect();
        records.sort();
        records
    };
    Said {
        status: between("status: ", ","),
        flags: between("flags: ", ";"),
        answers: section("ANSWER SECTION:"),
        authorities: section("AUTHORITY SECTION:"),
    }
}

/// The lower-case name of a zone whose SOA stands in the authorities.
fn apex(said: &Said) -> &str {
    said.authorities.first().and_then(|record| record.split_once(" IN SOA ")).map_or("", |(name, _)| name)
}

#[test]
fn dig_gets_the_zone_s_records_in_every_way() {
    if is_outside("dig_gets_the_zone_s_records_in_every_way") {
        return;
    }
    let room = furnish();
    let soa = "IN SOA head.cluster.test. hostmaster.cluster.test. 1 3600 600 86400 5";
    let reverse = format!("10.in-addr.arpa. {soa}");
    let soa = format!("cluster.test. {soa}");
    for way in WAYS {
        for (question, status, answer, zone) in [
            ("node2.cluster.test A", "NOERROR", "node2.cluster.test. IN A 10.78.0.12", ""),
            ("NoDe2.CLUSTER.test A", "NOERROR", "NoDe2.CLUSTER.test. IN A 10.78.0.12", ""),
            ("head.cluster.test A", "NOERROR", "head.cluster.test. IN A 10.78.0.1", ""),
            ("cluster.test A", "NOERROR", "cluster.test. IN A 10.78.0.1", ""),
            ("cluster.test SOA", "NOERROR", &soa, ""),
            ("cluster.test NS", "NOERROR", "cluster.test. IN NS head.cluster.test.", ""),
            ("-x 10.78.0.13", "NOERROR", "13.0.78.10.in-addr.arpa. IN PTR node3.cluster.test.", ""),
            ("10.in-addr.arpa SOA", "NOERROR", &reverse, ""),
            ("node2.cluster.test ANY", "NOERROR", "node2.cluster.test. IN HINFO \"RFC8482\" \"\"", ""),
            ("node2.cluster.test AAAA", "NOERROR", "", "cluster.test."),
            ("node2.cluster.test TYPE65280", "NOERROR", "", "cluster.test."),
            ("swarm.cluster.test A", "NOERROR", "", "cluster.test."),
            ("_docker-swarm._tcp.cluster.test SRV", "NOERROR", "", "cluster.test."),
            ("node9.cluster.test A", "NXDOMAIN", "", "cluster.test."),
            ("-x 10.78.0.99", "NXDOMAIN", "", "10.in-addr.arpa."),
        ] {
            let said = dig(&room, &format!("{way} {question}"));
            assert_eq!(said.status, status, "{way} {question}: {said:?}");
            assert!(said.flags.starts_with("qr aa rd ra"), "{way} {question}: {said:?}");
            assert_eq!(said.answers.first().map_or("", String::as_str), answer, "{way} {question}");
            assert_eq!(
                (said.answers.len(), apex(&said)),
                (usize::from(!answer.is_empty()), zone),
                "{question}"
            );
        }
    }
}

#[test]
fn dig_s_odd_questions_are_refused_and_strangers_get_silence() {
    if is_outside("dig_s_odd_questions_are_refused_and_strangers_get_silence") {
        return;
    }
    let room = furnish();
    for (question, status) in [
        ("+edns=1 +noednsneg node1.cluster.test A", "BADVERS"),
        ("+noedns +opcode=notify node1.cluster.test A", "NOTIMP"),
        ("+noedns +header-only", "FORMERR"),
        ("-c CH version.bind TXT", "REFUSED"),
        ("+norecurse www.example A", "REFUSED"),
    ] {
        let said = dig(&room, question);
        assert_eq!(said.status, status, "{question}");
    }
    let transfer = room.at_client("dig", &format!("@{HEAD} cluster.test AXFR"));
    assert!(transfer.contains("Transfer failed"), "{transfer}");
    let own = run("dig", &format!("@{HEAD} +short node1.cluster.test"));
    assert_eq!(own.trim(), "10.78.0.11", "the head asks itself");

    room.at_client("ip", "address add 192.0.2.9/24 dev node0");
    run("ip", "route add 192.0.2.0/24 dev head0");
    let stranger =
        room.at_client("dig", &format!("-b 192.0.2.9 @{HEAD} +tries=1 +time=1 node1.cluster.test"));
    assert!(stranger.contains("no servers could be reached"), "{stranger}");
}

#[test]
fn dig_gets_what_the_resolver_behind_the_head_knows_and_gets_it_again_when_that_is_gone() {
    if is_outside("dig_gets_what_the_resolver_behind_the_head_knows_and_gets_it_again_when_that_is_gone") {
        return;
    }
    let room = furnish();
    let resolver = resolver(&room);
    let questions = [
        ("www.example A", "www.example. IN A 192.0.2.80"),
        ("WWW.Example A", "WWW.Example. IN A 192.0.2.80"),
        ("www.example AAAA", "www.example. IN AAAA 2001:db8::80"),
        ("example MX", "example. IN MX 10 mail.example."),
        ("_x._tcp.example SRV", "_x._tcp.example. IN SRV 1 2 80 www.example."),
        ("-x 192.0.2.80", "80.2.0.192.in-addr.arpa. IN PTR www.example."),
        ("text.example TXT", "text.example. IN TXT \"words\""),
    ];
    let ask_all = |way: &str| {
        for (question, answer) in questions {
            let said = dig(&room, &format!("{way} {question}"));
            assert_eq!(
                (said.status.as_str(), said.flags.as_str()),
                ("NOERROR", "qr rd ra"),
                "{way} {question}"
            );
            assert_eq!(said.answers, [answer], "{way} {question}");
        }
    };
    for way in &WAYS[..3] {
        ask_all(way);
    }
    let long = dig(&room, "+notcp +noedns +ignore long.example TXT");
    assert_eq!((long.flags.as_str(), long.answers.len()), ("qr tc rd ra", 0));
    for way in ["", "+tcp"] {
        assert_eq!(dig(&room, &format!("{way} long.example TXT")).answers.len(), 8, "{way}");
    }
    let both =
        room.at_client("dig", &format!("@{HEAD} +tcp +keepopen +short www.example A node1.cluster.test A"));
    assert_eq!(both.split_ascii_whitespace().collect::<Vec<_>>(), ["192.0.2.80", "10.78.0.11"]);
    drop(resolver);
    for way in &WAYS[..3] {
        ask_all(way);
    }
}

/// Makes [`RESOLVER`] the one that the head asks.
fn behind(room: &Room) {
    let file = room.folder().join("resolv.conf");
    std::fs::write(&file, format!("nameserver {RESOLVER}\n")).expect("a file");
    run("mount", &format!("--bind {} /etc/resolv.conf", file.display()));
}

/// dnsmasq, with names of its own, as the one resolver of the head.
fn resolver(room: &Room) -> Started {
    behind(room);
    let mut dnsmasq = Command::new("dnsmasq");
    // It stays who it is: in the namespace of a plain user there is nobody else.
    dnsmasq.args([
        "--no-daemon",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--bind-interfaces",
        "--local-ttl=300",
    ]);
    dnsmasq.arg(format!("--listen-address={RESOLVER}"));
    dnsmasq.args(["--host-record=www.example,192.0.2.80,2001:db8::80", "--mx-host=example,mail.example,10"]);
    dnsmasq.args(["--srv-host=_x._tcp.example,www.example,80,1,2", "--txt-record=text.example,words"]);
    for number in 0..8 {
        dnsmasq.arg(format!("--txt-record=long.example,{number}{}", "x".repeat(240)));
    }
    let started = Started::new(&mut dnsmasq);
    wait("dnsmasq", || {
        run("dig", &format!("@{RESOLVER} +short +tries=1 +time=1 www.example")).starts_with("192")
    });
    started
}
