//! The store in a file of the state directory: SQLite in WAL mode with `synchronous = FULL`, so that a commit is on disk when it returns.

use std::path::{Path, PathBuf};

use anyhow::Context;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection};

use super::connection::{Connection, Readers, Statement};

/// The file in the state directory.
pub(crate) const FILE: &str = "state.sqlite";
/// What makes each version of the schema from the one before. How many were carried out is in `PRAGMA user_version`.
pub(super) const MIGRATIONS: [&str; 5] = [
    include_str!("sqlite/schema.sql"),
    include_str!("sqlite/rollout.sql"),
    include_str!("sqlite/access.sql"),
    include_str!("sqlite/user_data.sql"),
    include_str!("sqlite/event.sql"),
];

/// The open file.
#[derive(Debug)]
pub(super) struct File {
    connection: Connection,
    path: PathBuf,
}

impl File {
    /// Opens the file, making it if it is not there.
    pub(super) async fn open(directory: &Path) -> anyhow::Result<Self> {
        let path = directory.join(FILE);
        let connection = connect(&options(&path).create_if_missing(true)).await;
        let connection = connection.with_context(|| format!("opening the state {}", path.display()))?;
        let mut file = Self { connection: Connection::Sqlite(connection), path };
        let done = schema(&mut file.connection).await?;
        let Some(missing) = usize::try_from(done).ok().and_then(|done| MIGRATIONS.get(done..)) else {
            anyhow::bail!("{} was written by a newer fledermaus (schema {done})", file.path.display());
        };
        for (number, migration) in (done + 1..).zip(missing) {
            // All or nothing: a full disk leaves a file that the next start can begin with.
            let whole = format!("BEGIN; {migration} PRAGMA user_version = {number}; COMMIT;");
            let made = file.connection.run(whole).await;
            made.map_err(|error| file.explain(error))?;
        }
        Ok(file)
    }

    /// Ways to read beside the one that writes.
    pub(super) fn readers(&self) -> Readers {
        let options = options(&self.path).read_only(true);
        Readers::Sqlite(SqlitePoolOptions::new().max_connections(1).connect_lazy_with(options))
    }

    /// The connection, for what is done before the head serves.
    pub(super) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Leaves one whole file behind.
    pub(super) async fn close(self) -> sqlx::Result<()> {
        self.connection.close().await
    }

    /// Writes all or nothing; on disk when this returns.
    pub(super) async fn write(&mut self, statements: &[Statement]) -> anyhow::Result<()> {
        let written = self.transact(statements).await;
        if written.is_err() {
            // What is left of it would go to the disk with the next.
            let _ = self.connection.run("ROLLBACK").await;
        }
        written.map_err(|error| self.explain(error))
    }

    async fn transact(&mut self, statements: &[Statement]) -> sqlx::Result<()> {
        self.connection.run("BEGIN").await?;
        for statement in statements {
            self.connection.execute(statement).await?;
        }
        self.connection.run("COMMIT").await
    }

    /// What the file says, and what to do if its disk is full (SQLITE_FULL).
    fn explain(&self, error: sqlx::Error) -> anyhow::Error {
        let full =
            error.as_database_error().and_then(|database| database.code()).is_some_and(|code| code == "13");
        let path = self.path.display();
        if full {
            return anyhow::anyhow!(
                "the disk that holds {path} is full: make room there and start the head again"
            );
        }
        anyhow::Error::new(error).context(format!("writing the state {path}"))
    }
}

/// Opens a file that is there, to read it.
pub(super) async fn open_read_only(path: &Path) -> anyhow::Result<Connection> {
    let opened = connect(&SqliteConnectOptions::new().filename(path).read_only(true)).await;
    let connection = opened.with_context(|| format!("opening the state {}", path.display()))?;
    Ok(Connection::Sqlite(connection))
}

/// Makes an empty file a store of the newest schema that is one file only: without a log beside it.
pub(super) async fn create(path: &Path) -> anyhow::Result<Connection> {
    let opened = connect(&SqliteConnectOptions::new().filename(path)).await;
    let mut connection = Connection::Sqlite(opened.with_context(|| format!("writing {}", path.display()))?);
    let (schema, number) = (MIGRATIONS.concat(), MIGRATIONS.len());
    connection.run(format!("{schema} PRAGMA user_version = {number};")).await?;
    Ok(connection)
}

/// The number of a file's schema.
pub(super) async fn schema(connection: &mut Connection) -> sqlx::Result<i64> {
    connection.number("PRAGMA user_version").await
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
}

async fn connect(options: &SqliteConnectOptions) -> sqlx::Result<SqliteConnection> {
    options.connect().await
}

#[cfg(test)]
mod tests;
