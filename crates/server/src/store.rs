//! What the head remembers over a restart: SQLite in the state directory.
//!
//! Writes come in batches, one transaction each: whoever was promised something waits for one flush that
//! serves all. The file is in WAL mode with `synchronous = FULL`: a commit is on disk when it returns.

pub(crate) mod archive;
mod snapshot;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use cluster::Mac;
use cluster::view::{AuditLine, SwarmEvent, TimelineLine, UserDataVersion};
use netboot::dhcp::Lease;
use sqlx::query::Query;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Pool, Row, Sqlite};

use self::archive::Archive;
pub(crate) use self::snapshot::{check, snapshot};
use crate::access::{Account, Credential};
use crate::head::node::Remembered;
use crate::head::stack::Stack;

/// The file in the state directory.
pub(crate) const FILE: &str = "state.sqlite";
/// What makes each version of the schema from the one before. How many were carried out is in `PRAGMA user_version`.
const MIGRATIONS: [&str; 5] = [
    include_str!("store/schema.sql"),
    include_str!("store/rollout.sql"),
    include_str!("store/access.sql"),
    include_str!("store/user_data.sql"),
    include_str!("store/event.sql"),
];
/// How many lines the audit log keeps, and how many events of the swarm there are.
const AUDIT_LIMIT: u64 = 100_000;
const EVENTS_LIMIT: u64 = 10_000;

/// One change.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    /// A lease was given or renewed.
    Lease(Lease),
    /// A machine has no lease any more.
    NoLease(Mac),
    /// What is remembered of a node changed.
    Node(Box<Remembered>),
    /// A node was forgotten.
    NoNode(Mac),
    /// A line was added to a node's timeline.
    Line(Mac, TimelineLine),
    /// Lines of the node's boots before this one are forgotten.
    Trim(Mac, u64),
    /// The swarm that is known, as JSON.
    Swarm(String),
    /// A stack changed.
    Stack(Stack),
    /// A stack was removed.
    NoStack(String),
    /// The rollout that is the newest, as JSON.
    Rollout(String),
    /// A token or session was made.
    Credential(Box<Credential>),
    /// The token or session of this id was revoked or ended.
    NoCredential(String),
    /// An account was made or changed.
    Account(Account),
    /// An account was removed.
    NoAccount(String),
    /// A version of a node's user data, and its text.
    UserData(Mac, Box<(UserDataVersion, String)>),
    /// Somebody changed something.
    Audit(Box<AuditLine>),
    /// Something was decided about the swarm.
    Event(Box<SwarmEvent>),
}

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
    pool: Pool<Sqlite>,
    readers: Pool<Sqlite>,
    path: PathBuf,
}

impl Store {
    /// Opens the store, making it if it is not there.
    pub(crate) async fn open(directory: &Path) -> anyhow::Result<Self> {
        let path = directory.join(FILE);
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let readers =
            SqlitePoolOptions::new().max_connections(1).connect_lazy_with(options.clone().read_only(true));
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await;
        let pool = pool.with_context(|| format!("opening the state {}", path.display()))?;
        let version: i64 = sqlx::query("PRAGMA user_version").fetch_one(&pool).await?.try_get(0)?;
        let done = usize::try_from(version).ok().filter(|done| *done <= MIGRATIONS.len());
        let Some(done) = done else {
            anyhow::bail!("{} was written by a newer fledermaus (schema {version})", path.display());
        };
        for (place, migration) in MIGRATIONS.iter().enumerate().skip(done) {
            // All or nothing: a full disk leaves a file that the next start can begin with.
            let mut whole = pool.begin().await?;
            let statements = format!("{migration} PRAGMA user_version = {};", place + 1);
            let made = sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&mut *whole).await;
            made.map_err(|error| explain(error, &path))?;
            whole.commit().await.map_err(|error| explain(error, &path))?;
        }
        Ok(Self { pool, readers, path })
    }

    /// The way to what is not kept in memory.
    pub(crate) fn archive(&self) -> Archive {
        Archive(self.readers.clone())
    }

    /// Reads everything.
    pub(crate) async fn load(&self) -> anyhow::Result<Memory> {
        let mut memory = Memory::default();
        for row in sqlx::query("SELECT mac, address, until_ms FROM lease").fetch_all(&self.pool).await? {
            let (mac, address) =
                (row.try_get::<String, _>(0)?.parse()?, row.try_get::<String, _>(1)?.parse()?);
            memory.leases.push(Lease { mac, address, until_ms: row.try_get::<i64, _>(2)?.cast_unsigned() });
        }
        for row in sqlx::query("SELECT object FROM node").fetch_all(&self.pool).await? {
            memory.nodes.push(serde_json::from_str(&row.try_get::<String, _>(0)?)?);
        }
        for row in sqlx::query(LATEST_STATEMENT).fetch_all(&self.pool).await? {
            let mac = row.try_get::<String, _>(0)?.parse()?;
            memory.latest.push((mac, serde_json::from_str(&row.try_get::<String, _>(1)?)?));
        }
        // A node that is Ready tells nothing more of its boot.
        for node in memory.nodes.iter().filter(|node| node.boot > 0 && node.ready_at_ms.is_none()) {
            let query = sqlx::query(LINES_STATEMENT).bind(node.mac.to_string()).bind(node.boot.cast_signed());
            for row in query.fetch_all(&self.pool).await? {
                memory.timelines.push((node.mac, serde_json::from_str(&row.try_get::<String, _>(0)?)?));
            }
        }
        for row in sqlx::query("SELECT object FROM swarm").fetch_all(&self.pool).await? {
            memory.swarm = Some(row.try_get(0)?);
        }
        for row in sqlx::query("SELECT object FROM stack").fetch_all(&self.pool).await? {
            memory.stacks.push(serde_json::from_str(&row.try_get::<String, _>(0)?)?);
        }
        for row in sqlx::query("SELECT object FROM rollout").fetch_all(&self.pool).await? {
            memory.rollout = Some(row.try_get(0)?);
        }
        for row in sqlx::query("SELECT object FROM credential").fetch_all(&self.pool).await? {
            memory.credentials.push(serde_json::from_str(&row.try_get::<String, _>(0)?)?);
        }
        for row in sqlx::query("SELECT object FROM account").fetch_all(&self.pool).await? {
            memory.accounts.push(serde_json::from_str(&row.try_get::<String, _>(0)?)?);
        }
        let newest = sqlx::query("SELECT coalesce(max(id), 0) FROM audit").fetch_one(&self.pool).await?;
        memory.audited = newest.try_get::<i64, _>(0)?.cast_unsigned();
        let newest = sqlx::query("SELECT coalesce(max(id), 0) FROM event").fetch_one(&self.pool).await?;
        memory.events = newest.try_get::<i64, _>(0)?.cast_unsigned();
        let newest =
            sqlx::query("SELECT coalesce(max(version), 0) FROM user_data").fetch_one(&self.pool).await?;
        memory.versions = newest.try_get::<i64, _>(0)?.cast_unsigned();
        Ok(memory)
    }

    /// Writes a batch; on disk when this returns.
    pub(crate) async fn write(&self, batch: &[Write]) -> anyhow::Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        self.write_all(batch).await.map_err(|error| match error.downcast() {
            Ok(error) => explain(error, &self.path),
            Err(other) => other,
        })
    }

    async fn write_all(&self, batch: &[Write]) -> anyhow::Result<()> {
        let mut transaction = self.pool.begin().await?;
        for write in batch {
            let Some(query) = statement(write)? else { continue };
            query.execute(&mut *transaction).await?;
        }
        if let Some(oldest) = oldest_audit(batch) {
            let trim = sqlx::query("DELETE FROM audit WHERE id <= $1").bind(oldest.cast_signed());
            trim.execute(&mut *transaction).await?;
        }
        if let Some(oldest) = oldest_event(batch) {
            let trim = sqlx::query("DELETE FROM event WHERE id <= $1").bind(oldest.cast_signed());
            trim.execute(&mut *transaction).await?;
        }
        // After those that were lost: a machine may have another by now.
        let leases = latest_leases(batch);
        if !leases.is_empty() {
            // A rack that is powered on: hundreds of rows by one statement.
            let rows = serde_json::to_string(&leases)?;
            sqlx::query(LEASES_STATEMENT).bind(rows).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

type Statement = Query<'static, Sqlite, SqliteArguments>;

/// What writes a change; the leases have one statement together.
fn statement(write: &Write) -> anyhow::Result<Option<Statement>> {
    Ok(Some(match write {
        Write::Lease(_) => return Ok(None),
        Write::NoLease(mac) => sqlx::query("DELETE FROM lease WHERE mac = $1").bind(mac.to_string()),
        Write::Node(node) => sqlx::query("INSERT OR REPLACE INTO node (mac, object) VALUES ($1, $2)")
            .bind(node.mac.to_string())
            .bind(serde_json::to_string(node)?),
        Write::NoNode(mac) => sqlx::query("DELETE FROM node WHERE mac = $1").bind(mac.to_string()),
        Write::Line(mac, line) => sqlx::query("INSERT INTO line (mac, boot, object) VALUES ($1, $2, $3)")
            .bind(mac.to_string())
            .bind(line.boot.cast_signed())
            .bind(serde_json::to_string(line)?),
        Write::Trim(mac, boot) => sqlx::query("DELETE FROM line WHERE mac = $1 AND boot < $2")
            .bind(mac.to_string())
            .bind(boot.cast_signed()),
        Write::Swarm(object) => {
            sqlx::query("INSERT OR REPLACE INTO swarm (id, object) VALUES (1, $1)").bind(object.clone())
        }
        Write::NoStack(name) => sqlx::query("DELETE FROM stack WHERE name = $1").bind(name.clone()),
        Write::Rollout(object) => {
            sqlx::query("INSERT OR REPLACE INTO rollout (id, object) VALUES (1, $1)").bind(object.clone())
        }
        Write::Stack(stack) => sqlx::query("INSERT OR REPLACE INTO stack (name, object) VALUES ($1, $2)")
            .bind(stack.name.clone())
            .bind(serde_json::to_string(stack)?),
        _ => return access_statement(write).map(Some),
    }))
}

/// The same for tokens, accounts and the audit log.
fn access_statement(write: &Write) -> anyhow::Result<Statement> {
    Ok(match write {
        Write::Credential(credential) => {
            sqlx::query("INSERT OR REPLACE INTO credential (id, object) VALUES ($1, $2)")
                .bind(credential.view.id.clone())
                .bind(serde_json::to_string(credential)?)
        }
        Write::NoCredential(id) => sqlx::query("DELETE FROM credential WHERE id = $1").bind(id.clone()),
        Write::Account(account) => {
            sqlx::query("INSERT OR REPLACE INTO account (name, object) VALUES ($1, $2)")
                .bind(account.name.clone())
                .bind(serde_json::to_string(account)?)
        }
        Write::NoAccount(name) => sqlx::query("DELETE FROM account WHERE name = $1").bind(name.clone()),
        Write::UserData(mac, version) => {
            sqlx::query("INSERT INTO user_data (version, mac, object, text) VALUES ($1, $2, $3, $4)")
                .bind(version.0.version.cast_signed())
                .bind(mac.to_string())
                .bind(serde_json::to_string(&version.0)?)
                .bind(version.1.clone())
        }
        Write::Audit(line) => {
            sqlx::query(AUDIT_STATEMENT).bind(line.id.cast_signed()).bind(serde_json::to_string(line)?)
        }
        Write::Event(event) => sqlx::query("INSERT INTO event (id, object) VALUES ($1, $2)")
            .bind(event.id.cast_signed())
            .bind(serde_json::to_string(event)?),
        other => anyhow::bail!("{other:?} has no statement"),
    })
}

/// Writes the rows of a JSON array of arrays.
const LEASES_STATEMENT: &str = "INSERT OR REPLACE INTO lease (mac, address, until_ms) \
     SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each($1)";

/// The newest line of each node.
const LATEST_STATEMENT: &str =
    "SELECT mac, object FROM line WHERE id IN (SELECT max(id) FROM line GROUP BY mac)";

/// The lines of one boot.
pub(crate) const LINES_STATEMENT: &str = "SELECT object FROM line WHERE mac = $1 AND boot = $2 ORDER BY id";

const AUDIT_STATEMENT: &str = "INSERT INTO audit (id, object) VALUES ($1, $2)";

/// The newest line of the audit log that makes place for the batch's.
fn oldest_audit(batch: &[Write]) -> Option<u64> {
    let number = |write: &Write| if let Write::Audit(line) = write { Some(line.id) } else { None };
    batch.iter().filter_map(number).max()?.checked_sub(AUDIT_LIMIT)
}

/// The same for the events of the swarm.
fn oldest_event(batch: &[Write]) -> Option<u64> {
    let number = |write: &Write| if let Write::Event(event) = write { Some(event.id) } else { None };
    batch.iter().filter_map(number).max()?.checked_sub(EVENTS_LIMIT)
}

/// The leases of a batch as rows; of several for one machine the last counts, and none that it lost again.
fn latest_leases(batch: &[Write]) -> Vec<(String, String, i64)> {
    let mut leases = BTreeMap::new();
    for write in batch {
        match write {
            Write::Lease(lease) => drop(leases.insert(lease.mac, *lease)),
            Write::NoLease(mac) => drop(leases.remove(mac)),
            _ => {}
        }
    }
    let row = |lease: Lease| (lease.mac.to_string(), lease.address.to_string(), lease.until_ms.cast_signed());
    leases.into_values().map(row).collect()
}

/// What the store's file says, and what to do if its disk is full (SQLITE_FULL).
fn explain(error: sqlx::Error, path: &Path) -> anyhow::Error {
    let full =
        error.as_database_error().and_then(|database| database.code()).is_some_and(|code| code == "13");
    let path = path.display();
    if full {
        return anyhow::anyhow!(
            "the disk that holds {path} is full: make room there and start the head again"
        );
    }
    anyhow::Error::new(error).context(format!("writing the state {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_written_is_there_after_a_restart() {
        let directory = tempfile::tempdir().expect("a directory");
        let mac = Mac([0xb8, 0x27, 0xeb, 0, 0, 1]);
        let lease = Lease { mac, address: [10, 0, 0, 5].into(), until_ms: 77 };
        let store = Store::open(directory.path()).await.expect("opens");
        store.write(&[Write::Lease(lease), Write::Swarm("{}".to_owned())]).await.expect("writes");
        drop(store);
        let memory = Store::open(directory.path()).await.expect("opens").load().await.expect("loads");
        assert_eq!(memory.leases, [lease]);
        assert_eq!(memory.swarm.as_deref(), Some("{}"));
    }

    #[tokio::test]
    async fn a_store_of_the_first_schema_is_brought_to_the_newest_and_one_of_a_newer_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let options =
            SqliteConnectOptions::new().filename(directory.path().join(FILE)).create_if_missing(true);
        let pool = SqlitePoolOptions::new().connect_with(options).await.expect("opens");
        sqlx::raw_sql(MIGRATIONS[0]).execute(&pool).await.expect("the first schema");
        sqlx::raw_sql("PRAGMA user_version = 1; INSERT INTO swarm VALUES (1, '{}');")
            .execute(&pool)
            .await
            .expect("old");
        let store = Store::open(directory.path()).await.expect("migrates");
        store.write(&[Write::Rollout("{}".to_owned())]).await.expect("writes");
        let memory = store.load().await.expect("loads");
        assert_eq!((memory.swarm.as_deref(), memory.rollout.as_deref()), (Some("{}"), Some("{}")));
        sqlx::raw_sql("PRAGMA user_version = 99").execute(&pool).await.expect("a newer one");
        let refused = Store::open(directory.path()).await.expect_err("newer");
        assert!(refused.to_string().contains("newer fledermaus"), "{refused}");
    }
}
