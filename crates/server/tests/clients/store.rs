//! A head whose state is in a database: a real client's lease is there before it is told, and the database may go away and come back.

use std::fs::{self, File};

use super::dhcp::{address, become_machine, equip, forget, udhcpc};
use crate::room::postgres::Postgres;
use crate::room::{Furniture, Room, Started, is_outside, wait};

#[test]
fn a_database_that_goes_away_loses_no_lease_and_holds_up_no_names() {
    if is_outside("store::a_database_that_goes_away_loses_no_lease_and_holds_up_no_names") {
        return;
    }
    let mut postgres = Postgres::start();
    let (url, password) = (postgres.url("postgres"), postgres.password_file());
    let store = format!("[store]\nurl = \"{url}\"\npassword_file = \"{}\"\n", password.display());
    let room = Room::furnish(&Furniture { nodes: &[("node1", 11)], boot: &store, ..Furniture::default() });
    become_machine(&room, "b8:27:eb:00:00:0b");
    equip(&room);
    let leased = "SELECT mac, address FROM lease ORDER BY mac";
    let first = Started::new(&mut udhcpc(&room));
    assert_eq!(address(&room), "10.78.0.11");
    assert_eq!(
        postgres.sql("postgres", leased),
        "b8:27:eb:00:00:0b|10.78.0.11",
        "before the client was told"
    );
    drop(first);

    postgres.crash();
    let names = room.at_client("dig", "+short +tries=1 +time=9 @10.78.0.1 node1.cluster.test");
    assert_eq!(names.trim(), "10.78.0.11", "what the head knows it says");
    // Another machine: it is offered an address, and not told that it has it.
    forget(&room);
    become_machine(&room, "b8:27:eb:00:00:0c");
    let says = room.folder().join("says");
    let mut udhcpc = udhcpc(&room);
    udhcpc.stderr(File::create(&says).expect("a file"));
    let _second = Started::new(&mut udhcpc);
    wait("a second request", || {
        fs::read_to_string(&says).is_ok_and(|text| text.matches("broadcasting select for").count() > 1)
    });
    assert!(!room.folder().join("told").exists() || !said_bound(&room), "told, and nothing has it");

    postgres.restart();
    let second = address(&room);
    let both = format!("b8:27:eb:00:00:0b|10.78.0.11\nb8:27:eb:00:00:0c|{second}");
    assert_eq!(postgres.sql("postgres", leased), both);
}

fn said_bound(room: &Room) -> bool {
    fs::read_to_string(room.folder().join("told")).is_ok_and(|text| text.contains("event=bound"))
}
