//! Any packet on the DHCP ports, up to the reply; then the same as another server's, and as an ARP frame.
#![no_main]

use std::net::{Ipv4Addr, SocketAddrV4};

use libfuzzer_sys::fuzz_target;
use netboot::arp;
use netboot::dhcp::{BootFiles, Leases, Mode, Offer, Request, Server, Settings, Standing, Subnet};

fuzz_target!(|packet: &[u8]| {
    let _ = Offer::parse(packet);
    let _ = arp::claim(packet);
    let Ok(request) = Request::parse(packet) else { return };
    let server = Ipv4Addr::new(10, 78, 0, 1);
    let subnet = |third| Subnet {
        address: Ipv4Addr::new(10, 78, third, 1),
        prefix: 24,
        router: None,
        pool: Ipv4Addr::new(10, 78, third, 100)..=Ipv4Addr::new(10, 78, third, 199),
    };
    let settings = Settings {
        server,
        mode: Mode::Authoritative,
        subnets: vec![subnet(0), subnet(1)],
        dns: server,
        domain: "cluster.test".to_owned(),
        search: vec!["example.net".to_owned(); 40],
        ntp: vec![server; 70],
        routes: Vec::new(),
        lease_secs: 3_600,
        files: BootFiles { ipxe: Some("menu.ipxe".to_owned()), ..BootFiles::default() },
    };
    let mut head = Server::new(settings, Leases::default());
    let node = Standing::Node { fixed: None, name: "node1" };
    let from = SocketAddrV4::new(Ipv4Addr::new(10, 78, 0, 7), 4_011);
    for mode in [Mode::Authoritative, Mode::Proxy] {
        head.settings.mode = mode;
        let answers = [head.answer(&request, node, 0), head.answer_pxe(&request, node, from)];
        for reply in answers.into_iter().filter_map(|answer| answer.reply.ok()) {
            assert!((300..=1_472).contains(&reply.bytes.len()));
        }
    }
});
