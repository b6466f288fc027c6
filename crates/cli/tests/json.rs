//! `--json` with every command that asks a head: what is printed is JSON, whatever the command does. The head is a table of
//! answers behind a socket.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// The commands: what stands behind `fledermaus --json`. FILE is a file that is there.
const COMMANDS: [&str; 42] = [
    "image served",
    "node list",
    "node waiting",
    "node approve b8:27:eb:00:00:01",
    "node rename node1 web1",
    "node set node1 role=manager",
    "node label node1 rack=north",
    "node forget node1",
    "node show node1",
    "node logs node1",
    "node power node1 cycle",
    "node reboot node1",
    "user-data list",
    "user-data edit node1",
    "user-data set node1 FILE",
    "user-data show node1",
    "user-data history node1",
    "user-data diff node1 1",
    "user-data rollback node1 1",
    "user-data render node1",
    "apply --dry-run",
    "export",
    "export --out FILE",
    "rollout start",
    "rollout status",
    "rollout resume",
    "rollout stop",
    "rollout back",
    "swarm status",
    "swarm events",
    "stack deploy hello FILE",
    "stack list",
    "stack show hello",
    "stack remove gone",
    "login",
    "token create ci",
    "token list",
    "token revoke 01ab",
    "account set ada --password-file FILE",
    "account list",
    "account remove ada",
    "audit",
];
/// Those that ask no head.
const OTHERS: [&str; 8] = ["serve", "doctor", "backup", "restore", "card", "completions", "man", "lab"];

/// What the head answers.
fn answer(request: &str) -> Value {
    let node = json!({ "name": "node1", "mac": "b8:27:eb:00:00:01", "address": null, "role": "any", "phase": null,
        "step": null, "boot": 0, "boot_began_ms": null, "ready_at_ms": null, "last_seen_ms": null, "detail": "" });
    let token = json!({ "id": "01ab", "name": "ci", "scope": "read", "kind": "token", "made_by": "root", "made_ms": 0,
        "until_ms": null });
    match request {
        "GET /v1/nodes/node1" => json!({ "node": node, "timeline": [] }),
        "GET /v1/nodes/node1/logs" => json!({ "at_ms": 0, "old": false, "text": "up" }),
        "POST /v1/apply?dry_run=true" => json!({ "changes": [], "restart": [] }),
        "GET /v1/swarm" => json!({ "cluster_id": "", "members": [], "held": [] }),
        "GET /v1/stacks/hello" => json!({ "name": "hello", "state": "deployed", "error": null }),
        "POST /v1/logins" => json!({ "url": null, "fingerprint": null, "until_ms": 0 }),
        "POST /v1/tokens" => json!({ "token": token, "secret": "s" }),
        path if path.starts_with("GET /v1/node-list") => json!({ "nodes": [], "total": 0 }),
        path if path.contains("/rollout") => json!({ "nodes": [], "state": "done", "pause_ms": 0 }),
        // Lists, texts, and what nobody looks at.
        _ => json!([]),
    }
}

fn serve(mut stream: UnixStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut byte = [0];
    // Without the body: the command line writes it in one piece with what is read here.
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let length = request.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or_default();
    stream.read_exact(&mut vec![0; length])?;
    let words = request.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let body = answer(&words).to_string();
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn fledermaus(arguments: &[&str]) -> std::process::Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_fledermaus"));
    let program = program.args(arguments).env("VISUAL", "true").env_remove("FLEDERMAUS_URL");
    program.output().expect("the program runs")
}

#[test]
fn every_command_that_asks_a_head_prints_json_if_it_is_told_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let (socket, file) = (folder.path().join("head.sock"), folder.path().join("file"));
    let listener = UnixListener::bind(&socket).expect("a socket");
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(serve(stream))));
    let socket = socket.to_str().expect("text");
    for command in COMMANDS {
        std::fs::write(&file, "services: {}\n").expect("written");
        let words = command.split(' ');
        let words = words.map(|word| if word == "FILE" { file.to_str().expect("text") } else { word });
        let arguments: Vec<&str> = ["--json", "--socket", socket].into_iter().chain(words).collect();
        let output = fledermaus(&arguments);
        let (said, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{command}: {errors}");
        let value: Result<Value, _> = serde_json::from_str(&said);
        assert!(value.is_ok_and(|value| !value.is_string()), "{command}: {said}");
    }
}

/// A command that is new is to be in the table too. Its manual page tells that there is one.
#[test]
fn no_command_is_forgotten() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(fledermaus(&["man", "--out", folder.path().to_str().expect("text")]).status.success());
    let pages = pages(folder.path());
    let is_leaf = |page: &&String| !pages.iter().any(|other| other.starts_with(&format!("{page}-")));
    let is_other = |page: &&String| {
        // All but `image served` make images, or look after them.
        OTHERS.iter().any(|other| page == other || page.starts_with(&format!("{other}-")))
            || (page.starts_with("image-") && *page != "image-served")
    };
    let forgotten = pages.iter().filter(|page| {
        let in_table = COMMANDS
            .iter()
            .any(|command| format!("{command} ").replace(' ', "-").starts_with(&format!("{page}-")));
        is_leaf(page) && !is_other(page) && !in_table
    });
    assert_eq!(forgotten.collect::<Vec<_>>(), Vec::<&String>::new());
}

/// The names of the manual pages, without the program's.
fn pages(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).expect("pages").flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| Some(name.strip_prefix("fledermaus-")?.strip_suffix(".1")?.to_owned())).collect()
}
