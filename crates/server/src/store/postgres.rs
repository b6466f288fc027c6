//! The store in a database of PostgreSQL that is the head's alone.
//!
//! ```text
//!   connected, lock held ── write ──► committed: whoever waits is told
//!           ▲                 │ no answer, connection lost, server restarts
//!           │                 ▼
//!           └──── again and again, for PATIENCE; nobody is told meanwhile ────► the head ends
//! ```
//!
//! A session lock keeps a second head out; it outlives no session, so that whoever has it knows that nothing of an older session
//! is under way. Whether a commit was made that nobody answered is in the table `writer`.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::time::{Instant, sleep, timeout};

use super::connection::{Connection, Readers, Statement};

/// What makes each version of the schema from the one before; `writer.schema` says how many were carried out.
pub(super) const MIGRATIONS: [&str; 1] = [include_str!("postgres/schema.sql")];
/// How long a server may take to answer one statement.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How long a server may be away: a restart, or another that takes its place.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Connections that read for operators.
const READERS: u32 = 4;

/// For each session. A commit is on disk when it returns, whatever the database has as its default; and a head whose machine is
/// gone does not hold the lock for hours.
const SESSION: &str = "SELECT set_config('synchronous_commit', 'on', false) \
                       WHERE current_setting('synchronous_commit') = 'off'; \
                       SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;";
/// The number is any, and the same in all heads.
const LOCK: &str = "SELECT CAST(CAST(pg_try_advisory_lock(7377831) AS INT) AS BIGINT)";
/// Whether there is a schema.
const HAS_SCHEMA: &str = "SELECT count(*) FROM information_schema.tables \
                          WHERE table_schema = current_schema() AND table_name = 'writer'";

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    #[error("no answer within {} s", ANSWER_LIMIT.as_secs())]
    NoAnswer,
    #[error("another head serves with it")]
    Locked,
    #[error("another head served with it meanwhile, and may have given what this one gave")]
    Taken,
    #[error("it was written by a newer fledermaus (schema {0})")]
    Newer(i64),
}

impl Trouble {
    /// Whether trying again is of no use: by the first two characters of SQLSTATE (PostgreSQL's manual, appendix A).
    fn is_final(&self) -> bool {
        match self {
            Self::Sql(sqlx::Error::Database(error)) => {
                let code = error.code().unwrap_or_default();
                // Wrong data, broken constraint, no such user or wrong password, no such database or schema, no such table or no right.
                ["22", "23", "28", "3D", "3F", "42"].iter().any(|class| code.starts_with(class))
            }
            Self::Sql(sqlx::Error::Configuration(_) | sqlx::Error::Encode(_))
            | Self::Taken
            | Self::Newer(_) => true,
            Self::Sql(_) | Self::NoAnswer | Self::Locked => false,
        }
    }
}

/// The database, and this run's place in it.
pub(super) struct Database {
    options: PgConnectOptions,
    /// What is shown of it.
    name: String,
    /// Tells this run of a head from others.
    run: String,
    /// The number of the newest transaction.
    batch: u64,
    connection: Option<Connection>,
}

impl Database {
    /// Connects, keeps other heads out, and brings the schema to the newest.
    pub(super) async fn open(url: &str, password_file: Option<&Path>) -> anyhow::Result<Self> {
        let mut run = [0; 16];
        getrandom::fill(&mut run).map_err(|error| anyhow::anyhow!("no random number: {error}"))?;
        let (options, name, run) =
            (options(url, password_file)?, shown(url).to_owned(), u128::from_ne_bytes(run).to_string());
        let mut database = Self { options, name, run, batch: 0, connection: None };
        let mut patience = Patience::new(&database.name);
        loop {
            match database.begin().await {
                Ok(connection) => database.connection = Some(connection),
                Err(trouble) => patience.bear(trouble).await?,
            }
            if database.connection.is_some() {
                return Ok(database);
            }
        }
    }

    async fn begin(&self) -> Result<Connection, Trouble> {
        let mut connection = self.connect().await?;
        let mut done = 0;
        if answered(connection.number(HAS_SCHEMA)).await? > 0 {
            done = answered(connection.number("SELECT schema FROM writer")).await?;
        }
        let missing = usize::try_from(done).ok().and_then(|done| MIGRATIONS.get(done..));
        for (number, migration) in (done + 1..).zip(missing.ok_or(Trouble::Newer(done))?) {
            // Statements that are sent as one are one transaction.
            answered(connection.run(format!("{migration} UPDATE writer SET schema = {number};"))).await?;
        }
        let begun = Statement::new("UPDATE writer SET run = $1, batch = 0").text(&self.run);
        answered(connection.execute(&begun)).await?;
        Ok(connection)
    }

    /// Ways to read beside the one that writes.
    pub(super) fn readers(&self) -> Readers {
        let pool = PgPoolOptions::new().max_connections(READERS).acquire_timeout(ANSWER_LIMIT);
        Readers::Postgres(pool.connect_lazy_with(self.options.clone()))
    }

    /// The connection that was opened, for what is done before the head serves.
    pub(super) fn connection(&mut self) -> anyhow::Result<&mut Connection> {
        self.connection.as_mut().context("the connection to the database is lost")
    }

    /// What is shown of it: there is no password in it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Writes all or nothing, once; on the server's disk when this returns.
    pub(super) async fn write(&mut self, statements: &[Statement]) -> anyhow::Result<()> {
        self.batch += 1;
        let mut patience = Patience::new(&self.name);
        while let Err(trouble) = self.attempt(statements).await {
            patience.bear(trouble).await?;
        }
        patience.end();
        Ok(())
    }

    /// Whatever goes wrong: a connection that is in the midst of something is not used again.
    async fn attempt(&mut self, statements: &[Statement]) -> Result<(), Trouble> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let mut connection = self.connect().await?;
                if self.is_written(&mut connection).await? {
                    self.connection = Some(connection);
                    return Ok(());
                }
                connection
            }
        };
        answered(connection.run("BEGIN")).await?;
        for statement in statements {
            answered(connection.execute(statement)).await?;
        }
        answered(connection.execute(&Statement::new("UPDATE writer SET batch = $1").number(self.batch)))
            .await?;
        answered(connection.run("COMMIT")).await?;
        self.connection = Some(connection);
        Ok(())
    }

    /// Whether the newest transaction was made, though nobody said so.
    async fn is_written(&self, connection: &mut Connection) -> Result<bool, Trouble> {
        // The run is a number that we made.
        let newest = format!("SELECT CASE WHEN run = '{}' THEN batch ELSE -1 END FROM writer", self.run);
        match u64::try_from(answered(connection.number(newest)).await?) {
            Ok(batch) => Ok(batch == self.batch),
            Err(_) => Err(Trouble::Taken),
        }
    }

    async fn connect(&self) -> Result<Connection, Trouble> {
        let mut connection = Connection::Postgres(answered(self.options.connect()).await?);
        answered(connection.run(SESSION)).await?;
        match answered(connection.number(LOCK)).await? {
            0 => Err(Trouble::Locked),
            _ => Ok(connection),
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        // The options hold the password.
        f.debug_struct("Database")
            .field("name", &self.name)
            .field("batch", &self.batch)
            .finish_non_exhaustive()
    }
}

/// How long it is still tried, and whether somebody was told.
struct Patience {
    name: String,
    until: Instant,
    tries: u32,
}

impl Patience {
    /// Tries before the log has a line: one that a head left behind that was killed a moment ago needs none.
    const SILENT_TRIES: u32 = 3;

    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), until: Instant::now() + PATIENCE, tries: 0 }
    }

    /// Waits for the next try, or gives up.
    async fn bear(&mut self, trouble: Trouble) -> anyhow::Result<()> {
        let name = &self.name;
        if trouble.is_final() || Instant::now() >= self.until {
            return Err(anyhow::Error::new(trouble).context(format!("using the database {name}")));
        }
        self.tries += 1;
        if self.tries == Self::SILENT_TRIES {
            let left = self.until.saturating_duration_since(Instant::now()).as_secs();
            tracing::warn!(
                "the database {name} cannot be used: {trouble}; what changes waits for it, and in {left} s the head gives up"
            );
        }
        sleep(RETRY_PAUSE).await;
        Ok(())
    }

    fn end(&self) {
        if self.tries >= Self::SILENT_TRIES {
            tracing::info!("the database {} can be used again: what waited is written", self.name);
        }
    }
}

async fn answered<T>(asked: impl Future<Output = sqlx::Result<T>>) -> Result<T, Trouble> {
    Ok(timeout(ANSWER_LIMIT, asked).await.map_err(|_| Trouble::NoAnswer)??)
}

/// Connects to read all of a database as it is at one moment, whether a head serves with it or not.
pub(super) async fn open_read_only(url: &str, password_file: Option<&Path>) -> anyhow::Result<Connection> {
    let using = || format!("using the database {}", shown(url));
    let opened = answered(options(url, password_file)?.connect()).await;
    let mut connection = Connection::Postgres(opened.with_context(using)?);
    connection.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.with_context(using)?;
    let has_schema = connection.number(HAS_SCHEMA).await.with_context(using)?;
    anyhow::ensure!(has_schema > 0, "the database {} holds no head's state: name another", shown(url));
    let schema = connection.number("SELECT schema FROM writer").await.with_context(using)?;
    let known = i64::try_from(MIGRATIONS.len())?;
    anyhow::ensure!(
        schema == known,
        "the database {} has schema {schema}; this fledermaus knows {known}",
        shown(url)
    );
    Ok(connection)
}

fn options(url: &str, password_file: Option<&Path>) -> anyhow::Result<PgConnectOptions> {
    let mut options: PgConnectOptions =
        url.parse().with_context(|| format!("reading the address {}", shown(url)))?;
    if options.get_application_name().is_none() {
        options = options.application_name("fledermaus");
    }
    let Some(file) = password_file else { return Ok(options) };
    let password =
        std::fs::read_to_string(file).with_context(|| format!("reading the password {}", file.display()))?;
    Ok(options.password(password.trim_end_matches(['\r', '\n'])))
}

/// An address without its parameters, of which there may be many.
fn shown(url: &str) -> &str {
    url.split_once('?').map_or(url, |(shown, _)| shown)
}

#[cfg(test)]
mod tests;
