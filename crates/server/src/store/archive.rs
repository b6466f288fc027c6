//! What is read from the store while the head runs, because nobody keeps it in memory: the audit log, the swarm's events, old timelines, old
//! user data.
//!
//! Reads through connections of its own: nobody who reads holds up who writes.

use cluster::Mac;
use cluster::view::{AuditLine, SwarmEvent, TimelineLine, UserDataVersion};
use serde::de::DeserializeOwned;

use super::connection::{Readers, Statement};
use crate::user_data::Owner;

/// The most lines of one answer.
pub(crate) const LINES_LIMIT: u32 = 1_000;

/// The way to what was written.
#[derive(Clone, Debug)]
pub(crate) struct Archive(pub(super) Readers);

impl Archive {
    /// The newest lines of the audit log before a number, newest first.
    pub(crate) async fn audit(&self, before: Option<u64>, limit: u32) -> anyhow::Result<Vec<AuditLine>> {
        self.newest("SELECT object FROM audit WHERE id < $1 ORDER BY id DESC LIMIT $2", before, limit).await
    }

    /// The newest events of the swarm before a number, newest first.
    pub(crate) async fn events(&self, before: Option<u64>, limit: u32) -> anyhow::Result<Vec<SwarmEvent>> {
        self.newest("SELECT object FROM event WHERE id < $1 ORDER BY id DESC LIMIT $2", before, limit).await
    }

    /// The versions of user data, newest first.
    pub(crate) async fn versions(&self, owner: &Owner) -> anyhow::Result<Vec<UserDataVersion>> {
        let statement = "SELECT object FROM user_data WHERE mac = $1 ORDER BY version DESC";
        self.objects(Statement::new(statement).text(owner)).await
    }

    /// A node's timeline, oldest line first.
    pub(crate) async fn lines(&self, mac: Mac) -> anyhow::Result<Vec<TimelineLine>> {
        self.objects(Statement::new("SELECT object FROM line WHERE mac = $1 ORDER BY id").text(mac)).await
    }

    /// The lines of one boot of a node.
    pub(crate) async fn boot(&self, mac: Mac, boot: u64) -> anyhow::Result<Vec<TimelineLine>> {
        let statement = "SELECT object FROM line WHERE mac = $1 AND boot = $2 ORDER BY id";
        self.objects(Statement::new(statement).text(mac).number(boot)).await
    }

    /// The text of one of the versions.
    pub(crate) async fn version(&self, owner: &Owner, version: u64) -> anyhow::Result<Option<String>> {
        let statement = Statement::new("SELECT text FROM user_data WHERE mac = $1 AND version = $2");
        let rows: Vec<(String,)> = self.0.rows(statement.text(owner).number(version)).await?;
        Ok(rows.into_iter().next().map(|(text,)| text))
    }

    async fn newest<T: DeserializeOwned>(
        &self,
        sql: &str,
        before: Option<u64>,
        limit: u32,
    ) -> anyhow::Result<Vec<T>> {
        let before = before.unwrap_or(i64::MAX.cast_unsigned());
        self.objects(Statement::new(sql).number(before).number(limit.min(LINES_LIMIT).into())).await
    }

    /// The objects of a statement that asks for nothing else.
    pub(super) async fn objects<T: DeserializeOwned>(&self, statement: Statement) -> anyhow::Result<Vec<T>> {
        let rows: Vec<(String,)> = self.0.rows(statement).await?;
        rows.iter().map(|(object,)| Ok(serde_json::from_str(object)?)).collect()
    }
}
