//! The image lies in an object store: the head fetches it from a real S3 server and serves it, and says what is wrong with its key.

use std::fs;
use std::path::{Path, PathBuf};

use depot::{Access, Key};

use crate::room::image;
use crate::room::{Furniture, KERNEL, Room, is_outside};
use crate::s3::{self, Server};

/// A key, and no endpoint: the configuration has that.
fn access(id: &str, secret: &str) -> Access {
    let key = Key { id: id.to_owned(), secret: secret.to_owned(), token: None };
    Access { endpoint: None, region: None, key: Some(key) }
}

/// What the client fetches from there.
fn fetched(room: &Room, url: &str) -> Vec<u8> {
    let mut curl = room.client("curl");
    let output = curl.args(["--silent", "--show-error", "--fail", url]).output().expect("curl");
    assert!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn a_head_serves_what_lies_in_a_store_and_says_what_is_wrong_with_its_key() {
    if is_outside("bucket::a_head_serves_what_lies_in_a_store_and_says_what_is_wrong_with_its_key") {
        return;
    }
    let room = Room::empty();
    let server = Server::start(&room.folder().join("store"));
    let right = access(s3::KEY, s3::SECRET);
    let lines = format!(
        "[image]\nurl = \"s3://{}/lab/trixie\"\nendpoint = \"http://127.0.0.1:{}\"\n",
        s3::BUCKET,
        server.port
    );
    let folder = image::write(room.folder());
    let place = format!("s3://{}/lab/trixie", s3::BUCKET).parse().expect("a place");
    let endpoint = Some(format!("http://127.0.0.1:{}", server.port));
    let pushing = Access { endpoint, ..right.clone() };
    depot::push(&folder, &place, &pushing, &room.folder().join("uploads"), &mut |_, _| {}).expect("pushed");
    fs::remove_dir_all(&folder).expect("removed: the store alone has it");

    let wrong = access(s3::KEY, "tr0mbone");
    for (access, remedy) in [
        (&wrong, "AWS_SECRET_ACCESS_KEY is wrong"),
        (&access("stranger", s3::SECRET), "AWS_ACCESS_KEY_ID"),
        (&Access::default(), "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    ] {
        let said = room.refusal(&Furniture { image: Some((&lines, access)), ..Furniture::default() });
        assert!(said.contains("s3://images/lab/trixie") && said.contains(remedy), "{said}");
        assert!(!said.contains("tr0mbone") && !said.contains(s3::SECRET), "{said}");
        assert!(!has_a_copy(room.folder()), "nothing half fetched is taken for an image");
    }

    room.serve(&Furniture { image: Some((&lines, &right)), ..Furniture::default() });
    room.at_client("ip", "address add 10.78.0.9/24 dev node0");
    assert!(fetched(&room, &image::SYSTEM.url()) == image::SYSTEM.content());
    assert!(fetched(&room, &format!("tftp://10.78.0.1/{}", KERNEL.path())) == KERNEL.content());
    assert!(has_a_copy(room.folder()));
}

/// Whether the head keeps an image of the store's: a folder for each store, in it one for each image.
fn has_a_copy(room: &Path) -> bool {
    let inside = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let stores = inside(&room.join("state/images"));
    stores.iter().flat_map(|store| inside(store)).any(|image| image.join("SHA256SUMS").exists())
}
