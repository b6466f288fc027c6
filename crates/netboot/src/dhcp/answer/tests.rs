//! Whole dialogues with a stepped clock. The client's packets are written and ours are read by dhcproto, a
//! codec that is not ours.

mod dialogues;
mod hostile;
mod networks;
mod running;

use dhcproto::v4::{self, DhcpOption, Message, MessageType, OptionCode};
use dhcproto::{Decodable, Encodable};

use super::*;
use crate::dhcp::settings::BootFiles;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
const NODE: Standing = Standing::Node { fixed: None, name: "node1" };
const RELAY: Ipv4Addr = Ipv4Addr::new(10, 80, 0, 1);
const LEASE_SECS: u32 = 3_600;
const LEASE_MS: u64 = 3_600_000;

fn settings() -> Settings {
    let own = Subnet { address: SERVER, prefix: 24, router: Some(SERVER), pool: host(100)..=host(199) };
    let pool = Ipv4Addr::new(10, 80, 0, 10)..=Ipv4Addr::new(10, 80, 0, 99);
    let far = Subnet { address: RELAY, prefix: 16, router: Some(RELAY), pool };
    let base_url = "http://10.78.0.1:8080/files/".to_owned();
    Settings {
        server: SERVER,
        mode: Mode::Authoritative,
        subnets: vec![own, far],
        dns: SERVER,
        domain: "cluster.test".to_owned(),
        search: Vec::new(),
        ntp: Vec::new(),
        routes: Vec::new(),
        lease_secs: LEASE_SECS,
        files: BootFiles { uefi_arm64: Some("grub.efi".to_owned()), base_url, ..BootFiles::default() },
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
    server: Server,
    now_ms: u64,
}

impl Head {
    fn new() -> Self {
        Self { server: Server::new(settings(), Leases::default()), now_ms: 1_000_000 }
    }

    fn ask(&mut self, message: &Message, standing: Standing) -> Answer {
        self.server.answer(&parse(message), standing, self.now_ms)
    }

    /// Why nothing is said.
    fn silent(&mut self, message: &Message, standing: Standing) -> Why {
        self.ask(message, standing).reply.expect_err("silence")
    }

    fn reply(&mut self, message: &Message, standing: Standing) -> Heard {
        let Answer { change, reply } = self.ask(message, standing);
        let packet = reply.unwrap_or_else(|why| panic!("no reply: {why}"));
        let message = v4::Message::from_bytes(&packet.bytes).expect("a foreign codec reads our reply");
        let lease = match change {
            Some(Change::Lease(granted)) => Some(granted.lease),
            _ => None,
        };
        Heard { message, packet, lease }
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
    packet: Packet,
    lease: Option<Lease>,
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
    assert_eq!(offer.packet.to, "255.255.255.255:68".parse().expect("an address"));
    assert_eq!((offer.lease, offer.packet.delay_ms), (None, 0));
    assert!(offer.packet.bytes.len() >= 300);
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
    assert_eq!(offer.packet.delay_ms, 1_000);
    let lease = offer.lease.expect("a lease");
    assert_eq!((lease.mac, lease.until_ms), (client.mac, head.now_ms + TAKEN_OFFER_MS));
    // U-Boot, which the ROM loads next, goes on with the same address.
    assert_eq!(head.boot(&Client::u_boot(3), NODE), offer.message.yiaddr());
    // What it has by then is not shortened.
    let again = head.reply(&client.message(MessageType::Discover, vec![]), NODE).lease.expect("a lease");
    assert_eq!(again.until_ms, head.now_ms + LEASE_MS);
}

#[test]
fn a_node_that_reboots_gets_the_same_address_whatever_it_runs_and_however_long_it_was_off() {
    let mut head = Head::new();
    let address = head.boot(&Client::u_boot(1), NODE);
    assert_eq!(head.boot(&Client::system(1), NODE), address);
    head.now_ms += 400 * 24 * 3_600_000;
    assert_eq!(head.boot(&Client::u_boot(1), NODE), address);
    assert_ne!(head.boot(&Client::u_boot(2), NODE), address);
    let kept: Vec<Lease> = head.server.leases.iter().copied().collect();
    head.server.leases = Leases::restore(kept);
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
    let fixed = Standing::Node { fixed: Some(other), name: "" };
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
        assert_eq!(head.silent(&client.message(kind, vec![]), Standing::Stranger), Why::Stranger);
    }
    let mut relayed = client.message(MessageType::Discover, vec![]);
    let unknown = Ipv4Addr::new(10, 99, 0, 1);
    relayed.set_giaddr(unknown);
    assert_eq!(head.silent(&relayed, NODE), Why::UnknownRelay(unknown));
    let elsewhere = select(&client, host(100), host(2));
    assert_eq!(head.silent(&elsewhere, NODE), Why::OtherServer(host(2)));
    assert_eq!(head.server.leases.iter().count(), 0);
}

#[test]
fn renewing_is_answered_to_the_address_and_extends_the_lease() {
    let mut head = Head::new();
    let client = Client::system(1);
    let address = head.boot(&client, NODE);
    head.now_ms += LEASE_MS / 2;
    let ack = head.reply(&renew(&client, address), NODE);
    assert_eq!(ack.kind(), MessageType::Ack);
    assert_eq!(ack.packet.to, SocketAddrV4::new(address, 68));
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
        assert_eq!(nak.packet.to.ip(), &Ipv4Addr::BROADCAST);
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
    assert_eq!(head.server.leases.of(client.mac).map(|lease| lease.until_ms), Some(until_ms));
}

#[test]
fn an_offer_that_is_not_taken_frees_its_address_after_a_minute() {
    let mut head = Head::new();
    head.server.settings.subnets[0].pool = host(100)..=host(100);
    let discover = |last| Client::u_boot(last).message(MessageType::Discover, vec![]);
    assert_eq!(head.reply(&discover(1), NODE).message.yiaddr(), host(100));
    assert_eq!(head.silent(&discover(2), NODE), Why::PoolExhausted);
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
    assert_eq!(head.silent(&decline(&Client::system(2)), NODE), Why::Senseless);
    assert_eq!(head.silent(&decline(&client), NODE), Why::Declined(address));
    assert_ne!(head.boot(&client, NODE), address);
}

#[test]
fn a_released_address_is_remembered_for_its_node() {
    let mut head = Head::new();
    let client = Client::system(1);
    let address = head.boot(&client, NODE);
    let mut release = client.message(MessageType::Release, vec![DhcpOption::ServerIdentifier(SERVER)]);
    release.set_ciaddr(address);
    assert_eq!(head.silent(&release, NODE), Why::Released);
    assert_eq!(head.server.leases.holder(address, head.now_ms), None);
    assert_eq!(head.boot(&client, NODE), address);
}

#[test]
fn inform_is_answered_without_an_address_and_only_inside_the_network() {
    let mut head = Head::new();
    let client = Client::system(1);
    let mut inform = client.message(MessageType::Inform, vec![]);
    inform.set_ciaddr(host(50));
    let ack = head.reply(&inform, NODE);
    assert_eq!((ack.kind(), ack.packet.to), (MessageType::Ack, SocketAddrV4::new(host(50), 68)));
    assert_eq!(ack.message.yiaddr(), Ipv4Addr::UNSPECIFIED);
    assert_eq!(ack.option(OptionCode::AddressLeaseTime), None);
    inform.set_ciaddr(Ipv4Addr::new(192, 0, 2, 1));
    assert_eq!(head.silent(&inform, NODE), Why::Senseless);
}

#[test]
fn the_pool_never_gives_what_is_taken_by_role() {
    let mut head = Head::new();
    head.server.settings.subnets[0].pool = host(0)..=host(255);
    head.server.settings.subnets[0].router = Some(host(254));
    head.server.settings.dns = host(253);
    let mut given: Vec<u8> = Vec::new();
    for last in 0..=255 {
        let discover = Client::u_boot(last).message(MessageType::Discover, vec![]);
        match head.ask(&discover, NODE).reply {
            Ok(packet) => given.push(packet.bytes[19]),
            Err(why) => assert_eq!(why, Why::PoolExhausted),
        }
    }
    given.sort_unstable();
    let expected: Vec<u8> = (2..=252).collect();
    assert_eq!(given, expected);
}

#[test]
fn a_reply_fits_every_client_whatever_it_repeats() {
    let mut head = Head::new();
    head.server.settings.domain = format!("{}.test", "x".repeat(240));
    let options = vec![DhcpOption::ClientIdentifier(vec![7; 150])];
    let offer = head.reply(&Client::system(1).message(MessageType::Discover, options), NODE);
    assert!(offer.packet.bytes.len() <= 548, "{}", offer.packet.bytes.len());
    assert!(offer.option(OptionCode::DomainNameServer).is_some());
}
