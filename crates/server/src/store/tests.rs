//! What a store keeps, in a file and in a database of a real server.
#![allow(clippy::unwrap_used)]

#[path = "../../tests/room/postgres.rs"]
pub(crate) mod server;

use cluster::phase::{Phase, Step};
use cluster::view::{AuditLine, SwarmEvent, UserDataVersion};
use serde_json::json;

use self::server::Postgres;
use super::*;
use crate::head::node::Node;
use crate::user_data::Owner;

const MAC: Mac = Mac([0xb8, 0x27, 0xeb, 0, 0, 1]);
const OTHER: Mac = Mac([0xb8, 0x27, 0xeb, 0, 0, 2]);

/// Where a test's head keeps its state.
pub(crate) struct Home {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) place: Place,
    /// Runs as long as this.
    pub(crate) server: Option<Postgres>,
}

impl Home {
    pub(crate) fn in_a_file() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), place: Place::File, server: None }
    }

    pub(crate) fn in_a_database() -> Self {
        let server = Postgres::start();
        Self { folder: tempfile::tempdir().unwrap(), place: place(&server, "postgres"), server: Some(server) }
    }

    async fn open(&self) -> Store {
        Store::open(self.folder.path(), &self.place).await.unwrap()
    }
}

pub(crate) fn place(server: &Postgres, database: &str) -> Place {
    Place::Database { url: server.url(database), password_file: Some(server.password_file()) }
}

/// Has each test run with a file and with a database.
macro_rules! with_both {
    ($($test:ident)*) => {
        mod in_a_file {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::store::tests::Home::in_a_file()).await;
            })*
        }
        mod in_a_database {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::store::tests::Home::in_a_database()).await;
            })*
        }
    };
}
pub(crate) use with_both;

with_both! {
    what_was_written_is_there_after_a_restart
    what_was_taken_back_is_gone
    a_board_that_comes_back_begins_anew
    a_batch_is_written_whole_or_not_at_all
    old_user_data_and_old_lines_make_place
}

pub(super) fn lease(mac: Mac, last: u8) -> Write {
    Write::Lease(Lease { mac, address: [10, 0, 0, last].into(), until_ms: 77 })
}

pub(super) fn line(boot: u64, detail: &str) -> Write {
    let detail = detail.to_owned();
    Write::Line(MAC, TimelineLine { at_ms: 5, boot, phase: Phase::Address, step: Step::Done, detail })
}

fn audit(id: u64) -> Write {
    let text = |text: &str| text.to_owned();
    let (who, from, action, subject) = (text("ada"), text("socket"), text("reboot"), text("node1"));
    Write::Audit(Box::new(AuditLine { id, at_ms: 1, who, from, action, subject, detail: String::new() }))
}

fn user_data(version: u64, text: &str) -> Write {
    let (who, from) = ("ada".to_owned(), "socket".to_owned());
    let told = UserDataVersion { version, at_ms: 1, who, from, bytes: text.len() as u64 };
    Write::UserData(Owner::Node(MAC), Box::new((told, text.to_owned())))
}

fn credential(id: &str) -> Write {
    let view = json!({"id": id, "name": "ci", "scope": "read", "kind": "token", "made_by": "ada", "made_ms": 1, "until_ms": null});
    Write::Credential(serde_json::from_value(json!({"view": view, "hash": "0".repeat(64)})).unwrap())
}

fn account(password: &str) -> Write {
    let account = json!({"name": "ada", "scope": "admin", "set_ms": 1, "password": password});
    Write::Account(serde_json::from_value(account).unwrap())
}

fn stack(name: &str) -> Write {
    let stack = json!({"name": name, "compose": "services: {}", "state": "deployed", "error": null, "cluster_id": "x"});
    Write::Stack(serde_json::from_value(stack).unwrap())
}

fn node(boot: u64) -> Write {
    let mut node = Node::new(MAC, "node1".parse().unwrap()).kept;
    node.boot = boot;
    Write::Node(Box::new(node))
}

/// Something of each kind; the words are what databases may stumble over.
pub(super) fn everything() -> Vec<Write> {
    let event = SwarmEvent { id: 9, at_ms: 1, text: "node1 is drained: 'ß' \"\\u0000\" \0 $1".to_owned() };
    vec![
        lease(MAC, 5),
        lease(OTHER, 6),
        lease(MAC, 7),
        node(1),
        node(2),
        line(1, "the boot before"),
        line(2, "first \0 $1 ' \\"),
        line(2, "second"),
        Write::Swarm("{\"old\":1}".to_owned()),
        Write::Swarm("{}".to_owned()),
        Write::Rollout("{}".to_owned()),
        stack("hello"),
        credential("a"),
        account("old"),
        account("new"),
        user_data(3, "#!/bin/sh\necho 'ß' $1 \\ \"\n"),
        audit(4),
        Write::Event(Box::new(event)),
    ]
}

/// All that is read at a head's start, as text.
pub(super) async fn loaded(store: &Store) -> String {
    let mut memory = store.load().await.unwrap();
    memory.leases.sort_by_key(|lease| lease.mac);
    format!("{memory:#?}")
}

async fn what_was_written_is_there_after_a_restart(home: Home) {
    let mut store = home.open().await;
    store.write(&everything()).await.unwrap();
    drop(store);
    let store = home.open().await;
    let memory = store.load().await.unwrap();
    let leases: Vec<_> = memory.leases.iter().map(|lease| (lease.mac, lease.address.octets()[3])).collect();
    assert!(leases.len() == 2 && leases.contains(&(MAC, 7)) && leases.contains(&(OTHER, 6)), "{leases:?}");
    assert_eq!(memory.nodes.iter().map(|node| node.boot).collect::<Vec<_>>(), [2]);
    let details: Vec<_> = memory.timelines.iter().map(|(_, line)| line.detail.as_str()).collect();
    assert_eq!(details, ["first \0 $1 ' \\", "second"], "of the boot that goes on, in their order");
    assert_eq!(memory.latest[0].1.detail, "second");
    assert_eq!((memory.swarm.as_deref(), memory.rollout.as_deref()), (Some("{}"), Some("{}")));
    assert_eq!((memory.stacks[0].name.as_str(), memory.credentials[0].view.id.as_str()), ("hello", "a"));
    assert_eq!(memory.accounts.iter().map(|account| account.password.as_str()).collect::<Vec<_>>(), ["new"]);
    assert_eq!((memory.audited, memory.events, memory.versions), (4, 9, 3));

    let archive = store.archive();
    assert_eq!(archive.lines(MAC).await.unwrap().len(), 3);
    assert_eq!(archive.boot(MAC, 1).await.unwrap()[0].detail, "the boot before");
    let text = archive.version(&Owner::Node(MAC), 3).await.unwrap();
    assert_eq!(text.as_deref(), Some("#!/bin/sh\necho 'ß' $1 \\ \"\n"));
    assert_eq!(archive.version(&Owner::Node(OTHER), 3).await.unwrap(), None);
    assert_eq!(archive.versions(&Owner::Node(MAC)).await.unwrap()[0].who, "ada");
    assert_eq!(archive.audit(None, 10).await.unwrap()[0].subject, "node1");
    assert_eq!(archive.audit(Some(4), 10).await.unwrap().len(), 0, "those before it");
    assert_eq!(
        archive.events(Some(10), 10).await.unwrap()[0].text,
        "node1 is drained: 'ß' \"\\u0000\" \0 $1"
    );
}

async fn what_was_taken_back_is_gone(home: Home) {
    let mut store = home.open().await;
    store.write(&everything()).await.unwrap();
    let gone = [
        Write::NoLease(MAC),
        Write::NoLease(OTHER),
        Write::Trim(MAC, 9),
        Write::NoStack("hello".to_owned()),
        Write::NoCredential("a".to_owned()),
        Write::NoAccount("ada".to_owned()),
    ];
    // A machine that loses its address to another, and gets one anew.
    let anew = [lease(OTHER, 5), Write::NoLease(OTHER), lease(MAC, 8), lease(OTHER, 7)];
    store.write(&gone).await.unwrap();
    let memory = store.load().await.unwrap();
    assert!(memory.leases.is_empty() && memory.latest.is_empty());
    assert!(memory.stacks.is_empty() && memory.credentials.is_empty() && memory.accounts.is_empty());
    store.write(&anew).await.unwrap();
    assert_eq!(store.load().await.unwrap().leases.len(), 2);
}

/// The node row alone went: a board that was forgotten and came back had the old node's boots in its timeline.
async fn a_board_that_comes_back_begins_anew(home: Home) {
    let mut store = home.open().await;
    store.write(&everything()).await.unwrap();
    let told =
        TimelineLine { at_ms: 5, boot: 1, phase: Phase::Address, step: Step::Done, detail: String::new() };
    store.write(&[Write::Line(OTHER, told), Write::NoNode(MAC), line(1, "anew")]).await.unwrap();
    assert!(store.load().await.unwrap().nodes.is_empty());
    let archive = store.archive();
    let details: Vec<_> = archive.lines(MAC).await.unwrap().into_iter().map(|line| line.detail).collect();
    assert_eq!(details, ["anew"]);
    assert!(archive.versions(&Owner::Node(MAC)).await.unwrap().is_empty());
    assert_eq!(archive.lines(OTHER).await.unwrap().len(), 1, "another's stay");
}

async fn a_batch_is_written_whole_or_not_at_all(home: Home) {
    let mut store = home.open().await;
    store.write(&[audit(1)]).await.unwrap();
    store.write(&[line(1, "half"), audit(1), lease(MAC, 5)]).await.expect_err("number 1 is there already");
    store.write(&[audit(2)]).await.unwrap();
    let memory = store.load().await.unwrap();
    assert!(memory.leases.is_empty() && memory.latest.is_empty());
    assert_eq!(memory.audited, 2);
}

async fn old_user_data_and_old_lines_make_place(home: Home) {
    let mut store = home.open().await;
    let versions: Vec<_> = (1..=55).map(|version| user_data(version, "x")).collect();
    store.write(&versions).await.unwrap();
    let kept = store.archive().versions(&Owner::Node(MAC)).await.unwrap();
    assert_eq!((kept.len(), kept[0].version, kept[49].version), (50, 55, 6));
    store.write(&[audit(1), audit(2)]).await.unwrap();
    store.write(&[audit(100_001)]).await.unwrap();
    let kept = store.archive().audit(None, 10).await.unwrap();
    assert_eq!(kept.iter().map(|line| line.id).collect::<Vec<_>>(), [100_001, 2]);
}

#[tokio::test]
async fn an_empty_database_takes_the_file_s_state_and_one_that_is_in_use_does_not() {
    let old = Home::in_a_file();
    let mut store = old.open().await;
    store.write(&everything()).await.unwrap();
    let versions: Vec<_> = (10..40).map(|version| user_data(version, &"x".repeat(300_000))).collect();
    store.write(&versions).await.unwrap();
    let before = loaded(&store).await;
    drop(store);

    let server = Postgres::start();
    let folder = old.folder.path();
    let store = Store::open(folder, &place(&server, "postgres")).await.unwrap();
    assert_eq!(loaded(&store).await, before);
    assert_eq!(store.archive().lines(MAC).await.unwrap().len(), 3, "those of earlier boots too");
    drop(store);
    let files =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(files, ["state.sqlite.moved"], "the whole state, and nothing beside it");
    let store = Store::open(folder, &place(&server, "postgres")).await.unwrap();
    assert_eq!(loaded(&store).await, before);
    drop(store);

    std::fs::rename(folder.join("state.sqlite.moved"), folder.join(FILE)).unwrap();
    let refused = Store::open(folder, &place(&server, "postgres")).await.unwrap_err().to_string();
    assert!(refused.contains("holds a head's state already, and so does"), "{refused}");
    assert!(folder.join(FILE).exists());
}
