//! What the head remembers over a restart: SQLite in the state directory, or a database of PostgreSQL.
//!
//! Writes come in batches, one transaction each: whoever was promised something waits for one flush that
//! serves all. A commit is on disk when it returns.

pub(crate) mod archive;
mod connection;
mod copy;
mod postgres;
mod snapshot;
mod sqlite;
mod write;

use std::path::Path;

use anyhow::Context;
use cluster::Mac;
use cluster::view::TimelineLine;
use netboot::dhcp::Lease;

use self::archive::Archive;
use self::connection::{Dialect, Readers, Statement};
pub(crate) use self::snapshot::{check, snapshot};
pub(crate) use self::sqlite::FILE;
pub(crate) use self::write::Write;
use crate::access::{Account, Credential};
use crate::config::Place;
use crate::head::node::Remembered;
use crate::head::stack::Stack;

/// What was remembered.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) leases: Vec<Lease>,
    pub(crate) nodes: Vec<Remembered>,
    /// The newest line of each node.
    pub(crate) latest: Vec<(Mac, TimelineLine)>,
    /// The lines of boots that go on.
    pub(crate) timelines: Vec<(Mac, TimelineLine)>,
    pub(crate) swarm: Option<String>,
    pub(crate) stacks: Vec<Stack>,
    pub(crate) rollout: Option<String>,
    pub(crate) credentials: Vec<Credential>,
    pub(crate) accounts: Vec<Account>,
    /// The number of the newest line of the audit log.
    pub(crate) audited: u64,
    /// The number of the newest event of the swarm.
    pub(crate) events: u64,
    /// The number of the newest version of any user data.
    pub(crate) versions: u64,
}

/// The open store.
#[derive(Debug)]
pub(crate) struct Store {
    writer: Writer,
    readers: Readers,
}

#[derive(Debug)]
enum Writer {
    File(sqlite::File),
    Database(Box<postgres::Database>),
}

impl Store {
    /// Opens the store, making it if it is not there. An empty database takes what the state directory has.
    pub(crate) async fn open(directory: &Path, place: &Place) -> anyhow::Result<Self> {
        match place {
            Place::File => {
                let file = sqlite::File::open(directory).await?;
                let readers = file.readers();
                Ok(Self { writer: Writer::File(file), readers })
            }
            Place::Database { url, password_file } => {
                let mut database = postgres::Database::open(url, password_file.as_deref()).await?;
                adopt(directory, &mut database).await?;
                let readers = database.readers();
                Ok(Self { writer: Writer::Database(Box::new(database)), readers })
            }
        }
    }

    /// The way to what is not kept in memory.
    pub(crate) fn archive(&self) -> Archive {
        Archive(self.readers.clone())
    }

    /// Reads everything.
    pub(crate) async fn load(&self) -> anyhow::Result<Memory> {
        let (rows, archive) = (&self.readers, self.archive());
        let mut memory = Memory::default();
        let leases: Vec<(String, String, i64)> =
            rows.rows(Statement::new("SELECT mac, address, until_ms FROM lease")).await?;
        for (mac, address, until_ms) in leases {
            let (mac, address) = (mac.parse()?, address.parse()?);
            memory.leases.push(Lease { mac, address, until_ms: until_ms.cast_unsigned() });
        }
        memory.nodes = archive.objects(Statement::new("SELECT object FROM node")).await?;
        let latest: Vec<(String, String)> = rows.rows(Statement::new(LATEST_STATEMENT)).await?;
        for (mac, line) in latest {
            memory.latest.push((mac.parse()?, serde_json::from_str(&line)?));
        }
        // A node that is Ready tells nothing more of its boot.
        for node in memory.nodes.iter().filter(|node| node.boot > 0 && node.ready_at_ms.is_none()) {
            let lines = archive.boot(node.mac, node.boot).await?;
            memory.timelines.extend(lines.into_iter().map(|line| (node.mac, line)));
        }
        memory.swarm = self.only("SELECT object FROM swarm").await?;
        memory.stacks = archive.objects(Statement::new("SELECT object FROM stack")).await?;
        memory.rollout = self.only("SELECT object FROM rollout").await?;
        memory.credentials = archive.objects(Statement::new("SELECT object FROM credential")).await?;
        memory.accounts = archive.objects(Statement::new("SELECT object FROM account")).await?;
        memory.audited = self.newest("SELECT coalesce(max(id), 0) FROM audit").await?;
        memory.events = self.newest("SELECT coalesce(max(id), 0) FROM event").await?;
        memory.versions = self.newest("SELECT coalesce(max(version), 0) FROM user_data").await?;
        Ok(memory)
    }

    async fn only(&self, sql: &str) -> anyhow::Result<Option<String>> {
        let rows: Vec<(String,)> = self.readers.rows(Statement::new(sql)).await?;
        Ok(rows.into_iter().next().map(|(object,)| object))
    }

    async fn newest(&self, sql: &str) -> anyhow::Result<u64> {
        let rows: Vec<(i64,)> = self.readers.rows(Statement::new(sql)).await?;
        Ok(rows.first().map_or(0, |(number,)| number.cast_unsigned()))
    }

    /// Writes a batch; on disk when this returns. A database that is away is waited for, and what was written is written once.
    ///
    /// # Errors
    /// What cannot be written; the head must not go on.
    pub(crate) async fn write(&mut self, batch: &[Write]) -> anyhow::Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        match &mut self.writer {
            Writer::File(file) => file.write(&write::statements(batch, Dialect::Sqlite)?).await,
            Writer::Database(database) => database.write(&write::statements(batch, Dialect::Postgres)?).await,
        }
    }
}

/// The newest line of each node.
const LATEST_STATEMENT: &str =
    "SELECT mac, object FROM line WHERE id IN (SELECT max(id) FROM line GROUP BY mac)";

/// Finds out whether a state that is restored has a place to go: files are looked at by who puts them there.
pub(crate) async fn check_vacancy(place: &Place) -> anyhow::Result<()> {
    let Place::Database { url, password_file } = place else { return Ok(()) };
    // Opened as a head does: one that serves with it keeps us out.
    let mut database = postgres::Database::open(url, password_file.as_deref()).await?;
    let is_empty = copy::is_empty(database.connection()?).await?;
    anyhow::ensure!(
        is_empty,
        "the database {} holds a head's state already: name an empty one",
        database.name()
    );
    Ok(())
}

/// Moves the state of a head that had no database, or that a backup was restored for, into its new one.
async fn adopt(directory: &Path, database: &mut postgres::Database) -> anyhow::Result<()> {
    let file = directory.join(FILE);
    if !file.exists() {
        return Ok(());
    }
    let name = database.name().to_owned();
    let to = database.connection()?;
    anyhow::ensure!(
        copy::is_empty(to).await?,
        "the database {name} holds a head's state already, and so does {}: move the file away if it is the older one, or \
         name an empty database",
        file.display()
    );
    // Its schema may be an older one.
    let mut from = sqlite::File::open(directory).await?;
    copy::copy(from.connection(), to)
        .await
        .with_context(|| format!("copying {} into {name}", file.display()))?;
    from.close().await?;
    let kept = directory.join(format!("{FILE}.moved"));
    std::fs::rename(&file, &kept).with_context(|| format!("renaming {}", file.display()))?;
    tracing::info!(
        "the state of {} is in the database {name} now; the file is {}",
        file.display(),
        kept.display()
    );
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
