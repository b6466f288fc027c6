//! The store's rows: from and to what the head speaks of. Values are bound, never pasted into SQL.

use std::fmt::Display;
use std::str::FromStr;

use anyhow::Context;
use serde::de::DeserializeOwned;
use sqlx::SqliteConnection;

use super::{Change, Memory, NodeRow};
use netboot::dhcp::Lease;

pub(super) async fn read(connection: &mut SqliteConnection) -> anyhow::Result<Memory> {
    let mut memory = Memory::default();
    let nodes: Vec<(String, String, bool, String)> =
        sqlx::query_as("SELECT mac, name, discovered, life FROM nodes").fetch_all(&mut *connection).await?;
    for (mac, name, discovered, life) in nodes {
        let (mac, name, life) = (text(&mac)?, text(&name)?, document(&life)?);
        memory.nodes.push(NodeRow { mac, name, discovered, life });
    }
    let leases: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT mac, address, until_ms FROM leases").fetch_all(&mut *connection).await?;
    for (mac, address, until_ms) in leases {
        let until_ms = until_ms.cast_unsigned();
        memory.leases.push(Lease { mac: text(&mac)?, address: text(&address)?, until_ms });
    }
    let lines: Vec<(String, i64, String)> =
        sqlx::query_as("SELECT mac, number, line FROM timelines ORDER BY mac, number")
            .fetch_all(&mut *connection)
            .await?;
    for (mac, number, line) in lines {
        memory.lines.push((text(&mac)?, number.cast_unsigned(), document(&line)?));
    }
    let stacks: Vec<(String, String)> =
        sqlx::query_as("SELECT name, stack FROM stacks").fetch_all(&mut *connection).await?;
    for (name, stack) in stacks {
        memory.stacks.push((name, document(&stack)?));
    }
    let swarm: Option<(String,)> =
        sqlx::query_as("SELECT known FROM swarm").fetch_optional(&mut *connection).await?;
    memory.swarm = swarm.map(|(known,)| document(&known)).transpose()?;
    Ok(memory)
}

/// A change is one or two statements.
pub(super) async fn write(connection: &mut SqliteConnection, change: &Change) -> anyhow::Result<()> {
    match change {
        Change::Node(NodeRow { mac, name, discovered, life }) => {
            let sql = "INSERT OR REPLACE INTO nodes (mac, name, discovered, life) VALUES ($1, $2, $3, $4)";
            let query = sqlx::query(sql).bind(mac.to_string()).bind(name.as_str()).bind(*discovered);
            query.bind(serde_json::to_string(life)?).execute(connection).await?;
        }
        Change::NoNode(mac) => {
            for sql in ["DELETE FROM nodes WHERE mac = $1", "DELETE FROM timelines WHERE mac = $1"] {
                sqlx::query(sql).bind(mac.to_string()).execute(&mut *connection).await?;
            }
        }
        Change::Lease(Lease { mac, address, until_ms }) => {
            // REPLACE drops the row of another machine that had the address, as the leases in memory do.
            let sql = "INSERT OR REPLACE INTO leases (mac, address, until_ms) VALUES ($1, $2, $3)";
            let query = sqlx::query(sql).bind(mac.to_string()).bind(address.to_string());
            query.bind(until_ms.cast_signed()).execute(connection).await?;
        }
        Change::NoLease(mac) => {
            let sql = "DELETE FROM leases WHERE mac = $1";
            sqlx::query(sql).bind(mac.to_string()).execute(connection).await?;
        }
        Change::Line(mac, number, line) => {
            let sql = "INSERT OR REPLACE INTO timelines (mac, number, line) VALUES ($1, $2, $3)";
            let query = sqlx::query(sql).bind(mac.to_string()).bind(number.cast_signed());
            query.bind(serde_json::to_string(line)?).execute(connection).await?;
        }
        Change::LinesBefore(mac, number) => {
            let sql = "DELETE FROM timelines WHERE mac = $1 AND number < $2";
            sqlx::query(sql).bind(mac.to_string()).bind(number.cast_signed()).execute(connection).await?;
        }
        Change::Stack(name, stack) => {
            let sql = "INSERT OR REPLACE INTO stacks (name, stack) VALUES ($1, $2)";
            sqlx::query(sql).bind(name).bind(serde_json::to_string(stack)?).execute(connection).await?;
        }
        Change::Swarm(known) => {
            let sql = "INSERT OR REPLACE INTO swarm (id, known) VALUES (1, $1)";
            sqlx::query(sql).bind(serde_json::to_string(known)?).execute(connection).await?;
        }
    }
    Ok(())
}

fn text<T: FromStr<Err: Display>>(value: &str) -> anyhow::Result<T> {
    value.parse().map_err(|error| anyhow::anyhow!("reading `{value}`: {error}"))
}

fn document<T: DeserializeOwned>(value: &str) -> anyhow::Result<T> {
    serde_json::from_str(value).context("reading a document of the store")
}
