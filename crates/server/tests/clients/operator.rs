//! The operators' door on a real wire: TLS, its certificate, and clients that are slow, large or many.

use crate::room::{Furniture, Room, is_outside, wait};
use cluster::view::{NewLogin, NewToken, NodeView, Scope, TokenWish};
use server::client::{Client, ClientError, Remote};

const DOOR: &str = "[operator]\nlisten = \"10.78.0.1:8443\"\n";

fn furnished() -> Room {
    Room::furnish(&Furniture { nodes: &[("node1", 11)], boot: DOOR, ..Furniture::default() })
}

/// The head's own socket, and what it tells of its door.
fn own(room: &Room) -> (Client, String) {
    let socket = room.folder().join("state/head.sock");
    wait("the head's socket", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    let client = Client::new(&socket);
    let login: NewLogin = client.ask("/v1/logins", &()).expect("a login");
    (client, login.fingerprint.expect("a fingerprint"))
}

#[test]
fn a_token_opens_the_door_to_who_knows_its_certificate() {
    if is_outside("operator::a_token_opens_the_door_to_who_knows_its_certificate") {
        return;
    }
    let room = furnished();
    let (own, fingerprint) = own(&room);
    let wish = TokenWish { name: "ci".parse().expect("a name"), scope: Scope::Read, days: None };
    let made: NewToken = own.ask("/v1/tokens", &wish).expect("a token");
    let url = format!("https://10.78.0.1:8443#sha256={fingerprint}");
    let remote = |url: &str, token: &str| Client::remote(Remote::parse(url, token).expect("an address"));
    let nodes: Vec<NodeView> = remote(&url, &made.secret).get("/v1/nodes").expect("nodes");
    assert_eq!(nodes.len(), 1);
    let refused = remote(&url, "guessed").get_text("/v1/nodes").expect_err("no token");
    assert!(matches!(refused, ClientError::Refused { status: 401, .. }), "{refused}");
    let other = format!("https://10.78.0.1:8443#sha256={}", "0".repeat(64));
    for url in [other.as_str(), "https://10.78.0.1:8443"] {
        let refused = remote(url, &made.secret).get_text("/v1/nodes").expect_err("another certificate");
        assert!(matches!(refused, ClientError::NoAnswer { .. }), "{refused}");
    }
    own.delete(&format!("/v1/tokens/{}", made.token.id)).expect("revoked");
    let refused = remote(&url, &made.secret).get_text("/v1/nodes").expect_err("revoked");
    assert!(matches!(refused, ClientError::Refused { status: 401, .. }), "{refused}");
    let key = std::fs::metadata(room.folder().join("state/operator-key.pem")).expect("a key");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);
}

/// From another machine on the wire, with curl: a foreign TLS stack.
#[test]
fn a_browser_logs_in_once_and_strangers_see_nothing() {
    if is_outside("operator::a_browser_logs_in_once_and_strangers_see_nothing") {
        return;
    }
    let room = furnished();
    room.at_client("ip", "address add 10.78.0.99/24 dev node0");
    let (own, _) = own(&room);
    let login: NewLogin = own.ask("/v1/logins", &()).expect("a login");
    let url = login.url.expect("an address");
    let once = url.strip_prefix("https://10.78.0.1:8443/#login=").expect("the page's address");
    std::fs::write(room.folder().join("wish"), format!("{{\"once\":\"{once}\"}}")).expect("written");
    let curl = |rest: &str| room.at_client("curl", &format!("-sk --max-time 20 {rest}"));
    let base = "https://10.78.0.1:8443";
    assert_eq!(curl(&format!("{base}/healthz")), "ok\n");
    let stranger = curl(&format!("-w %{{http_code}} {base}/v1/nodes"));
    assert!(stranger.ends_with("401") && !stranger.contains("node1"), "{stranger}");
    let me = curl(&format!("-c jar -d @wish {base}/v1/login"));
    assert_eq!(me, "{\"name\":\"admin\",\"scope\":\"admin\"}");
    assert!(curl(&format!("-b jar {base}/v1/nodes")).contains("node1"));
    let again = curl(&format!("-w %{{http_code}} -d @wish {base}/v1/login"));
    assert!(again.ends_with("401"), "{again}");
    let forged = curl(&format!("-w %{{http_code}} -b jar -X POST {base}/v1/nodes/node1/reboot"));
    assert!(forged.ends_with("403"), "{forged}");
    let meant =
        curl(&format!("-w %{{http_code}} -b jar -H x-fledermaus:page -X POST {base}/v1/nodes/node1/reboot"));
    assert!(meant.ends_with("202"), "{meant}");
    // Plain HTTP at the TLS door, and the operators' paths at the nodes' door.
    let plain = room.at_client("curl", "-s --max-time 20 http://10.78.0.1:8443/v1/nodes");
    assert!(!plain.contains("node1"), "{plain}");
    for path in ["v1/nodes", "v1/audit", "api/openapi.json", "readyz", "metrics"] {
        let at_nodes = room.at_client("curl", &format!("-s -w %{{http_code}} http://10.78.0.1:8080/{path}"));
        assert_eq!(at_nodes, "404", "{path}");
    }
}
