//! Any packet on the DNS port; then any reply of a resolver to it.
#![no_main]

use std::net::Ipv4Addr;

use libfuzzer_sys::fuzz_target;
use netboot::dns::{Answer, Forwarder, Names, Next, Reply, Transport, Zone, answer};

fuzz_target!(|packets: (Vec<u8>, Vec<u8>)| {
    let (query, records) = packets;
    let head = Ipv4Addr::new(10, 78, 0, 1);
    let node: cluster::NodeName = "node1".parse().expect("a name");
    let zone = Zone {
        domain: "cluster.test".to_owned(),
        head,
        prefix: 24,
        nodes: [(node.clone(), Ipv4Addr::new(10, 78, 0, 11))].into(),
        swarm: vec![head; 200],
        managers: vec![node],
    };
    let names = Names::new(&zone);
    let mut reply = Vec::new();
    let _ = answer(&query, Transport::Tcp, &names, &mut reply);
    let question = match answer(&query, Transport::Udp, &names, &mut reply) {
        Answer::Ignore => return,
        Answer::Reply => return assert!(reply.len() <= 1_232 && reply[2] & 0x80 != 0),
        Answer::Forward(question) => question,
    };
    let mut forwarder = Forwarder::default();
    let client = Ipv4Addr::new(10, 78, 0, 7);
    let Next::Ask(asked) = forwarder.ask(&question, Transport::Udp, (client, ()), 0, &mut reply) else {
        panic!("nothing is known yet")
    };
    // The question as it was asked, then what was made up.
    let mut theirs = asked.packet[..asked.packet.len() - 11].to_vec();
    theirs[2] |= 0x80;
    theirs.extend(&records);
    for (byte, made_up) in theirs[6..12].iter_mut().zip(&records) {
        *byte = *made_up;
    }
    let Ok(known) = Reply::parse(&theirs, &asked.packet) else { return };
    for (bytes, ()) in forwarder.answered(asked, known, 0) {
        assert!(bytes.len() <= 1_232);
    }
    let _ = forwarder.ask(&question, Transport::Udp, (client, ()), 999, &mut reply);
    assert!(reply.len() <= 1_232);
});
