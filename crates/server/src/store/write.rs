//! The changes that the store takes, and the statements that write them.

use std::collections::BTreeMap;

use cluster::Mac;
use cluster::view::{AuditLine, SwarmEvent, TimelineLine, UserDataVersion};
use netboot::dhcp::Lease;
use serde::Serialize;

use super::connection::{Dialect, Statement};
use crate::access::{Account, Credential};
use crate::head::node::Remembered;
use crate::head::stack::Stack;
use crate::user_data::Owner;

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
    /// A node was forgotten: its lines and the versions of its own user data go too. The same board may come back as another node.
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
    /// A version of user data, and its text. The column `mac` has the owner.
    UserData(Owner, Box<(UserDataVersion, String)>),
    /// Somebody changed something.
    Audit(Box<AuditLine>),
    /// Something was decided about the swarm.
    Event(Box<SwarmEvent>),
}

/// What writes a batch: one transaction.
pub(super) fn statements(batch: &[Write], dialect: Dialect) -> anyhow::Result<Vec<Statement>> {
    let mut statements = Vec::with_capacity(batch.len());
    for write in batch {
        statements.extend(of_change(write)?);
    }
    let newest_audit = |write: &Write| if let Write::Audit(line) = write { Some(line.id) } else { None };
    if let Some(oldest) =
        batch.iter().filter_map(newest_audit).max().and_then(|id| id.checked_sub(AUDIT_LIMIT))
    {
        statements.push(Statement::new("DELETE FROM audit WHERE id <= $1").number(oldest));
    }
    let newest_event = |write: &Write| if let Write::Event(event) = write { Some(event.id) } else { None };
    if let Some(oldest) =
        batch.iter().filter_map(newest_event).max().and_then(|id| id.checked_sub(EVENTS_LIMIT))
    {
        statements.push(Statement::new("DELETE FROM event WHERE id <= $1").number(oldest));
    }
    // After those that were lost: a machine may have another by now.
    let leases = latest_leases(batch);
    if !leases.is_empty() {
        // A rack that is powered on: hundreds of rows by one statement.
        let sql = format!(
            "INSERT INTO lease (mac, address, until_ms) \
             SELECT value ->> 0, value ->> 1, CAST(value ->> 2 AS BIGINT) FROM {} WHERE true \
             ON CONFLICT (mac) DO UPDATE SET address = excluded.address, until_ms = excluded.until_ms",
            dialect.rows_of_array()
        );
        statements.push(Statement::new(sql).text(serde_json::to_string(&leases)?));
    }
    Ok(statements)
}

/// What writes a change; the leases have one statement together.
fn of_change(write: &Write) -> anyhow::Result<Vec<Statement>> {
    Ok(vec![match write {
        Write::Lease(_) => return Ok(Vec::new()),
        Write::NoLease(mac) => delete("lease", "mac").text(mac),
        Write::Node(node) => replace("node", "mac").text(node.mac).text(json(node)?),
        Write::NoNode(mac) => {
            return Ok(["node", "line", "user_data"].map(|table| delete(table, "mac").text(mac)).into());
        }
        Write::Line(mac, line) => Statement::new("INSERT INTO line (mac, boot, object) VALUES ($1, $2, $3)")
            .text(mac)
            .number(line.boot)
            .text(json(line)?),
        Write::Trim(mac, boot) => {
            Statement::new("DELETE FROM line WHERE mac = $1 AND boot < $2").text(mac).number(*boot)
        }
        Write::Swarm(object) => replace("swarm", "id").number(1).text(object),
        Write::Stack(stack) => replace("stack", "name").text(&stack.name).text(json(stack)?),
        Write::NoStack(name) => delete("stack", "name").text(name),
        Write::Rollout(object) => replace("rollout", "id").number(1).text(object),
        Write::Credential(credential) => {
            replace("credential", "id").text(&credential.view.id).text(json(credential)?)
        }
        Write::NoCredential(id) => delete("credential", "id").text(id),
        Write::Account(account) => replace("account", "name").text(&account.name).text(json(account)?),
        Write::NoAccount(name) => delete("account", "name").text(name),
        Write::UserData(owner, version) => {
            Statement::new("INSERT INTO user_data (version, mac, object, text) VALUES ($1, $2, $3, $4)")
                .number(version.0.version)
                .text(owner)
                .text(json(&version.0)?)
                .text(&version.1)
        }
        Write::Audit(line) => add("audit").number(line.id).text(json(line)?),
        Write::Event(event) => add("event").number(event.id).text(json(event)?),
    }])
}

fn json(object: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string(object)
}

fn add(table: &str) -> Statement {
    Statement::new(format!("INSERT INTO {table} (id, object) VALUES ($1, $2)"))
}

fn replace(table: &str, key: &str) -> Statement {
    Statement::new(format!(
        "INSERT INTO {table} ({key}, object) VALUES ($1, $2) ON CONFLICT ({key}) DO UPDATE SET object = excluded.object"
    ))
}

fn delete(table: &str, key: &str) -> Statement {
    Statement::new(format!("DELETE FROM {table} WHERE {key} = $1"))
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
