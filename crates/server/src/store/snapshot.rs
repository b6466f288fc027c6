//! The state as one file of SQLite, whatever the store is: written for a backup, and looked at before it takes a head's place.

use std::path::Path;

use anyhow::Context;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use super::sqlite::{FILE, MIGRATIONS};
use super::{copy, postgres, sqlite};
use crate::config::Place;
use crate::store::connection::Statement;

/// Writes the state as it is now to `out`, an empty file, whether a head serves with it or not. How many nodes it knows.
pub(crate) async fn snapshot(directory: &Path, place: &Place, out: &Path) -> anyhow::Result<u64> {
    match place {
        Place::File => snapshot_of_file(directory, out).await,
        Place::Database { url, password_file } => {
            let mut database = postgres::open_read_only(url, password_file.as_deref()).await?;
            let mut file = sqlite::create(out).await?;
            copy::copy(&mut database, &mut file).await.context("copying the database")?;
            Ok(copy::count_nodes(&mut file).await?)
        }
    }
}

async fn snapshot_of_file(directory: &Path, out: &Path) -> anyhow::Result<u64> {
    let path = directory.join(FILE);
    anyhow::ensure!(path.exists(), "{} holds no head's state: name another --state-dir", directory.display());
    let reading = || format!("reading the state {}", path.display());
    let mut state = sqlite::open_read_only(&path).await?;
    let out = out.to_str().context("the backup's path is no text")?;
    state.execute(&Statement::new("VACUUM INTO $1").text(out)).await.with_context(reading)?;
    copy::count_nodes(&mut state).await.with_context(reading)
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
    let count: i64 = sqlx::query("SELECT count(*) FROM node").fetch_one(&pool).await?.try_get(0)?;
    pool.close().await;
    Ok(count.cast_unsigned())
}
