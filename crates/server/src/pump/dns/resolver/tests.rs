//! Resolvers that answer, forge, cut short and say nothing, on the loopback interface.

use tokio::net::TcpListener;

use super::*;

/// `example.` A, as the forwarder would ask.
const ASKED: [u8; 25] =
    [0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 7, b'e', b'x', b'a', b'm', b'p', b'l', b'e', 0, 0, 1, 0, 1];

fn known() -> Resolvers {
    Resolvers::beside(Ipv4Addr::new(10, 78, 0, 1))
}

#[test]
fn resolvers_are_read_and_the_head_is_not_its_own() {
    let text = "# x\nsearch a\nnameserver 10.78.0.1\nnameserver 192.0.2.1 # y\n nameserver ::1\nnameserver no\n\
                nameserver 192.0.2.2\nnameserver 192.0.2.3\n";
    let found = resolvers_in(text, Ipv4Addr::new(10, 78, 0, 1));
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found, ["192.0.2.1:53", "[::1]:53", "192.0.2.2:53"]);
}

#[tokio::test]
async fn forged_replies_are_passed_over() {
    let resolver = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let address = resolver.local_addr().expect("bound");
    let answering = async {
        let mut buffer = [0; 100];
        let (length, client) = resolver.recv_from(&mut buffer).await.expect("a query");
        buffer[2] |= 0x80;
        let true_one = buffer[..length].to_vec();
        let (mut number, mut name, mut refusal) = (true_one.clone(), true_one.clone(), true_one.clone());
        number[0] ^= 1;
        name[13] = b'f';
        refusal[3] = 5;
        for packet in [&number, &name, &true_one[..11], &refusal] {
            resolver.send_to(packet, client).await.expect("sent");
        }
        refusal[..2].to_vec()
    };
    let mut packet = ASKED;
    let (reply, number) = tokio::join!(ask_one(&mut packet, address), answering);
    assert!(reply.expect("a reply").is_failure(), "the only true one is a refusal");
    assert_eq!(packet[..2], number);
}

#[tokio::test]
async fn a_reply_that_is_cut_short_is_fetched_whole() {
    let resolver = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let address = resolver.local_addr().expect("bound");
    let listener = TcpListener::bind(address).await.expect("the same port");
    let answering = async {
        let mut buffer = [0; 100];
        let (length, client) = resolver.recv_from(&mut buffer).await.expect("a query");
        buffer[2] |= 0x82;
        resolver.send_to(&buffer[..length], client).await.expect("sent");
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut query = read_message(&mut stream).await.expect("a query");
        query[2] |= 0x80;
        write_message(&mut stream, &query).await.expect("sent");
    };
    let mut packet = ASKED;
    let (reply, ()) = tokio::join!(ask_one(&mut packet, address), answering);
    assert!(!reply.expect("a reply").is_failure());
}

#[tokio::test]
async fn a_resolver_that_refuses_is_asked_once_and_the_next_one_answers() {
    let refusing = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let knowing = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let resolvers = [&refusing, &knowing].map(|socket| socket.local_addr().expect("bound"));
    let answer = async |socket: &UdpSocket, code: u8| {
        let mut buffer = [0; 100];
        let (length, client) = socket.recv_from(&mut buffer).await.expect("a query");
        buffer[2] |= 0x80;
        buffer[3] = code;
        socket.send_to(&buffer[..length], client).await.expect("sent");
    };
    let mut packet = ASKED;
    let known = known();
    let asking = known.ask_all(&mut packet, resolvers.to_vec());
    let (reply, (), ()) = tokio::join!(asking, answer(&refusing, 5), answer(&knowing, 3));
    assert!(!reply.is_failure());
    assert!(known.ask_all(&mut packet, Vec::new()).await.is_failure(), "nobody to ask");
}

#[tokio::test]
async fn a_lost_packet_is_sent_again_from_another_port_under_another_number() {
    let resolver = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let resolvers = [resolver.local_addr().expect("bound")];
    let answering = async {
        let mut buffer = [0; 100];
        let (_, first) = resolver.recv_from(&mut buffer).await.expect("a query");
        let number = [buffer[0], buffer[1]];
        let (length, second) = resolver.recv_from(&mut buffer).await.expect("the query again");
        assert_ne!((first, number), (second, [buffer[0], buffer[1]]));
        buffer[2] |= 0x80;
        resolver.send_to(&buffer[..length], second).await.expect("sent");
    };
    let mut packet = ASKED;
    let known = known();
    let (reply, ()) = tokio::join!(known.ask_all(&mut packet, resolvers.to_vec()), answering);
    assert!(!reply.is_failure());
}

/// Answers one question: that there is no such name.
async fn knows(socket: &UdpSocket) {
    let mut buffer = [0; 100];
    let (length, client) = socket.recv_from(&mut buffer).await.expect("a query");
    (buffer[2], buffer[3]) = (buffer[2] | 0x80, 3);
    socket.send_to(&buffer[..length], client).await.expect("sent");
}

/// Every question once waited for the dead one's time to be over.
#[tokio::test]
async fn a_resolver_that_answered_is_asked_before_one_that_is_dead() {
    let dead = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let alive = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let both = [&dead, &alive].map(|socket| socket.local_addr().expect("bound")).to_vec();
    let (known, mut packet) = (known(), ASKED);
    let (reply, ()) = tokio::join!(known.ask_all(&mut packet, both.clone()), knows(&alive));
    assert!(!reply.is_failure());
    let mut buffer = [0; 100];
    assert!(dead.try_recv(&mut buffer).is_ok(), "it was asked first");
    let (reply, ()) = tokio::join!(known.ask_all(&mut packet, both), knows(&alive));
    assert!(!reply.is_failure());
    assert!(dead.try_recv(&mut buffer).is_err(), "and is not waited for again");
}

#[tokio::test]
async fn a_resolver_that_does_not_know_edns_is_asked_without() {
    let resolver = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let address = resolver.local_addr().expect("bound");
    let answering = async {
        let mut buffer = [0; 100];
        let (length, client) = resolver.recv_from(&mut buffer).await.expect("a query");
        assert_eq!((length, buffer[11]), (ASKED.len() + 11, 1));
        buffer[2..12].copy_from_slice(&[0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        resolver.send_to(&buffer[..12], client).await.expect("sent");
        let (length, client) = resolver.recv_from(&mut buffer).await.expect("the query again");
        assert_eq!((length, buffer[11]), (ASKED.len(), 0));
        (buffer[2], buffer[3]) = (0x80, 3);
        resolver.send_to(&buffer[..length], client).await.expect("sent");
    };
    let mut packet = [&ASKED[..], &[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]].concat();
    packet[11] = 1;
    let (reply, ()) = tokio::join!(ask_one(&mut packet, address), answering);
    assert!(!reply.expect("a reply").is_failure());
}
