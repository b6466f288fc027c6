//! Files of older and newer heads.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::config::Place;
use crate::store::{Store, Write};

#[tokio::test]
async fn a_store_of_the_first_schema_is_brought_to_the_newest_and_one_of_a_newer_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new().filename(directory.path().join(FILE)).create_if_missing(true);
    let mut old = Connection::Sqlite(connect(&options).await.unwrap());
    old.run(MIGRATIONS[0]).await.unwrap();
    old.run("PRAGMA user_version = 1; INSERT INTO swarm VALUES (1, '{}');").await.unwrap();
    let mut store = Store::open(directory.path(), &Place::File).await.unwrap();
    store.write(&[Write::Rollout("{}".to_owned())]).await.unwrap();
    let memory = store.load().await.unwrap();
    assert_eq!((memory.swarm.as_deref(), memory.rollout.as_deref()), (Some("{}"), Some("{}")));
    old.run("PRAGMA user_version = 99").await.unwrap();
    let refused = Store::open(directory.path(), &Place::File).await.unwrap_err().to_string();
    assert!(refused.contains("newer fledermaus"), "{refused}");
}
