//! Orders against a Docker that the test plays itself, on a real socket.
#![allow(clippy::unwrap_used)]

use super::*;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::sync::Mutex;
use tempfile::TempDir;

/// Answers requests from a script and writes them down.
pub(crate) struct FakeDocker {
    folder: TempDir,
    heard: Arc<Mutex<Vec<String>>>,
}

impl FakeDocker {
    /// `script`: the start of the request line, the Swarm header, status, body; first match answers,
    /// and an entry that begins with `!` answers only once.
    pub(crate) fn new(script: &'static [(&'static str, &'static str, u16, &'static str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("sock")).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let writes = heard.clone();
        thread::spawn(move || {
            let mut script = script.to_vec();
            for stream in listener.incoming() {
                let mut reader = BufReader::new(stream.unwrap());
                let request = read_request(&mut reader);
                let matches = |entry: &(&str, _, _, _)| request.starts_with(entry.0.trim_start_matches('!'));
                let place = script.iter().position(matches).unwrap_or_else(|| panic!("unexpected {request}"));
                let (key, swarm, status, body) = script[place];
                if key.starts_with('!') {
                    script.remove(place);
                }
                writes.lock().unwrap().push(request);
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status} X\r\nSwarm: {swarm}\r\nContent-Length: {length}\r\n\r\n{body}"
                );
                reader.get_mut().write_all(head.as_bytes()).unwrap();
            }
        });
        Self { folder, heard }
    }

    pub(crate) fn hands(&self) -> Hands {
        let line = format!(
            "ip=10.0.0.2:::255.255.255.0:n::off:10.0.0.1 fledermaus.head=10.0.0.1:8080 fledermaus.system={}:1 \
             fledermaus.token={} foreman_user_data_url=http://x/",
            "0".repeat(64),
            "ab".repeat(16)
        );
        Hands {
            docker: Docker::new(&self.folder.path().join("sock")),
            plan: Arc::new(NodePlan::parse(&line).unwrap()),
            outbox: Arc::default(),
        }
    }

    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

/// Request line and body.
fn read_request(reader: &mut impl BufRead) -> String {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim_end() {
            "" => break,
            text => lines.push(text.to_owned()),
        }
    }
    let length = lines.iter().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    format!("{} {}", lines[0].trim_end_matches(" HTTP/1.1"), String::from_utf8(body).unwrap())
}

fn steps(hands: &Hands) -> Vec<Step> {
    hands.outbox.report().events.into_iter().map(|event| event.step).collect()
}

#[test]
fn init_waits_until_docker_is_active() {
    let docker = FakeDocker::new(&[
        ("POST /v1.45/swarm/init", "", 200, "\"id\""),
        ("!GET /_ping", "pending", 200, "OK"),
        ("GET /_ping", "active/manager", 200, "OK"),
    ]);
    let hands = docker.hands();
    hands.carry_out(&Action::Init).unwrap();
    assert!(docker.heard()[0].contains(r#""AdvertiseAddr":"10.0.0.2""#), "{:?}", docker.heard());
    assert_eq!(docker.heard().len(), 3);
    assert_eq!(steps(&hands), [Step::Started, Step::Done]);
}

#[test]
fn a_node_that_is_in_the_swarm_already_has_joined() {
    let docker = FakeDocker::new(&[
        ("POST /v1.45/swarm/join", "", 503, r#"{"message":"This node is already part of a swarm."}"#),
        ("GET /_ping", "active/worker", 200, "OK"),
    ]);
    let join = Action::Join { token: "SWMTKN-1".to_owned(), manager: "10.0.0.3:2377".to_owned() };
    docker.hands().carry_out(&join).unwrap();
}

#[test]
fn a_refused_join_fails_with_dockers_sentence_and_without_the_token() {
    let docker = FakeDocker::new(&[
        ("POST /v1.45/swarm/join", "", 400, r#"{"message":"invalid join token"}"#),
        ("GET /_ping", "inactive", 200, "OK"),
    ]);
    let hands = docker.hands();
    let join = Action::Join { token: "SWMTKN-secret".to_owned(), manager: "10.0.0.3:2377".to_owned() };
    let error = format!("{:#}", hands.carry_out(&join).unwrap_err());
    assert!(error.contains("invalid join token") && !error.contains("secret"), "{error}");
    assert_eq!(steps(&hands), [Step::Started, Step::Failed]);
}

const NODE: &str = r#"{"ID":"abc","Version":{"Index":17},"Spec":{"Role":"worker","Availability":"active"}}"#;

#[test]
fn a_change_that_came_too_late_is_made_again() {
    let docker = FakeDocker::new(&[
        ("GET /v1.45/nodes/abc", "", 200, NODE),
        (
            "!POST /v1.45/nodes/abc/update?version=17",
            "",
            500,
            r#"{"message":"rpc error: update out of sequence"}"#,
        ),
        ("POST /v1.45/nodes/abc/update?version=17", "", 200, ""),
    ]);
    docker.hands().carry_out(&Action::Promote { id: "abc".to_owned() }).unwrap();
    assert_eq!(docker.heard().len(), 4);
    assert!(docker.heard()[3].contains(r#""Role":"manager""#));
    docker.hands().carry_out(&Action::Demote { id: "abc".to_owned() }).unwrap();
    assert_eq!(docker.heard().len(), 5, "it is a worker already: no change");
    let labels = [("rack".to_owned(), "2".to_owned())].into();
    docker.hands().carry_out(&Action::Label { id: "abc".to_owned(), labels }).unwrap();
    assert!(docker.heard()[6].contains(r#""Labels":{"rack":"2"}"#), "{:?}", docker.heard());
}

#[test]
fn tokens_are_rotated_and_nothing_else_of_the_swarm_changes() {
    const SWARM: &str =
        r#"{"ID":"s","Version":{"Index":9},"Spec":{"Name":"default","Raft":{"ElectionTick":10}}}"#;
    let docker =
        FakeDocker::new(&[("GET /v1.45/swarm ", "", 200, SWARM), ("POST /v1.45/swarm/update", "", 200, "")]);
    docker.hands().carry_out(&Action::RotateTokens).unwrap();
    let told = docker.heard().remove(1);
    let (path, body) = told.trim_start_matches("POST ").split_once(' ').unwrap();
    assert_eq!(path, "/v1.45/swarm/update?version=9&rotateWorkerToken=true&rotateManagerToken=true");
    assert_eq!(body, r#"{"Name":"default","Raft":{"ElectionTick":10}}"#);
}

#[test]
fn an_entry_that_is_gone_is_removed_and_an_odd_id_reaches_nobody() {
    let docker = FakeDocker::new(&[("DELETE /v1.45/nodes/abc?force=true", "", 404, "{}")]);
    docker.hands().carry_out(&Action::Remove { id: "abc".to_owned() }).unwrap();
    assert!(docker.hands().carry_out(&Action::Remove { id: "../info?x=".to_owned() }).is_err());
    assert!(docker.hands().carry_out(&Action::RemoveStack { name: "-x".to_owned() }).is_err());
    assert_eq!(docker.heard().len(), 1);
}

#[test]
fn orders_end_in_outcomes_and_leaving_twice_is_fine() {
    let docker = FakeDocker::new(&[("GET /_ping", "inactive", 200, "OK")]);
    let hands = docker.hands();
    let ledger = Ledger::open(&docker.folder.path().join("orders"), &hands.outbox).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    sender.send(Order { number: 4, action: Action::Leave }).unwrap();
    sender.send(Order { number: 5, action: Action::Drain { id: String::new() } }).unwrap();
    drop(sender);
    hands.carry_out_all(&receiver, &ledger);
    let outcomes = hands.outbox.report().outcomes;
    assert_eq!(outcomes[0], Outcome::of(4, None));
    assert!(outcomes[1].error.is_some());
}

#[test]
fn a_stack_is_not_to_blame_where_no_manager_leads() {
    let stack = Action::RemoveStack { name: "web".to_owned() };
    let worker = FakeDocker::new(&[("GET /v1.45/swarm ", "", 503, r#"{"message":"not a manager"}"#)]);
    assert!(worker.hands().is_unled(&stack, "this node is not a swarm manager"));
    assert!(!worker.hands().is_unled(&Action::Leave, "this node is not a swarm manager"));
    let manager = FakeDocker::new(&[("GET /v1.45/swarm ", "", 200, r#"{"ID":"s"}"#)]);
    assert!(!manager.hands().is_unled(&stack, "services.web.image must be a string"));
    assert!(
        manager
            .hands()
            .is_unled(&stack, "rpc error: code = DeadlineExceeded desc = context deadline exceeded")
    );
}

#[test]
fn facts_are_asked_with_few_questions() {
    let docker = FakeDocker::new(&[
        ("!GET /_ping", "inactive", 200, "OK"),
        ("GET /_ping", "active/manager", 200, "OK"),
        ("GET /v1.45/info", "", 200, r#"{"Swarm":{"NodeID":"abc"}}"#),
        ("GET /v1.45/swarm", "", 200, r#"{"ID":"cl","JoinTokens":{"Worker":"w","Manager":"m"}}"#),
        ("GET /v1.45/nodes", "", 503, r#"{"message":"no leader"}"#),
    ]);
    let mut look = crate::facts::Look::new(docker.hands().docker);
    assert_eq!(look.now().unwrap(), cluster::swarm::SwarmFacts::default());
    assert_eq!(docker.heard().len(), 1);
    let facts = look.now().unwrap();
    assert!(facts.node_id == "abc" && facts.manager.is_none());
    look.now().unwrap();
    assert_eq!(docker.heard().iter().filter(|request| request.contains("/info")).count(), 1);
}
