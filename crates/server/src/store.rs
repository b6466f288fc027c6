//! What the head remembers on disk: SQLite in the state directory, written by one task.
//!
//! Write-ahead log with `synchronous = FULL`: a promise (a lease, a token) survives a power cut once
//! [`Store::write`] returned. `NORMAL` would lose the last transactions then; the price of `FULL` is paid once
//! per batch, because everything that waits is written in one transaction.

mod rows;

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use cluster::swarm::{Known, Reboot};
use cluster::view::TimelineLine;
use cluster::{Digest, Mac, NodeName};
use netboot::dhcp::Lease;
use serde::{Deserialize, Serialize};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteLockingMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqlSafeStr};

/// The file in the state directory.
pub const FILE: &str = "head.db";
/// How long another program may hold the file while we wait.
const BUSY_LIMIT: Duration = Duration::from_secs(2);
/// The schema's steps, in their order. One that was released is never changed.
const MIGRATIONS: [(i64, &str, &str); 1] = [(1, "first", include_str!("../migrations/0001_first.sql"))];

/// What is remembered of a node's boots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Which boot since the head first saw the node, from 1; 0 before the first.
    pub boot: u64,
    /// When this boot began, milliseconds since 1970.
    pub began_ms: Option<u64>,
    /// SHA-256 of this boot's token: who reads the file cannot be that node.
    pub token_sha256: Option<Digest>,
    /// Whether the node went beyond its plan in this boot: it fetched the kernel or reported.
    pub running: bool,
    /// Whether the user data of this boot was run; it is not given out again.
    pub user_data_done: bool,
    /// When the node became Ready in this boot, milliseconds since 1970.
    pub ready_at_ms: Option<u64>,
    /// The number of the last order; never used again.
    pub last_order: u64,
    /// How far a wanted reboot is.
    pub reboot: Reboot,
}

/// A node as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// Its key.
    pub mac: Mac,
    /// Its name.
    pub name: NodeName,
    /// Whether it enrolled itself; else it stands in cluster.toml.
    pub discovered: bool,
    /// Its boots.
    pub life: Life,
}

/// A stack that the head keeps for the swarm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// The compose file's text.
    pub compose: String,
    /// How far it is.
    pub state: StackState,
    /// How often it failed since it was put.
    pub failures: u32,
}

/// How far a stack is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StackState {
    /// Not deployed yet.
    Waiting,
    /// The swarm has it.
    Deployed,
    /// The swarm refused it, for this reason.
    Failed(String),
}

/// One change, to be written.
#[derive(Clone, Debug)]
pub enum Change {
    /// A node is so now.
    Node(NodeRow),
    /// A node is none any more.
    NoNode(Mac),
    /// A lease is so now.
    Lease(Lease),
    /// A machine has no lease any more.
    NoLease(Mac),
    /// A line of a node's timeline.
    Line(Mac, u64, TimelineLine),
    /// Lines of a node's timeline with lower numbers are dropped.
    LinesBefore(Mac, u64),
    /// A stack is so now.
    Stack(String, Stack),
    /// The swarm is so now.
    Swarm(Known),
}

/// Everything that was remembered.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The nodes.
    pub nodes: Vec<NodeRow>,
    /// The leases.
    pub leases: Vec<Lease>,
    /// Lines of timelines with their numbers, oldest first for each node.
    pub lines: Vec<(Mac, u64, TimelineLine)>,
    /// The stacks.
    pub stacks: Vec<(String, Stack)>,
    /// The swarm.
    pub swarm: Option<Known>,
}

/// The open file. No other program can open it meanwhile.
#[derive(Debug)]
pub struct Store {
    connection: SqliteConnection,
}

impl Store {
    /// Opens or makes the file in the state directory and reads what is there.
    ///
    /// # Errors
    /// Another head has it, it cannot be written, or it is not ours.
    pub async fn open(state_dir: &Path) -> anyhow::Result<(Self, Memory)> {
        let file = state_dir.join(FILE);
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(true)
            .locking_mode(SqliteLockingMode::Exclusive)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_LIMIT)
            .disable_statement_logging();
        let opening = async {
            let mut connection = options.connect().await?;
            migrator().run_direct(None, &mut connection, false).await?;
            let memory = rows::read(&mut connection).await?;
            anyhow::Ok((Self { connection }, memory))
        };
        opening.await.map_err(|error| explain(error, &file))
    }

    /// Writes all changes, or none. They are on disk when it returns.
    ///
    /// # Errors
    /// The disk is full or broken.
    pub async fn write(&mut self, changes: &[Change]) -> anyhow::Result<()> {
        let mut transaction = self.connection.begin().await?;
        for change in changes {
            rows::write(&mut transaction, change).await?;
        }
        transaction.commit().await.context("committing")
    }

    /// Closes the file.
    pub async fn close(self) {
        if let Err(error) = self.connection.close().await {
            tracing::warn!("closing the store: {error}");
        }
    }
}

fn migrator() -> Migrator {
    let migrations = MIGRATIONS.into_iter().map(|(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    // The file is ours alone.
    migrator.set_locking(false);
    migrator
}

fn explain(error: anyhow::Error, file: &Path) -> anyhow::Error {
    let locked = format!("{error:#}").contains("locked");
    let context = if locked {
        format!("{} is in use: another head runs with this state directory", file.display())
    } else {
        format!("opening {}", file.display())
    };
    error.context(context)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use cluster::Phase;
    use cluster::phase::Step;

    use super::*;

    fn mac(last: u8) -> Mac {
        Mac([0xb8, 0x27, 0xeb, 0, 0, last])
    }

    fn line(boot: u64) -> TimelineLine {
        TimelineLine { at_ms: 5, boot, phase: Phase::Data, step: Step::Done, detail: "x".to_owned() }
    }

    fn lease(mac: Mac, last: u8) -> Lease {
        Lease { mac, address: [10, 78, 0, last].into(), until_ms: 1 << 41 }
    }

    #[tokio::test]
    async fn what_was_written_is_there_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let (mut store, memory) = Store::open(directory.path()).await.unwrap();
        assert!(memory.nodes.is_empty());
        let life = Life { boot: 7, token_sha256: Some(Digest([3; 32])), last_order: 9, ..Life::default() };
        let node = NodeRow { mac: mac(1), name: "node1".parse().unwrap(), discovered: true, life };
        let stack = Stack { compose: "a: b".to_owned(), state: StackState::Failed("no".to_owned()), failures: 1 };
        let known = Known { cluster_id: "c".to_owned(), managers: vec![node.name.clone()] };
        let changes = [
            Change::Node(node.clone()),
            Change::Lease(lease(mac(1), 11)),
            Change::Line(mac(1), 1, line(1)),
            Change::Line(mac(1), 2, line(7)),
            Change::LinesBefore(mac(1), 2),
            Change::Stack("web".to_owned(), stack.clone()),
            Change::Swarm(known.clone()),
        ];
        store.write(&changes).await.unwrap();
        store.close().await;
        let (_, memory) = Store::open(directory.path()).await.unwrap();
        assert_eq!(memory.nodes, [node]);
        assert_eq!(memory.leases, [lease(mac(1), 11)]);
        assert_eq!(memory.lines, [(mac(1), 2, line(7))]);
        assert_eq!(memory.stacks, [("web".to_owned(), stack)]);
        assert_eq!(memory.swarm, Some(known));
    }

    #[tokio::test]
    async fn one_address_has_one_lease_and_a_node_that_goes_takes_its_lines_along() {
        let directory = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(directory.path()).await.unwrap();
        let row = NodeRow { mac: mac(1), name: "n".parse().unwrap(), discovered: true, life: Life::default() };
        let first = [Change::Node(row), Change::Line(mac(1), 1, line(1)), Change::Lease(lease(mac(1), 11))];
        store.write(&first).await.unwrap();
        store.write(&[Change::Lease(lease(mac(2), 11)), Change::NoNode(mac(1))]).await.unwrap();
        store.close().await;
        let (_, memory) = Store::open(directory.path()).await.unwrap();
        assert_eq!(memory.leases, [lease(mac(2), 11)]);
        assert!(memory.nodes.is_empty() && memory.lines.is_empty());
    }

    #[tokio::test]
    async fn two_heads_do_not_share_a_state_directory() {
        let directory = tempfile::tempdir().unwrap();
        let _first = Store::open(directory.path()).await.unwrap();
        let error = Store::open(directory.path()).await.map(drop).unwrap_err();
        assert!(format!("{error:#}").contains("another head runs"), "{error:#}");
    }
}
