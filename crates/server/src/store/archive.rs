//! What is read from the store while the head runs, because nobody keeps it in memory: the audit log, the swarm's events, old timelines, old
//! user data.
//!
//! Reads through a connection of its own: in WAL mode nobody who reads holds up who writes.

use cluster::Mac;
use cluster::view::{AuditLine, SwarmEvent, TimelineLine, UserDataVersion};
use sqlx::{Pool, Row, Sqlite};

/// The most lines of one answer.
pub(crate) const LINES_LIMIT: u32 = 1_000;

/// The way to what was written.
#[derive(Clone, Debug)]
pub(crate) struct Archive(pub(super) Pool<Sqlite>);

impl Archive {
    /// The newest lines of the audit log before a number, newest first.
    pub(crate) async fn audit(&self, before: Option<u64>, limit: u32) -> anyhow::Result<Vec<AuditLine>> {
        let before = before.map_or(i64::MAX, u64::cast_signed);
        let query = sqlx::query("SELECT object FROM audit WHERE id < $1 ORDER BY id DESC LIMIT $2");
        let rows = query.bind(before).bind(limit.min(LINES_LIMIT)).fetch_all(&self.0).await?;
        rows.into_iter().map(|row| Ok(serde_json::from_str(&row.try_get::<String, _>(0)?)?)).collect()
    }

    /// The newest events of the swarm before a number, newest first.
    pub(crate) async fn events(&self, before: Option<u64>, limit: u32) -> anyhow::Result<Vec<SwarmEvent>> {
        let before = before.map_or(i64::MAX, u64::cast_signed);
        let query = sqlx::query("SELECT object FROM event WHERE id < $1 ORDER BY id DESC LIMIT $2");
        let rows = query.bind(before).bind(limit.min(LINES_LIMIT)).fetch_all(&self.0).await?;
        rows.into_iter().map(|row| Ok(serde_json::from_str(&row.try_get::<String, _>(0)?)?)).collect()
    }

    /// The versions of a node's user data, newest first.
    pub(crate) async fn versions(&self, mac: Mac) -> anyhow::Result<Vec<UserDataVersion>> {
        let query = sqlx::query("SELECT object FROM user_data WHERE mac = $1 ORDER BY version DESC");
        let rows = query.bind(mac.to_string()).fetch_all(&self.0).await?;
        rows.into_iter().map(|row| Ok(serde_json::from_str(&row.try_get::<String, _>(0)?)?)).collect()
    }

    /// A node's timeline, oldest line first.
    pub(crate) async fn lines(&self, mac: Mac) -> anyhow::Result<Vec<TimelineLine>> {
        let query = sqlx::query("SELECT object FROM line WHERE mac = $1 ORDER BY id");
        let rows = query.bind(mac.to_string()).fetch_all(&self.0).await?;
        rows.into_iter().map(|row| Ok(serde_json::from_str(&row.try_get::<String, _>(0)?)?)).collect()
    }

    /// The lines of one boot of a node.
    pub(crate) async fn boot(&self, mac: Mac, boot: u64) -> anyhow::Result<Vec<TimelineLine>> {
        let query = sqlx::query(super::LINES_STATEMENT).bind(mac.to_string()).bind(boot.cast_signed());
        let rows = query.fetch_all(&self.0).await?;
        rows.into_iter().map(|row| Ok(serde_json::from_str(&row.try_get::<String, _>(0)?)?)).collect()
    }

    /// The text of one of them.
    pub(crate) async fn version(&self, mac: Mac, version: u64) -> anyhow::Result<Option<String>> {
        let query = sqlx::query("SELECT text FROM user_data WHERE mac = $1 AND version = $2");
        let row = query.bind(mac.to_string()).bind(version.cast_signed()).fetch_optional(&self.0).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }
}
