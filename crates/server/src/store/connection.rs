//! One connection to either kind of database, and the ways that only read. The statements are the same for both, but for how an array
//! in JSON becomes rows.

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{
    Arguments, AssertSqlSafe, Connection as _, Encode, FromRow, PgConnection, Pool, Postgres, Sqlite,
    SqliteConnection, Type,
};

/// A value of a statement.
#[derive(Clone, Debug)]
enum Value {
    Text(String),
    Number(i64),
}

/// One statement and its values, `$1` and so on.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    sql: String,
    values: Vec<Value>,
}

impl Statement {
    /// A statement of this program's own: nothing from outside is in its text.
    pub(super) fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), values: Vec::new() }
    }

    /// The next value.
    pub(super) fn text(mut self, text: impl ToString) -> Self {
        self.values.push(Value::Text(text.to_string()));
        self
    }

    /// The next value; databases know signed numbers only.
    pub(super) fn number(mut self, number: u64) -> Self {
        self.values.push(Value::Number(number.cast_signed()));
        self
    }

    fn arguments<A: Arguments>(&self) -> sqlx::Result<A>
    where
        for<'t> &'t str: Encode<'t, A::Database> + Type<A::Database>,
        for<'t> i64: Encode<'t, A::Database> + Type<A::Database>,
    {
        let mut arguments = A::default();
        for value in &self.values {
            match value {
                Value::Text(text) => arguments.add(text.as_str()),
                Value::Number(number) => arguments.add(*number),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok(arguments)
    }

    fn sql(&self) -> AssertSqlSafe<String> {
        AssertSqlSafe(self.sql.clone())
    }
}

/// How rows become JSON, and JSON rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// The rows `value` of the JSON array that is the statement's first value.
    pub(super) fn rows_of_array(self) -> &'static str {
        match self {
            Self::Sqlite => "json_each($1)",
            Self::Postgres => "json_array_elements(CAST($1 AS json))",
        }
    }

    /// A row as a JSON array.
    pub(super) fn array_of(self, columns: &str) -> String {
        match self {
            Self::Sqlite => format!("json_array({columns})"),
            Self::Postgres => format!("CAST(json_build_array({columns}) AS TEXT)"),
        }
    }
}

/// One connection.
#[derive(Debug)]
pub(super) enum Connection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Connection {
    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Carries out statements without values.
    pub(super) async fn run(&mut self, sql: impl Into<String>) -> sqlx::Result<()> {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.into()));
        match self {
            Self::Sqlite(connection) => sql.execute(connection).await.map(drop),
            Self::Postgres(connection) => sql.execute(connection).await.map(drop),
        }
    }

    /// Carries out a statement with its values.
    pub(super) async fn execute(&mut self, statement: &Statement) -> sqlx::Result<()> {
        match self {
            Self::Sqlite(connection) => {
                let query = sqlx::query_with(statement.sql(), statement.arguments::<SqliteArguments>()?);
                query.execute(connection).await.map(drop)
            }
            Self::Postgres(connection) => {
                let query = sqlx::query_with(statement.sql(), statement.arguments::<PgArguments>()?);
                query.execute(connection).await.map(drop)
            }
        }
    }

    /// Ends it, and waits until it is ended.
    pub(super) async fn close(self) -> sqlx::Result<()> {
        match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::Postgres(connection) => connection.close().await,
        }
    }

    /// The one number that a statement asks for.
    pub(super) async fn number(&mut self, sql: impl Into<String>) -> sqlx::Result<i64> {
        let sql = AssertSqlSafe(sql.into());
        match self {
            Self::Sqlite(connection) => sqlx::query_scalar(sql).fetch_one(connection).await,
            Self::Postgres(connection) => sqlx::query_scalar(sql).fetch_one(connection).await,
        }
    }

    /// The texts of the one column that a statement asks for, as they come.
    pub(super) fn texts(&mut self, sql: String) -> BoxStream<'_, sqlx::Result<String>> {
        let sql = AssertSqlSafe(sql);
        match self {
            Self::Sqlite(connection) => sqlx::query_scalar(sql).fetch(connection),
            Self::Postgres(connection) => sqlx::query_scalar(sql).fetch(connection),
        }
        .boxed()
    }
}

/// Connections that only read; clones share them.
#[derive(Clone, Debug)]
pub(super) enum Readers {
    Sqlite(Pool<Sqlite>),
    Postgres(Pool<Postgres>),
}

impl Readers {
    /// All rows that a statement asks for.
    pub(super) async fn rows<T>(&self, statement: Statement) -> sqlx::Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        match self {
            Self::Sqlite(pool) => {
                let query = sqlx::query_as_with(statement.sql(), statement.arguments::<SqliteArguments>()?);
                query.fetch_all(pool).await
            }
            Self::Postgres(pool) => {
                let query = sqlx::query_as_with(statement.sql(), statement.arguments::<PgArguments>()?);
                query.fetch_all(pool).await
            }
        }
    }
}
