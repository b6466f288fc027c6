//! The state as one file: written for a backup, and looked at before it takes a head's place.

use std::path::Path;

use anyhow::Context;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{Pool, Row, Sqlite};

use super::{FILE, MIGRATIONS};

/// Writes the state as it is now to `out`, an empty file, whether a head serves with it or not. How many nodes it knows.
pub(crate) async fn snapshot(directory: &Path, out: &Path) -> anyhow::Result<u64> {
    let path = directory.join(FILE);
    anyhow::ensure!(path.exists(), "{} holds no head's state: name another --state-dir", directory.display());
    let reading = || format!("reading the state {}", path.display());
    let options = SqliteConnectOptions::new().filename(&path).read_only(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await;
    let pool = pool.with_context(reading)?;
    let out = out.to_str().context("the backup's path is no text")?;
    sqlx::query("VACUUM INTO $1").bind(out.to_owned()).execute(&pool).await.with_context(reading)?;
    count_nodes(&pool).await
}

/// Finds out whether the state in a directory is sound and can be read by this program. How many nodes it knows.
pub(crate) async fn check(directory: &Path) -> anyhow::Result<u64> {
    let options = SqliteConnectOptions::new().filename(directory.join(FILE));
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await;
    let pool = pool.context("opening the backup's state")?;
    let verdict: String = sqlx::query("PRAGMA integrity_check").fetch_one(&pool).await?.try_get(0)?;
    anyhow::ensure!(verdict == "ok", "the backup's state is damaged: {verdict}");
    let version: i64 = sqlx::query("PRAGMA user_version").fetch_one(&pool).await?.try_get(0)?;
    let known = 1..=i64::try_from(MIGRATIONS.len())?;
    anyhow::ensure!(
        known.contains(&version),
        "the backup's state has schema {version}; this fledermaus knows {known:?}"
    );
    let count = count_nodes(&pool).await;
    pool.close().await;
    count
}

async fn count_nodes(pool: &Pool<Sqlite>) -> anyhow::Result<u64> {
    let count: i64 = sqlx::query("SELECT count(*) FROM node").fetch_one(pool).await?.try_get(0)?;
    Ok(count.cast_unsigned())
}
