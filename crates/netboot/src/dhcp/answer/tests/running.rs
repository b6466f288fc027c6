//! What is sent in the name of a node that runs: its address stays its own.

use super::*;

/// What a Pi 3's ROM says of itself.
const ROM: &[u8] = b"PXEClient:Arch:00000:UNDI:002001";

/// A node with its lease, of which the head has just heard.
fn running(client: &Client) -> (Head, Ipv4Addr) {
    let mut head = Head::new();
    let address = head.boot(client, NODE);
    head.server.leases.hear(client.mac, head.now_ms);
    (head, address)
}

fn lease_of(head: &Head, client: &Client) -> Option<Ipv4Addr> {
    head.server.leases.of(client.mac).map(|lease| lease.address)
}

fn decline(client: &Client, address: Ipv4Addr) -> Message {
    let options = vec![DhcpOption::RequestedIpAddress(address), DhcpOption::ServerIdentifier(SERVER)];
    client.message(MessageType::Decline, options)
}

#[test]
fn no_discover_moves_a_lease() {
    let client = Client::u_boot(1);
    let (mut head, address) = running(&client);
    // By way of a relay, whoever plays one: the node would be another network's.
    let mut relayed = client.message(MessageType::Discover, vec![]);
    relayed.set_giaddr(RELAY);
    assert_eq!(head.reply(&relayed, NODE).message.yiaddr().octets()[1], 80);
    // After its address was changed, or the pool was.
    let fixed = Standing::Node { fixed: Some(host(20)), name: "" };
    let discover = client.message(MessageType::Discover, vec![]);
    assert_eq!(head.reply(&discover, fixed).message.yiaddr(), host(20));
    assert_eq!(lease_of(&head, &client), Some(address));
    assert_eq!(head.server.leases.holder(address, head.now_ms).map(|lease| lease.mac), Some(client.mac));
    // Who takes what was offered has it.
    assert_eq!(head.boot(&client, fixed), host(20));
    assert_eq!(lease_of(&head, &client), Some(host(20)));
}

#[test]
fn a_rom_that_takes_an_offer_for_an_ack_moves_no_lease_of_a_node_that_runs() {
    let client = Client { mac: mac(3), class: Some(ROM) };
    let (mut head, address) = running(&Client::system(3));
    let mut discover = client.message(MessageType::Discover, vec![]);
    assert_eq!(head.reply(&discover, NODE).message.yiaddr(), address, "where it is it may boot");
    discover.set_giaddr(RELAY);
    assert_eq!(head.silent(&discover, NODE), Why::Runs(address));
    assert_eq!(lease_of(&head, &client), Some(address));
    // It asks five times within 25 s.
    head.now_ms += 20_000;
    assert_eq!(head.reply(&discover, NODE).message.yiaddr().octets()[1], 80, "it was moved, and boots there");
}

#[test]
fn a_node_that_runs_declines_and_releases_nothing() {
    let client = Client::system(1);
    let (mut head, address) = running(&client);
    let mut release = client.message(MessageType::Release, vec![DhcpOption::ServerIdentifier(SERVER)]);
    release.set_ciaddr(address);
    for message in [decline(&client, address), release] {
        let answer = head.ask(&message, NODE);
        assert_eq!(answer, Answer { change: None, reply: Err(Why::Runs(address)) });
    }
    assert_eq!(head.server.leases.holder(address, head.now_ms).map(|lease| lease.mac), Some(client.mac));
    assert_eq!(head.boot(&client, NODE), address, "nor is the address avoided");
    // A machine of which nothing was heard since it got its address may find somebody else there.
    head.now_ms += 60_000;
    assert_eq!(head.silent(&decline(&client, address), NODE), Why::Declined(address));
}

#[test]
fn an_offered_address_can_be_declined_before_it_is_taken() {
    let mut head = Head::new();
    let client = Client::system(1);
    let offered = head.reply(&client.message(MessageType::Discover, vec![]), NODE).message.yiaddr();
    assert_eq!(head.silent(&decline(&client, offered), NODE), Why::Declined(offered));
    assert_ne!(head.boot(&client, NODE), offered);
}

#[test]
fn a_fixed_address_is_not_given_while_another_node_runs_there() {
    let first = Client::system(1);
    let (mut head, address) = running(&first);
    let second = Client::u_boot(2);
    let fixed = Standing::Node { fixed: Some(address), name: "" };
    let meanwhile = head.boot(&second, fixed);
    assert_ne!(meanwhile, address);
    assert_eq!(lease_of(&head, &first), Some(address), "it is heard, and can be told to reboot");
    // It does, and has its own new address; the other's is free when that boots next.
    let moved = Standing::Node { fixed: Some(host(20)), name: "" };
    assert_eq!(head.boot(&first, moved), host(20));
    assert_eq!(head.boot(&second, fixed), address);
}

#[test]
fn a_node_that_was_not_heard_but_answers_at_its_address_runs() {
    let mut head = Head::new();
    let (first, second) = (Client::system(1), Client::system(2));
    let address = head.boot(&first, NODE);
    let fixed = Standing::Node { fixed: Some(address), name: "" };
    let offer = head.reply(&second.message(MessageType::Discover, vec![]), fixed);
    assert_eq!((offer.message.yiaddr(), offer.packet.probe), (address, Some(address)));
    assert_eq!(head.server.in_use(address, first.mac, head.now_ms), None);
    assert_eq!(lease_of(&head, &first), Some(address));
    assert_ne!(head.boot(&second, fixed), address);
}

#[test]
fn what_a_rom_was_given_before_anybody_was_asked_goes_back_to_who_is_there() {
    let mut head = Head::new();
    let (first, rom) = (Client::system(1), Client { mac: mac(2), class: Some(ROM) });
    let address = head.boot(&first, NODE);
    let lease = *head.server.leases.of(first.mac).expect("a lease");
    let fixed = Standing::Node { fixed: Some(address), name: "" };
    let discover = rom.message(MessageType::Discover, vec![]);
    assert_eq!(head.reply(&discover, fixed).packet.probe, Some(address));
    assert_eq!(lease_of(&head, &first), None, "it has not been heard, and the ROM asks but once");
    let back = head.server.in_use(address, first.mac, head.now_ms + 200);
    assert_eq!(back, Some(Change::Lease(Granted { lease, displaced: Some(rom.mac) })));
    assert_ne!(head.reply(&discover, fixed).message.yiaddr(), address);
    // Who was not there before gets nothing by answering.
    let taken = head.boot(&Client::system(4), Standing::Node { fixed: Some(host(30)), name: "" });
    assert_eq!(head.server.in_use(taken, first.mac, head.now_ms), Some(Change::NoLease(mac(4))));
}
