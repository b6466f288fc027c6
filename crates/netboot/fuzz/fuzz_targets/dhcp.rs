//! Any packet on the DHCP port, up to the reply.
#![no_main]

use std::net::Ipv4Addr;

use libfuzzer_sys::fuzz_target;
use netboot::dhcp::{Answer, Leases, Request, Settings, Standing, answer};

fuzz_target!(|packet: &[u8]| {
    let Ok(request) = Request::parse(packet) else { return };
    let server = Ipv4Addr::new(10, 78, 0, 1);
    let pool = Ipv4Addr::new(10, 78, 0, 100)..=Ipv4Addr::new(10, 78, 0, 199);
    let domain = "cluster.test".to_owned();
    let settings =
        Settings { server, prefix: 24, router: None, dns: server, domain, lease_secs: 3_600, pool };
    let standing = Standing::Node { fixed: None };
    if let Answer::Reply { bytes, .. } = answer(&request, standing, &settings, &mut Leases::default(), 0) {
        assert!((300..=548).contains(&bytes.len()));
    }
});
