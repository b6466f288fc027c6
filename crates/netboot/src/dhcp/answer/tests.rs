//! Whole dialogues with a stepped clock. The client's packets are written and ours are read by dhcproto, a
//! codec that is not ours.

use dhcproto::v4::{self, DhcpOption, Message, MessageType, OptionCode};
use dhcproto::{Decodable, Encodable};
use proptest::prelude::*;

use super::*;
use crate::dhcp::packet::Malformed;
use cluster::Mac;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
const NODE: Standing = Standing::Node { fixed: None };
const LEASE_SECS: u32 = 3_600;
const LEASE_MS: u64 = 3_600_000;

fn settings() -> Settings {
    Settings {
        server: SERVER,
        prefix: 24,
        router: Some(SERVER),
        dns: SERVER,
        domain: "cluster.test".to_owned(),
        lease_secs: LEASE_SECS,
        pool: host(100)..=host(199),
    }
}

fn host(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 78, 0, last)
}

fn mac(last: u8) -> Mac {
    Mac([0xb8, 0x27, 0xeb, 1, 2, last])
}

/// A machine on the wire that speaks DHCP.
struct Client {
    mac: Mac,
    class: Option<&'static [u8]>,
}

impl Client {
    fn u_boot(last: u8) -> Self {
        Self { mac: mac(last), class: Some(b"U-Boot.armv8") }
    }

    fn system(last: u8) -> Self {
        Self { mac: mac(last), class: None }
    }

    fn message(&self, kind: MessageType, options: Vec<DhcpOption>) -> Message {
        let unset = Ipv4Addr::UNSPECIFIED;
        let mut message = Message::new_with_id(0x1234_5678, unset, unset, unset, unset, &self.mac.0);
        message.opts_mut().insert(DhcpOption::MessageType(kind));
        if let Some(class) = self.class {
            message.opts_mut().insert(DhcpOption::ClassIdentifier(class.to_vec()));
        }
        for option in options {
            message.opts_mut().insert(option);
        }
        message
    }
}

fn parse(message: &Message) -> Request {
    Request::parse(&message.to_vec().expect("encodes")).expect("a request")
}

/// The head: answers one packet.
struct Head {
    settings: Settings,
    leases: Leases,
    now_ms: u64,
}

impl Head {
    fn new() -> Self {
        Self { settings: settings(), leases: Leases::default(), now_ms: 1_000_000 }
    }

    fn ask(&mut self, message: &Message, standing: Standing) -> Answer {
        answer(&parse(message), standing, &self.settings, &mut self.leases, self.now_ms)
    }

    fn reply(&mut self, message: &Message, standing: Standing) -> Heard {
        match self.ask(message, standing) {
            Answer::Reply { bytes, to, lease, delay_ms } => {
                let message = v4::Message::from_bytes(&bytes).expect("a foreign codec reads our reply");
                Heard { message, length: bytes.len(), to, lease, delay_ms }
            }
            Answer::Ignore(why) => panic!("no reply: {why}"),
        }
    }

    /// DISCOVER, OFFER, REQUEST, ACK; gives the address.
    fn boot(&mut self, client: &Client, standing: Standing) -> Ipv4Addr {
        let offer = self.reply(&client.message(MessageType::Discover, vec![]), standing);
        assert_eq!(offer.kind(), MessageType::Offer);
        let address = offer.message.yiaddr();
        let ack = self.reply(&select(client, address, SERVER), standing);
        assert_eq!((ack.kind(), ack.message.yiaddr()), (MessageType::Ack, address));
        let until_ms = self.now_ms + LEASE_MS;
        assert_eq!(ack.lease, Some(Lease { mac: client.mac, address, until_ms }));
        address
    }
}

struct Heard {
    message: Message,
    length: usize,
    to: SocketAddrV4,
    lease: Option<Lease>,
    delay_ms: u64,
}

impl Heard {
    fn kind(&self) -> MessageType {
        self.message.opts().msg_type().expect("option 53")
    }

    fn option(&self, code: OptionCode) -> Option<&DhcpOption> {
        self.message.opts().get(code)
    }
}

fn select(client: &Client, address: Ipv4Addr, server: Ipv4Addr) -> Message {
    let options = vec![DhcpOption::RequestedIpAddress(address), DhcpOption::ServerIdentifier(server)];
    client.message(MessageType::Request, options)
}

fn init_reboot(client: &Client, address: Ipv4Addr) -> Message {
    client.message(MessageType::Request, vec![DhcpOption::RequestedIpAddress(address)])
}

fn renew(client: &Client, address: Ipv4Addr) -> Message {
    let mut message = client.message(MessageType::Request, vec![]);
    message.set_ciaddr(address);
    message
}

#[test]
fn u_boot_learns_all_it_needs_in_the_offer() {
    let mut head = Head::new();
    let offer = head.reply(&Client::u_boot(1).message(MessageType::Discover, vec![]), NODE);
    assert_eq!(offer.message.xid(), 0x1234_5678);
    assert_eq!(offer.message.siaddr(), SERVER);
    assert_eq!(offer.message.fname(), Some(b"pxelinux.0\0".as_slice()));
    assert_eq!(offer.option(OptionCode::ServerIdentifier), Some(&DhcpOption::ServerIdentifier(SERVER)));
    assert_eq!(
        offer.option(OptionCode::SubnetMask),
        Some(&DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)))
    );
    assert_eq!(offer.option(OptionCode::Router), Some(&DhcpOption::Router(vec![SERVER])));
    assert_eq!(offer.option(OptionCode::DomainNameServer), Some(&DhcpOption::DomainNameServer(vec![SERVER])));
    assert_eq!(
        offer.option(OptionCode::DomainName),
        Some(&DhcpOption::DomainName("cluster.test".to_owned()))
    );
    assert_eq!(offer.option(OptionCode::AddressLeaseTime), Some(&DhcpOption::AddressLeaseTime(LEASE_SECS)));
    assert_eq!(offer.option(OptionCode::VendorExtensions), None, "option 43 is for the Pi's ROM only");
    assert_eq!(offer.to, "255.255.255.255:68".parse().expect("an address"));
    assert_eq!((offer.lease, offer.delay_ms), (None, 0));
    assert!(offer.length >= 300);
}

#[test]
fn the_rom_of_a_pi_gets_its_option_a_delay_and_a_lease_without_asking_twice() {
    let client = Client { mac: mac(3), class: Some(b"PXEClient:Arch:00000:UNDI:002001") };
    let mut head = Head::new();
    let offer = head.reply(&client.message(MessageType::Discover, vec![]), NODE);
    let Some(DhcpOption::VendorExtensions(option)) = offer.option(OptionCode::VendorExtensions) else {
        panic!("no option 43")
    };
    assert!(option.windows(17).any(|window| window == b"Raspberry Pi Boot"));
    assert_eq!(offer.delay_ms, PI_ROM_DELAY_MS);
    assert_eq!(offer.lease.map(|lease| lease.mac), Some(client.mac));
    // U-Boot, which the ROM loads next, goes on with the same address.
    assert_eq!(head.boot(&Client::u_boot(3), NODE), offer.message.yiaddr());
}

#[test]
fn a_node_that_reboots_gets_the_same_address_whatever_it_runs_and_however_long_it_was_off() {
    let mut head = Head::new();
    let address = head.boot(&Client::u_boot(1), NODE);
    assert_eq!(head.boot(&Client::system(1), NODE), address);
    head.now_ms += 400 * 24 * 3_600_000;
    assert_eq!(head.boot(&Client::u_boot(1), NODE), address);
    assert_ne!(head.boot(&Client::u_boot(2), NODE), address);
    let kept: Vec<Lease> = head.leases.iter().copied().collect();
    head.leases = Leases::restore(kept);
    assert_eq!(head.boot(&Client::u_boot(1), NODE), address, "and over a restart of the head");
}

#[test]
fn a_head_without_its_leases_gives_the_same_addresses() {
    let mut addresses = Vec::new();
    for _ in 0..2 {
        let mut head = Head::new();
        addresses.push([1, 2, 3].map(|last| head.boot(&Client::u_boot(last), NODE)));
    }
    assert_eq!(addresses[0], addresses[1]);
    // And one that comes back between OFFER and REQUEST confirms what it offered.
    let mut head = Head::new();
    let ack = head.reply(&select(&Client::u_boot(9), host(150), SERVER), NODE);
    assert_eq!((ack.kind(), ack.message.yiaddr()), (MessageType::Ack, host(150)));
}

#[test]
fn a_fixed_address_wins_over_whoever_has_it() {
    let mut head = Head::new();
    let other = head.boot(&Client::u_boot(1), NODE);
    let fixed = Standing::Node { fixed: Some(other) };
    assert_eq!(head.boot(&Client::u_boot(2), fixed), other);
    let refused = head.reply(&renew(&Client::system(1), other), NODE);
    assert_eq!(refused.kind(), MessageType::Nak);
    assert_ne!(head.boot(&Client::u_boot(1), NODE), other);
}

#[test]
fn strangers_and_relays_and_other_servers_clients_meet_silence() {
    let mut head = Head::new();
    let client = Client::u_boot(1);
    for kind in [MessageType::Discover, MessageType::Request, MessageType::Inform, MessageType::Release] {
        let asked = head.ask(&client.message(kind, vec![]), Standing::Stranger);
        assert_eq!(asked, Answer::Ignore(Why::Stranger));
    }
    let mut relayed = client.message(MessageType::Discover, vec![]);
    relayed.set_giaddr(host(7));
    assert_eq!(head.ask(&relayed, NODE), Answer::Ignore(Why::Relayed));
    let elsewhere = select(&client, host(100), host(2));
    assert_eq!(head.ask(&elsewhere, NODE), Answer::Ignore(Why::OtherServer(host(2))));
    assert_eq!(head.leases.iter().count(), 0);
}

#[test]
fn renewing_is_answered_to_the_address_and_extends_the_lease() {
    let mut head = Head::new();
    let client = Client::system(1);
    let address = head.boot(&client, NODE);
    head.now_ms += LEASE_MS / 2;
    let ack = head.reply(&renew(&client, address), NODE);
    assert_eq!(ack.kind(), MessageType::Ack);
    assert_eq!(ack.to, SocketAddrV4::new(address, 68));
    assert_eq!(ack.message.ciaddr(), address);
    assert_eq!(ack.lease.map(|lease| lease.until_ms), Some(head.now_ms + LEASE_MS));
}

#[test]
fn an_address_that_is_not_the_node_s_is_refused_by_broadcast() {
    let mut head = Head::new();
    let client = Client::system(1);
    head.boot(&client, NODE);
    for message in [
        init_reboot(&client, Ipv4Addr::new(192, 168, 1, 5)),
        renew(&client, Ipv4Addr::new(192, 168, 1, 5)),
        select(&client, host(250), SERVER),
        init_reboot(&client, SERVER),
    ] {
        let nak = head.reply(&message, NODE);
        assert_eq!(nak.kind(), MessageType::Nak);
        assert_eq!(nak.to.ip(), &Ipv4Addr::BROADCAST);
        assert_eq!((nak.message.yiaddr(), nak.lease), (Ipv4Addr::UNSPECIFIED, None));
    }
}

#[test]
fn a_repeated_request_is_confirmed_again_and_an_offer_does_not_shorten_a_lease() {
    let mut head = Head::new();
    let client = Client::u_boot(1);
    let address = head.boot(&client, NODE);
    let again = head.reply(&select(&client, address, SERVER), NODE);
    assert_eq!(again.kind(), MessageType::Ack);
    let until_ms = again.lease.expect("a lease").until_ms;
    head.now_ms += 1;
    head.reply(&client.message(MessageType::Discover, vec![]), NODE);
    assert_eq!(head.leases.of(client.mac).map(|lease| lease.until_ms), Some(until_ms));
}

#[test]
fn an_offer_that_is_not_taken_frees_its_address_after_a_minute() {
    let mut head = Head::new();
    head.settings.pool = host(100)..=host(100);
    let discover = |last| Client::u_boot(last).message(MessageType::Discover, vec![]);
    assert_eq!(head.reply(&discover(1), NODE).message.yiaddr(), host(100));
    assert_eq!(head.ask(&discover(2), NODE), Answer::Ignore(Why::PoolExhausted));
    head.now_ms += OFFER_HELD_MS;
    assert_eq!(head.reply(&discover(2), NODE).message.yiaddr(), host(100));
}

#[test]
fn a_declined_address_is_replaced_and_nobody_declines_for_others() {
    let mut head = Head::new();
    let client = Client::system(1);
    let address = head.boot(&client, NODE);
    let decline = |client: &Client| {
        let options = vec![DhcpOption::RequestedIpAddress(address), DhcpOption::ServerIdentifier(SERVER)];
        client.message(MessageType::Decline, options)
    };
    assert_eq!(head.ask(&decline(&Client::system(2)), NODE), Answer::Ignore(Why::Senseless));
    assert_eq!(head.ask(&decline(&client), NODE), Answer::Ignore(Why::Declined(address)));
    assert_ne!(head.boot(&client, NODE), address);
}

#[test]
fn a_released_address_is_remembered_for_its_node() {
    let mut head = Head::new();
    let client = Client::system(1);
    let address = head.boot(&client, NODE);
    let mut release = client.message(MessageType::Release, vec![DhcpOption::ServerIdentifier(SERVER)]);
    release.set_ciaddr(address);
    assert_eq!(head.ask(&release, NODE), Answer::Ignore(Why::Released));
    assert_eq!(head.leases.holder(address, head.now_ms), None);
    assert_eq!(head.boot(&client, NODE), address);
}

#[test]
fn inform_is_answered_without_an_address_and_only_inside_the_network() {
    let mut head = Head::new();
    let client = Client::system(1);
    let mut inform = client.message(MessageType::Inform, vec![]);
    inform.set_ciaddr(host(50));
    let ack = head.reply(&inform, NODE);
    assert_eq!((ack.kind(), ack.to), (MessageType::Ack, SocketAddrV4::new(host(50), 68)));
    assert_eq!(ack.message.yiaddr(), Ipv4Addr::UNSPECIFIED);
    assert_eq!(ack.option(OptionCode::AddressLeaseTime), None);
    inform.set_ciaddr(Ipv4Addr::new(192, 0, 2, 1));
    assert_eq!(head.ask(&inform, NODE), Answer::Ignore(Why::Senseless));
}

#[test]
fn the_pool_never_gives_what_is_taken_by_role() {
    let mut head = Head::new();
    head.settings.pool = host(0)..=host(255);
    head.settings.router = Some(host(254));
    head.settings.dns = host(253);
    let mut given: Vec<u8> = Vec::new();
    for last in 0..=255 {
        let discover = Client::u_boot(last).message(MessageType::Discover, vec![]);
        match head.ask(&discover, NODE) {
            Answer::Reply { bytes, .. } => given.push(bytes[19]),
            Answer::Ignore(why) => assert_eq!(why, Why::PoolExhausted),
        }
    }
    given.sort_unstable();
    let expected: Vec<u8> = (2..=252).collect();
    assert_eq!(given, expected);
}

#[test]
fn a_reply_fits_every_client_whatever_it_repeats() {
    let mut head = Head::new();
    head.settings.domain = format!("{}.test", "x".repeat(240));
    let options = vec![DhcpOption::ClientIdentifier(vec![7; 250])];
    let offer = head.reply(&Client::system(1).message(MessageType::Discover, options), NODE);
    assert!(offer.length <= 548, "{}", offer.length);
    assert!(offer.option(OptionCode::DomainNameServer).is_some());
}

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
            let mut leases = Leases::restore(vec![Lease { mac: mac(1), address: host(120), until_ms }]);
            if let Answer::Reply { bytes, .. } = answer(&request, NODE, &settings(), &mut leases, now_ms) {
                prop_assert!(bytes.len() <= 548);
            }
        }
    }
}
