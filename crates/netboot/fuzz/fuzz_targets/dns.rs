//! Any packet on the DNS port.
#![no_main]

use std::net::Ipv4Addr;

use libfuzzer_sys::fuzz_target;
use netboot::dns::{Answer, Zone, answer, answer_stream, server_failure};

fuzz_target!(|query: &[u8]| {
    let head = Ipv4Addr::new(10, 78, 0, 1);
    let zone = Zone { domain: "cluster.test".to_owned(), head, nodes: [].into(), swarm: vec![head; 200] };
    if let Answer::Reply(reply) = answer(query, &zone) {
        assert!(reply.len() <= 1_232 && reply[2] & 0x80 != 0);
    }
    let _ = answer_stream(query, &zone);
    let _ = server_failure(query);
});
