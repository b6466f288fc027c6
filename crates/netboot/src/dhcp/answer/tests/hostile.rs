//! Packets of strangers: any bytes.

use super::*;
use crate::dhcp::packet::Malformed;
use proptest::prelude::*;

#[test]
fn packets_that_are_no_requests_are_named() {
    let good = Client::u_boot(1).message(MessageType::Discover, vec![]).to_vec().expect("encodes");
    let changed = |at: usize, byte: u8| {
        let mut packet = good.clone();
        packet[at] = byte;
        Request::parse(&packet)
    };
    assert_eq!(changed(0, 2), Err(Malformed::NotRequest));
    assert_eq!(changed(1, 6), Err(Malformed::Hardware));
    assert_eq!(changed(2, 16), Err(Malformed::Hardware));
    assert_eq!(changed(28, 0x01), Err(Malformed::Hardware));
    assert_eq!(changed(236, 0), Err(Malformed::NotDhcp));
    assert_eq!(Request::parse(&good[..239]), Err(Malformed::NotDhcp));
    assert_eq!(Request::parse(&[&good[..240], &[255]].concat()), Err(Malformed::Kind));
    assert_eq!(Request::parse(&[&good[..240], &[53, 1, 1, 60, 200, 1]].concat()), Err(Malformed::Options));
    // What makes dhcproto panic in debug builds is skipped unread.
    let odd = [&good[..240], &[53, 1, 1, 80, 1, 0, 81, 1, 0, 94, 1, 0, 255]].concat();
    assert_eq!(Request::parse(&odd).map(|request| request.kind), Ok(Kind::Discover));
}

proptest! {
    /// Any bytes, and any options behind a good header: no panic, and no reply over the limit.
    #[test]
    fn parsing_and_answering_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..700),
        kind in 0..10_u8,
        now_ms in any::<u64>(),
        until_ms in any::<u64>(),
    ) {
        let _ = Request::parse(&bytes);
        let good = Client::u_boot(1).message(MessageType::Discover, vec![]).to_vec().expect("encodes");
        let packet = [&good[..240], &[53, 1, kind], &bytes].concat();
        if let Ok(request) = Request::parse(&packet) {
            let leases = Leases::restore(vec![Lease { mac: mac(1), address: host(120), until_ms }]);
            let mut server = Server::new(settings(), leases);
            for mode in [Mode::Authoritative, Mode::Proxy] {
                server.settings.mode = mode;
                if let Ok(packet) = server.answer(&request, NODE, now_ms).reply {
                    prop_assert!((300..=1_472).contains(&packet.bytes.len()));
                }
            }
        }
    }
}
