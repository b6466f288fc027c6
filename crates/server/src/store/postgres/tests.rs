//! A database that goes away and comes back, one that another head uses, and one that cannot be used.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::store::Store;
use crate::store::connection::Dialect;
use crate::store::tests::server::{PASSWORD, Postgres};
use crate::store::tests::{lease, line, place};
use crate::store::write::statements;
use cluster::Mac;

const MAC: Mac = Mac([0xb8, 0x27, 0xeb, 0, 0, 1]);

async fn open(server: &Postgres) -> anyhow::Result<Database> {
    Database::open(&server.url("postgres"), Some(&server.password_file())).await
}

/// Connections that end and a server that is started again while it writes: each batch is there, and once.
#[tokio::test]
async fn what_is_written_while_the_server_goes_away_and_comes_back_is_written_once() {
    let mut server = Postgres::start();
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path(), &place(&server, "postgres")).await.unwrap();
    store.write(&[line(1, "before")]).await.unwrap();
    server.sql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'");
    store.write(&[line(1, "after its end")]).await.unwrap();

    server.crash();
    let (told, mut written) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(async move {
        store.write(&[line(1, "while it was away"), lease(MAC, 5)]).await.unwrap();
        let _ = told.send(());
        store
    });
    // It tries, and nobody is told while the server is not there.
    let early = timeout(Duration::from_millis(700), &mut written).await;
    assert!(early.is_err(), "told, and the server was away");
    let restarted = tokio::task::spawn_blocking(move || {
        server.restart();
        server
    });
    let _server = restarted.await.unwrap();
    written.await.unwrap();
    let store = task.await.unwrap();
    let lines = store.archive().lines(MAC).await.unwrap();
    let details: Vec<_> = lines.iter().map(|line| line.detail.as_str()).collect();
    assert_eq!(details, ["before", "after its end", "while it was away"]);
    assert_eq!(store.load().await.unwrap().leases.len(), 1);
}

#[tokio::test]
async fn a_commit_that_nobody_answered_is_not_made_again() {
    let server = Postgres::start();
    let mut database = open(&server).await.unwrap();
    let batch = statements(&[line(1, "once")], Dialect::Postgres).unwrap();
    database.write(&batch).await.unwrap();
    // As after a connection that was lost between the commit and its answer.
    (database.batch, database.connection) = (database.batch - 1, None);
    database.write(&batch).await.unwrap();
    assert_eq!(server.sql("postgres", "SELECT count(*) FROM line"), "1");
    database.write(&batch).await.unwrap();
    assert_eq!(server.sql("postgres", "SELECT count(*) FROM line"), "2", "the next is another");
}

#[tokio::test]
async fn one_head_at_a_time_and_the_first_notices_that_another_was_there() {
    let server = Postgres::start();
    let mut first = open(&server).await.unwrap();
    let second = Database { run: "2".to_owned(), ..open_unused(&server, &first) };
    let refused = second.begin().await.unwrap_err();
    assert!(matches!(refused, Trouble::Locked), "{refused}");
    let batch = statements(&[line(1, "of the first")], Dialect::Postgres).unwrap();
    first.write(&batch).await.unwrap();

    first.connection = None;
    let mut patience = Patience::new("x");
    let connection = loop {
        match second.begin().await {
            Ok(connection) => break connection,
            // The server may not know yet that the first is gone.
            Err(trouble) => patience.bear(trouble).await.unwrap(),
        }
    };
    assert!(matches!(first.attempt(&batch).await, Err(Trouble::Locked)));
    connection.close().await.unwrap();
    let error = format!("{:#}", first.write(&batch).await.unwrap_err());
    assert!(error.contains("another head served with it meanwhile"), "{error}");
    assert_eq!(server.sql("postgres", "SELECT count(*) FROM line"), "1");
}

fn open_unused(server: &Postgres, like: &Database) -> Database {
    let options = options(&server.url("postgres"), Some(&server.password_file())).unwrap();
    Database { options, name: like.name.clone(), run: String::new(), batch: 0, connection: None }
}

/// What trying again does not mend is said at once, and without the password.
#[tokio::test]
async fn a_database_that_cannot_be_used_is_an_error_that_says_why() {
    let server = Postgres::start();
    let wrong = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(wrong.path(), "swordfish-of-another").unwrap();
    server.sql("postgres", "CREATE ROLE guest LOGIN PASSWORD 'swordfish-of-another'");
    server.sql("postgres", "CREATE DATABASE newer");
    open_and_close(&server, "newer").await;
    server.sql("newer", "UPDATE writer SET schema = 99");
    server.sql("postgres", "CREATE DATABASE foreign_one");
    server.sql("foreign_one", "CREATE TABLE node (x INT)");
    let guest = server.url("postgres").replace("user=fledermaus", "user=guest");
    for (url, password_file, words) in [
        (server.url("postgres"), wrong.path(), "password authentication failed"),
        (server.url("nowhere"), &server.password_file(), "database \"nowhere\" does not exist"),
        (server.url("newer"), &server.password_file(), "newer fledermaus (schema 99)"),
        (server.url("foreign_one"), &server.password_file(), "relation \"node\" already exists"),
        (guest, wrong.path(), "permission denied"),
        (server.url("postgres"), Path::new("/nowhere"), "reading the password /nowhere"),
    ] {
        let error = timeout(PATIENCE / 2, Database::open(&url, Some(password_file))).await.expect("at once");
        let error = error.unwrap_err();
        assert!(format!("{error:#}").contains(words), "{words}: {error:#}");
        assert!(!format!("{error:#} {error:?}").contains("swordfish"), "{error:?}");
    }
    let database = open(&server).await.unwrap();
    assert!(!format!("{database:?}").contains(PASSWORD));
}

async fn open_and_close(server: &Postgres, name: &str) {
    let mut database = Database::open(&server.url(name), Some(&server.password_file())).await.unwrap();
    database.connection.take().unwrap().close().await.unwrap();
}

/// Whoever made the database faster than safe: a commit is on the disk all the same.
#[tokio::test]
async fn a_commit_waits_for_the_disk_whatever_the_database_has_as_its_default() {
    let server = Postgres::start();
    server.sql("postgres", "ALTER DATABASE postgres SET synchronous_commit = off");
    let mut database = open(&server).await.unwrap();
    let is_on = "SELECT count(*) WHERE current_setting('synchronous_commit') = 'on'";
    assert_eq!(database.connection().unwrap().number(is_on).await.unwrap(), 1);
}
