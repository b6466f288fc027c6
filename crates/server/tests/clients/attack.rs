//! A stranger on the same wire as the nodes: what it tries, and that nothing leaks and the head stays up. Each try has a
//! line that says what it is; docs/security.md says what a stranger can do all the same.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use super::dhcp::{equip, udhcpc};
use crate::room::{Furniture, Room, is_outside, wait};

/// In the user data of every node; nobody else may see it.
const SECRET: &str = "swordfish-of-node1";
pub(crate) const NODE: &str = "10.78.0.11";
pub(crate) const STRANGER: &str = "10.78.0.66";
const WEB: &str = "http://10.78.0.1:8080";
/// How long a client may wait while the head is under attack.
const PATIENCE: Duration = Duration::from_secs(20);

/// A head, and a node that holds its lease and has fetched its plan.
pub(crate) fn furnish() -> (Room, String) {
    let room = Room::furnish(&Furniture {
        nodes: &[("node1", 11), ("node2", 12)],
        boot: "[operator]\nlisten = \"10.78.0.1:8443\"\n",
        files: &[("public.txt", b"public")],
        ..Furniture::default()
    });
    std::fs::write(room.folder().join("user-data/default.sh"), format!("#!/bin/sh\necho {SECRET}\n"))
        .expect("written");
    equip(&room);
    let plan = boot(&room, &[]);
    let token = plan.split("fledermaus.token=").nth(1).and_then(|rest| rest.split(' ').next());
    let token = token.unwrap_or_else(|| panic!("no token: {plan}")).trim().to_owned();
    (room, token)
}

/// DHCP with further arguments of udhcpc, then the boot configuration; its text.
pub(crate) fn boot(room: &Room, arguments: &[&str]) -> String {
    room.at_client("ip", "link set node0 address b8:27:eb:00:00:0b up");
    let status = udhcpc(room).args(["-n", "-q"]).args(arguments).stdout(Stdio::null()).status();
    assert!(status.expect("busybox").success());
    // U-Boot says what it is; udhcpc cannot, and the plan is for any client that holds the lease.
    curl(room, &["tftp://10.78.0.1/pxelinux.cfg/01-b8-27-eb-00-00-0b"])
}

pub(crate) fn curl(room: &Room, arguments: &[&str]) -> String {
    let mut command = room.client("curl");
    command.args(["-s", "-k", "--path-as-is", "--max-time", "20"]).args(arguments);
    let output = command.output().expect("curl");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn move_to(room: &Room, address: &str) {
    room.at_client("ip", "address flush dev node0");
    room.at_client("ip", &format!("address add {address}/24 dev node0"));
}

/// What the answer must not hold, whatever it is.
fn leaks(answer: &str, token: &str) -> bool {
    [SECRET, token, "root:x:0", "SQLite format", "PRIVATE KEY", "fledermaus.token"]
        .iter()
        .any(|word| answer.contains(word))
}

#[test]
fn a_stranger_learns_nothing_of_a_node_s_boot() {
    if is_outside("attack::a_stranger_learns_nothing_of_a_node_s_boot") {
        return;
    }
    let (room, token) = furnish();
    let own = format!("{WEB}/boot/{token}/user-data");
    move_to(&room, STRANGER);
    let guessed = format!("{WEB}/boot/{}/user-data", "0".repeat(32));
    let thousand = format!("{WEB}/boot/{}[000-999]/user-data", "0".repeat(29));
    let half = format!("{WEB}/boot/{}/user-data", &token[..16]);
    let report = format!("{WEB}/boot/{token}/report");
    let at_node = |path: &str| format!("{WEB}/{path}");
    let mac = "X-RHN-Provisioning-Mac-0: eth0 b8:27:eb:00:00:0b";
    let tries: Vec<(&str, Vec<String>)> = [
        ("guesses a token", vec![guessed.as_str()]),
        ("guesses a thousand", vec![thousand.as_str()]),
        ("guesses its beginning", vec![half.as_str()]),
        ("replays the node's token from another address", vec![own.as_str()]),
        ("says by headers that it is the node", vec!["-H", "X-Forwarded-For: 10.78.0.11", own.as_str()]),
        (
            "says so by another header",
            vec!["-H", "Forwarded: for=10.78.0.11", "-H", "X-Real-IP: 10.78.0.11", &own],
        ),
        ("sends the header that Foreman's user data trusts", vec!["-H", mac, own.as_str()]),
        ("names another host", vec!["-H", "Host: 10.78.0.11", own.as_str()]),
        (
            "reports in the node's name",
            vec!["-d", "{\"uptime_ms\":1}", "-H", "content-type: application/json", &report],
        ),
        ("upgrades the connection", vec!["--http2-prior-knowledge", own.as_str()]),
    ]
    .into_iter()
    .map(|(what, arguments)| (what, arguments.into_iter().map(str::to_owned).collect()))
    .chain(path_tries(&token))
    .chain(tftp_tries())
    .collect();
    for (what, arguments) in tries {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let answer = curl(&room, &arguments);
        assert!(!leaks(&answer, &token), "a stranger who {what}: {answer}");
    }
    // A machine of no node's asks for the node's address.
    room.at_client("ip", "link set node0 address 52:54:00:00:00:66");
    let asked = udhcpc(&room).args(["-n", "-q", "-t", "2", "-r", NODE]).stdout(Stdio::null()).status();
    assert!(!asked.expect("busybox").success(), "it is told nothing");
    // Another node's machine: it has a lease and a token of its own.
    room.at_client("ip", "link set node0 address b8:27:eb:00:00:0c");
    move_to(&room, "10.78.0.12");
    assert!(!leaks(&curl(&room, &[&own]), &token), "another node replays the token");
    // All that burnt nothing, and the operator's own file is what it was.
    room.at_client("ip", "link set node0 address b8:27:eb:00:00:0b");
    move_to(&room, NODE);
    assert!(curl(&room, &[&own]).contains(SECRET), "the node itself gets it");
    assert_eq!(curl(&room, &[&at_node("files/public.txt")]), "public");
}

/// Paths and queries that HTTP must not answer.
fn path_tries(token: &str) -> Vec<(&'static str, Vec<String>)> {
    let guessed = format!("{WEB}/boot/{}/user-data", "0".repeat(32));
    let at_node = |path: &str| format!("{WEB}/{path}");
    vec![
        ("asks by query", vec![at_node("user-data?mac=b8:27:eb:00:00:0b&ip=10.78.0.11&token=") + token]),
        ("adds a query to a guess", vec![format!("{guessed}?token={token}")]),
        ("asks as matchbox is asked", vec![at_node("ignition?mac=b8-27-eb-00-00-0b")]),
        ("asks as Tinkerbell is asked", vec![at_node("2009-04-04/user-data")]),
        ("asks as MAAS is asked", vec![at_node("MAAS/metadata/latest/user-data")]),
        ("leaves the folder of files", vec![at_node("files/../state/state.sqlite")]),
        ("leaves it with escapes", vec![at_node("files/%2e%2e/state/state.sqlite")]),
        ("leaves it with escaped slashes", vec![at_node("files/..%2f..%2f..%2fetc%2fpasswd")]),
        ("leaves it with two escapes", vec![at_node("files/%252e%252e/state/state.sqlite")]),
        ("names a file from the root", vec![at_node("files//etc/passwd")]),
        ("ends a name early", vec![at_node("files/public.txt%00/../../state/state.sqlite")]),
        ("writes backslashes", vec![at_node("files/..\\..\\state\\state.sqlite")]),
        ("lists the folder", vec![at_node("files/")]),
        ("asks for the head's key", vec![at_node("files/../state/operator-key.pem")]),
        ("asks the operators' API at the nodes' door", vec![at_node("v1/user-data/node1")]),
        ("asks it at its own door", vec!["https://10.78.0.1:8443/v1/user-data/node1".to_owned()]),
        (
            "shows a boot's token there",
            vec![
                "-H".to_owned(),
                format!("Authorization: Bearer {token}"),
                "https://10.78.0.1:8443/v1/nodes/node1/user-data".to_owned(),
            ],
        ),
    ]
}

/// Files that TFTP must not give.
fn tftp_tries() -> Vec<(&'static str, Vec<String>)> {
    [
        ("asks for the node's plan by TFTP", "pxelinux.cfg/01-b8-27-eb-00-00-0b"),
        ("asks for it in capitals", "PXELINUX.CFG/01-B8-27-EB-00-00-0B"),
        ("asks for it by a way round", "pxelinux.cfg/../pxelinux.cfg/01-b8-27-eb-00-00-0b"),
        ("asks for it by its address in hex", "pxelinux.cfg/0A4E000B"),
        ("asks for its firmware's files", "b8-27-eb-00-00-0b/cmdline.txt"),
        ("leaves the folder by TFTP", "../state/state.sqlite"),
        ("leaves it from a folder of ours", "image/../../state/state.sqlite"),
        ("names a file from the root by TFTP", "/etc/passwd"),
        ("names it with many slashes", "//////etc/passwd"),
        ("leaves it by backslashes", "..\\..\\..\\etc\\passwd"),
        ("asks for the socket", "../state/head.sock"),
        ("asks for a device", "/dev/zero"),
        ("asks for a name without end", &"a/".repeat(200)),
    ]
    .into_iter()
    .map(|(what, path)| (what, vec![format!("tftp://10.78.0.1/{path}")]))
    .collect()
}

#[test]
fn what_a_client_says_of_itself_is_no_command() {
    if is_outside("attack::what_a_client_says_of_itself_is_no_command") {
        return;
    }
    let (room, _) = furnish();
    let plain = masked(&boot(&room, &[]));
    let endless = format!("0x0c:{}", "41".repeat(255));
    assert!(plain.contains(" ip=10.78.0.11::") && plain.contains(":node1:"), "{plain}");
    for (what, arguments) in [
        ("a host name with a kernel parameter", vec!["-x", "hostname:x init=/bin/sh"]),
        ("a host name that a shell would run", vec!["-x", "hostname:$(reboot);`reboot`"]),
        (
            "a host name that a template would read",
            vec!["-x", "hostname:{{ 7*7 }}{% include '/etc/passwd' %}"],
        ),
        ("a host name with a line's end", vec!["-x", "0x0c:780a20696e69743d2f62696e2f7368"]),
        ("a vendor class with a parameter", vec!["-V", "x init=/bin/sh ${evil}"]),
        ("a client's identifier that is a path", vec!["-x", "0x3d:2e2e2f2e2e2f6574632f706173737764"]),
        ("a boot file's name", vec!["-x", "0x43:2f6574632f706173737764"]),
        ("a name for the DNS", vec!["-x", "0x51:0000006576696c20696e69743d2f62696e2f7368"]),
        ("one that is cut", vec!["-x", "0x51:00"]),
        ("a class of users that is a parameter", vec!["-x", "0x4d:20696e69743d2f62696e2f7368"]),
        (
            "a number of the machine that is a path",
            vec!["-x", "0x61:002e2e2f2e2e2f2e2e2f6574632f706173737764"],
        ),
        ("a message with a line's end", vec!["-x", "0x38:0a696e69743d2f62696e2f7368"]),
        (
            "the options that a loader reads",
            vec!["-x", "0xd1:2f6574632f706173737764", "-x", "0xd2:2f6574632f"],
        ),
        ("a host name without end", vec!["-x", &endless]),
        ("another node's address", vec!["-r", "10.78.0.12"]),
    ] {
        assert_eq!(masked(&boot(&room, &arguments)), plain, "{what}");
    }
}

/// What a node that was broken into says of itself: in JSON, with a token that is good.
#[test]
fn what_a_node_reports_is_shown_and_steers_nothing() {
    if is_outside("attack::what_a_node_reports_is_shown_and_steers_nothing") {
        return;
    }
    let (room, token) = furnish();
    let report = |body: &str| {
        std::fs::write(room.folder().join("body"), body).expect("written");
        let url = format!("{WEB}/boot/{token}/report");
        curl(&room, &["-w", "%{http_code}", "-d", "@body", "-H", "content-type: application/json", &url])
    };
    let words = "\\u001b[2J\\u0000\\r<script>$(reboot)</script>{{7*7}} init=/bin/sh";
    let event =
        format!("{{\"uptime_ms\":1,\"phase\":\"hardware\",\"step\":\"failed\",\"detail\":\"{words}\"}}");
    let health = format!(
        "{{\"model\":\"{words}\",\"serial\":\"{words}\",\"card_name\":\"{words}\",\"card_life\":\"{words}\"}}"
    );
    let told = format!("{{\"uptime_ms\":2,\"events\":[{event}],\"health\":{health},\"logs\":\"{words}\"}}");
    assert!(report(&told).ends_with("200"), "it may say so");
    let socket = room.folder().join("state/head.sock");
    let shown = server::client::Client::new(&socket).get_text("/v1/nodes/node1").expect("the node");
    assert!(shown.contains("$(reboot)") && shown.contains("[2J"), "{shown}");
    assert!(!shown.contains("\\u001b") && !shown.contains("\\u0000") && !shown.contains("\\r"), "{shown}");
    for (what, body) in [
        (
            "another node's name",
            "{\"uptime_ms\":3,\"name\":\"node2\",\"mac\":\"b8:27:eb:00:00:0c\"}".to_owned(),
        ),
        ("lists within lists", "[".repeat(100_000)),
        ("a number without end", format!("{{\"uptime_ms\":{}}}", "9".repeat(10_000))),
        ("a report that is too large", format!("{{\"uptime_ms\":4,\"logs\":\"{}\"}}", "x".repeat(8 << 20))),
    ] {
        let answer = report(&body);
        assert!(!leaks(&answer, "node2"), "{what}: {answer}");
    }
    let other = server::client::Client::new(&socket).get_text("/v1/nodes/node2").expect("the node");
    assert!(other.contains("\"boot\":0"), "nobody has heard of it: {other}");
    assert!(!boot(&room, &[]).contains("/bin/sh"), "and the next plan has none of it");
    let own = format!("{WEB}/boot/{token}/user-data");
    assert!(!leaks(&curl(&room, &[&own]), &token), "nor does it replay the token of the boot before");
}

/// A plan without its boot's own secret.
pub(crate) fn masked(plan: &str) -> String {
    let token = plan.split("fledermaus.token=").nth(1).and_then(|rest| rest.split(' ').next());
    plan.replace(token.unwrap_or_else(|| panic!("no token: {plan}")), "TOKEN")
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("10.78.0.1", port)).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.set_write_timeout(Some(PATIENCE)).expect("set");
    stream
}

/// Bodies that are promised and do not come: who is nobody is told so before.
fn withhold_bodies() {
    let token = "0".repeat(32);
    let head = format!(
        "POST /boot/{token}/report HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 524288\r\n\r\n{{"
    );
    for _ in 0..20 {
        let mut stream = connect(8080);
        stream.write_all(head.as_bytes()).expect("sent");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("answered");
        assert_eq!(&answer, b"HTTP/1.1 404", "a stranger's body is awaited");
    }
}

/// Connections that say little, or much, and never end.
#[test]
fn slow_large_and_many_requests_leave_the_head_up() {
    if is_outside("attack::slow_large_and_many_requests_leave_the_head_up") {
        return;
    }
    let (room, token) = furnish();
    wait("the operators' door", || TcpStream::connect("10.78.0.1:8443").is_ok());
    withhold_bodies();
    // Many that begin a request, or TLS, and fall silent.
    let mut held = Vec::new();
    for port in [8080, 8443] {
        for _ in 0..200 {
            let mut stream = connect(port);
            let _ = stream.write_all(if port == 8080 { b"GET /boot/" } else { b"\x16\x03\x01" });
            held.push(stream);
        }
    }
    // One whose head never ends, one that promises a body without end, one with nonsense.
    let endless = [b"GET / HTTP/1.1\r\nHost: x\r\nA: ".to_vec(), vec![b'a'; 2_000_000]].concat();
    let promise = format!(
        "POST /boot/{token}/report HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n{{"
    );
    let chunked =
        "POST /boot/x/report HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx";
    for (what, bytes) in [
        ("a header without end", endless),
        ("a body without end", promise.into_bytes()),
        ("a chunk without end", chunked.as_bytes().to_vec()),
        ("nonsense", (0..=255).cycle().take(100_000).collect()),
    ] {
        let mut stream = connect(8080);
        let _ = stream.write_all(&bytes);
        let mut answer = Vec::new();
        // Closed, refused, or left waiting until it is: never with a secret.
        let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(!leaks(&answer, "{}") && !answer.starts_with("HTTP/1.1 2"), "{what}: {answer}");
    }
    // Others are served all the while, at both doors.
    assert!(
        curl(&room, &[&format!("{WEB}/boot/{token}/user-data")]).contains(SECRET),
        "the node gets its user data"
    );
    assert_eq!(curl(&room, &["https://10.78.0.1:8443/healthz"]), "ok\n", "another operator is let in");
    drop(held);
}
