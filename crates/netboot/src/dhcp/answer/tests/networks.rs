//! What is told of networks: relays, options, PXE beside another server.

use super::*;
use crate::dhcp::settings::Route;

fn wants(codes: &[OptionCode]) -> DhcpOption {
    DhcpOption::ParameterRequestList(codes.to_vec())
}

#[test]
fn a_relayed_client_gets_an_address_of_its_network_by_way_of_its_relay() {
    let mut head = Head::new();
    let mut discover = Client::system(1).message(MessageType::Discover, vec![]);
    discover.set_giaddr(RELAY);
    let mut bytes = discover.to_vec().expect("encodes");
    // What the relay noted: circuit 1 is "port7".
    let noted = b"\x52\x07\x01\x05port7";
    let end = bytes.iter().rposition(|byte| *byte == 255).expect("an end");
    bytes.splice(end.., [&noted[..], &[255]].concat());
    let request = Request::parse(&bytes).expect("a request");
    let answer = head.server.answer(&request, NODE, head.now_ms);
    let packet = answer.reply.expect("an offer");
    assert_eq!(packet.to, SocketAddrV4::new(RELAY, 67));
    assert_eq!(packet.probe, None, "ARP does not reach there");
    let offer = v4::Message::from_bytes(&packet.bytes).expect("reads");
    assert_eq!((offer.giaddr(), offer.yiaddr().octets()[1]), (RELAY, 80));
    assert_eq!(offer.opts().get(OptionCode::Router), Some(&DhcpOption::Router(vec![RELAY])));
    assert!(packet.bytes.windows(noted.len()).any(|window| window == noted), "sent back as it was");
    // The relay may say that the client is elsewhere (RFC 3527): back on the head's own network.
    let link = [&b"\x52\x06\x05\x04"[..], &SERVER.octets(), &[255]].concat();
    bytes.splice(end.., link);
    let request = Request::parse(&bytes).expect("a request");
    let packet = head.server.answer(&request, NODE, head.now_ms).reply.expect("an offer");
    assert_eq!(packet.bytes[17], 78);
    // A NAK behind a relay is to be broadcast there.
    let mut wrong = init_reboot(&Client::system(1), Ipv4Addr::new(192, 168, 1, 5));
    wrong.set_giaddr(RELAY);
    let nak = head.reply(&wrong, NODE);
    assert_eq!((nak.kind(), nak.packet.to), (MessageType::Nak, SocketAddrV4::new(RELAY, 67)));
    assert!(nak.message.flags().broadcast());
}

#[test]
fn a_system_learns_what_it_asks_for() {
    let mut head = Head::new();
    let settings = &mut head.server.settings;
    settings.search = vec!["example.net".to_owned()];
    settings.ntp = vec![host(5)];
    let network = Ipv4Addr::new(10, 128, 0, 0);
    settings.routes = vec![Route { network, prefix: 9, router: host(6) }];
    let asks = wants(&[
        OptionCode::Hostname,
        OptionCode::NtpServers,
        OptionCode::DomainSearch,
        OptionCode::ClasslessStaticRoute,
        OptionCode::Renewal,
        OptionCode::Rebinding,
    ]);
    let offer = head.reply(&Client::system(1).message(MessageType::Discover, vec![asks]), NODE);
    assert_eq!(offer.option(OptionCode::Hostname), Some(&DhcpOption::Hostname("node1".to_owned())));
    assert_eq!(offer.option(OptionCode::NtpServers), Some(&DhcpOption::NtpServers(vec![host(5)])));
    assert_eq!(offer.option(OptionCode::Renewal), Some(&DhcpOption::Renewal(LEASE_SECS / 2)));
    assert_eq!(offer.option(OptionCode::Rebinding), Some(&DhcpOption::Rebinding(LEASE_SECS / 8 * 7)));
    let Some(DhcpOption::DomainSearch(domains)) = offer.option(OptionCode::DomainSearch) else {
        panic!("no search list")
    };
    let domains: Vec<String> = domains.iter().map(ToString::to_string).collect();
    assert_eq!(domains, ["cluster.test.", "example.net."]);
    let Some(DhcpOption::ClasslessStaticRoute(routes)) = offer.option(OptionCode::ClasslessStaticRoute)
    else {
        panic!("no routes")
    };
    let routes: Vec<String> = routes.iter().map(|(net, router)| format!("{net} via {router}")).collect();
    assert_eq!(routes, ["10.128.0.0/9 via 10.78.0.6", "0.0.0.0/0 via 10.78.0.1"]);
    // Behind a relay that router cannot be reached.
    let asks = wants(&[OptionCode::ClasslessStaticRoute]);
    let mut relayed = Client::system(3).message(MessageType::Discover, vec![asks]);
    relayed.set_giaddr(RELAY);
    assert_eq!(head.reply(&relayed, NODE).option(OptionCode::ClasslessStaticRoute), None);
    // A boot loader that does not ask is not given them: it has little room.
    let offer = head.reply(&Client::u_boot(2).message(MessageType::Discover, vec![]), NODE);
    assert_eq!(offer.option(OptionCode::Hostname), None);
}

#[test]
fn a_long_option_comes_in_pieces_and_only_to_who_takes_it() {
    let mut head = Head::new();
    head.server.settings.search = (0..20).map(|number| format!("n{number}.a-long-domain.example")).collect();
    let asks = wants(&[OptionCode::DomainSearch]);
    let short = head.reply(&Client::system(1).message(MessageType::Discover, vec![asks.clone()]), NODE);
    assert_eq!(short.option(OptionCode::DomainSearch), None, "576 bytes have no room for it");
    let options = vec![asks, DhcpOption::MaxMessageSize(1_400)];
    let long = head.reply(&Client::system(1).message(MessageType::Discover, options), NODE);
    assert!((600..=1_372).contains(&long.packet.bytes.len()));
    // dhcproto puts the pieces together (RFC 3396).
    let Some(DhcpOption::DomainSearch(domains)) = long.option(OptionCode::DomainSearch) else {
        panic!("no search list")
    };
    assert_eq!(domains.len(), 21);
}

#[test]
fn options_that_continue_in_the_header_are_read() {
    let mut packet = Client::system(1).message(MessageType::Discover, vec![]).to_vec().expect("encodes");
    packet.truncate(240);
    packet[108..112].copy_from_slice(&[53, 1, 1, 255]);
    packet[44..51].copy_from_slice(&[50, 4, 10, 78, 0, 123, 255]);
    packet.extend([52, 1, 3, 255]);
    let request = Request::parse(&packet).expect("a request");
    assert_eq!((request.kind, request.requested), (Kind::Discover, Some(host(123))));
}

#[test]
fn an_address_that_somebody_uses_is_asked_for_once_and_then_avoided() {
    let mut head = Head::new();
    let client = Client::system(1);
    let discover = client.message(MessageType::Discover, vec![]);
    let offer = head.reply(&discover, NODE);
    let address = offer.message.yiaddr();
    assert_eq!(offer.packet.probe, Some(address));
    assert_eq!(head.server.in_use(address, mac(99), head.now_ms), None, "it was offered and nobody's yet");
    let other = head.reply(&discover, NODE);
    assert_ne!(other.message.yiaddr(), address);
    // Its own lease is not asked for; a fixed address is, until it has that.
    let own = head.boot(&client, NODE);
    assert_eq!(head.reply(&discover, NODE).packet.probe, None);
    let fixed = Standing::Node { fixed: Some(host(20)), name: "" };
    let second = Client::system(2);
    let message = second.message(MessageType::Discover, vec![]);
    assert_eq!(head.reply(&message, fixed).packet.probe, Some(host(20)));
    head.boot(&second, fixed);
    assert_eq!(head.reply(&message, fixed).packet.probe, None);
    // Whose lease it was loses it to who is there.
    assert_eq!(head.server.in_use(own, mac(99), head.now_ms), Some(Change::NoLease(client.mac)));
}

#[test]
fn uefi_is_told_its_file_and_http_boot_its_url() {
    let mut head = Head::new();
    let class = |class| Client { mac: mac(1), class: Some(class) };
    let pxe = class(b"PXEClient:Arch:00011:UNDI:003016");
    let options = vec![wants(&[OptionCode::BootfileName, OptionCode::TFTPServerName])];
    let offer = head.reply(&pxe.message(MessageType::Discover, options), NODE);
    assert_eq!(offer.message.fname().map(|name| name.trim_ascii_end()), Some(b"grub.efi\0".as_slice()));
    assert_eq!(offer.option(OptionCode::BootfileName), Some(&DhcpOption::BootfileName(b"grub.efi".to_vec())));
    assert_eq!(offer.option(OptionCode::ClassIdentifier), None);
    let http = class(b"HTTPClient:Arch:00019:UNDI:003001");
    let offer = head.reply(&http.message(MessageType::Discover, vec![]), NODE);
    let url = b"http://10.78.0.1:8080/files/grub.efi\0";
    assert_eq!(offer.message.fname(), Some(url.as_slice()));
    let expected = DhcpOption::ClassIdentifier(b"HTTPClient".to_vec());
    assert_eq!(offer.option(OptionCode::ClassIdentifier), Some(&expected));
}

#[test]
fn beside_a_router_only_what_boots_is_said_and_no_address() {
    let mut head = Head::new();
    head.server.settings.mode = Mode::Proxy;
    let eeprom =
        Client { mac: Mac([0xdc, 0xa6, 0x32, 1, 2, 3]), class: Some(b"PXEClient:Arch:00000:UNDI:002001") };
    let discover = eeprom.message(MessageType::Discover, vec![]);
    let offer = head.reply(&discover, NODE);
    assert_eq!((offer.message.yiaddr(), offer.lease), (Ipv4Addr::UNSPECIFIED, None));
    assert_eq!((offer.message.siaddr(), offer.packet.delay_ms), (SERVER, 0));
    assert_eq!(offer.option(OptionCode::AddressLeaseTime), None);
    assert!(offer.option(OptionCode::VendorExtensions).is_some());
    for kind in [MessageType::Discover, MessageType::Request, MessageType::Inform] {
        assert_eq!(head.silent(&Client::u_boot(2).message(kind, vec![]), NODE), Why::NotOurs);
    }
    // What comes to port 4011 is answered to where it came from.
    let request = parse(&eeprom.message(MessageType::Request, vec![]));
    let from = SocketAddrV4::new(host(44), 4_011);
    let ack = head.server.answer_pxe(&request, NODE, from).reply.expect("an ACK");
    assert_eq!((ack.to, ack.bytes[242]), (from, 5));
    assert_eq!(head.server.answer_pxe(&request, Standing::Stranger, from).reply, Err(Why::Stranger));
    let outside = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 4_011);
    assert_eq!(head.server.answer_pxe(&request, NODE, outside).reply, Err(Why::Senseless));
    assert_eq!(head.server.leases.iter().count(), 0);
}

#[test]
fn our_question_for_other_servers_is_understood_and_their_answer_too() {
    use crate::dhcp::{Offer, discover, discover_pxe};
    let me = mac(200);
    let asked = v4::Message::from_bytes(&discover(me, 77)).expect("a foreign codec reads it");
    assert_eq!((asked.opts().msg_type(), asked.xid()), (Some(MessageType::Discover), 77));
    let mut head = Head::new();
    let answer = head.server.answer(&Request::parse(&discover(me, 77)).expect("a request"), NODE, 0);
    let bytes = answer.reply.expect("an offer").bytes;
    let offer = Offer::parse(&bytes).expect("an offer");
    assert_eq!((offer.server, offer.client, offer.transaction), (SERVER, me, 77));
    assert!(offer.address.is_some());
    assert_eq!(Offer::parse(&discover(me, 77)), None);
    // A server beside another answers PXE alone, and without an address.
    head.server.settings.mode = Mode::Proxy;
    assert_eq!(
        head.server.answer(&Request::parse(&discover(me, 78)).expect("a request"), NODE, 0).reply,
        Err(Why::NotOurs)
    );
    let asked = v4::Message::from_bytes(&discover_pxe(me, 78)).expect("a foreign codec reads it");
    assert!(asked.opts().get(OptionCode::ClientMachineIdentifier).is_some());
    let answer = head.server.answer(&Request::parse(&discover_pxe(me, 78)).expect("a request"), NODE, 0);
    let offer = Offer::parse(&answer.reply.expect("an offer").bytes).expect("an offer");
    assert_eq!((offer.server, offer.address, offer.transaction), (SERVER, None, 78));
}
