//! Up and down through a real S3 server that nobody here wrote, over wires that break.

mod server;
mod wire;

use std::fs;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use self::server::{BUCKET, KEY, SECRET, Server};
use self::wire::Wire;
use crate::push::push_at;
use crate::{Access, Fault, Key, Place, Pushed, cached, look, pull, push};

const MIB: usize = 1024 * 1024;
/// A system image of three parts.
const SYSTEM_BYTES: usize = 20 * MIB;

/// An image in a folder, a server with a bucket, and a place for what is remembered.
struct House {
    folder: tempfile::TempDir,
    server: Server,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Server::start(&folder.path().join("store"));
        let house = Self { folder, server };
        house.make_image(1);
        house
    }

    /// An image as the kitchen leaves it, as far as a store is concerned.
    fn make_image(&self, seed: u32) {
        let image = self.image();
        fs::create_dir_all(image.join("firmware")).expect("made");
        let mut sums = String::new();
        for (file, bytes) in [
            ("firmware/start.elf", 1000),
            ("kernel", MIB),
            ("manifest.json", 100),
            ("system.squashfs", SYSTEM_BYTES),
        ] {
            // The kernel stays the same from image to image.
            let seed = if file == "kernel" { 7 } else { seed };
            let content = noise(bytes, seed + bytes as u32);
            sums += &format!("{}  {file}\n", hex(&content));
            fs::write(image.join(file), content).expect("written");
        }
        fs::write(image.join("SHA256SUMS"), sums).expect("written");
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn access(&self) -> Access {
        access(self.server.port)
    }

    fn push(&self, access: &Access) -> anyhow::Result<Pushed> {
        push(&self.image(), &place(), access, &self.path("uploads"), &mut |_, _| {})
    }

    /// Where the server keeps the object of a file of the image.
    fn object(&self, file: &str) -> PathBuf {
        let sha256 = hex(&fs::read(self.image().join(file)).expect("read"));
        self.path("store").join(BUCKET).join("lab/trixie/objects").join(sha256)
    }
}

fn place() -> Place {
    format!("s3://{BUCKET}/lab/trixie").parse().expect("a place")
}

fn access(port: u16) -> Access {
    let key = Key { id: KEY.to_owned(), secret: SECRET.to_owned(), token: None };
    Access { endpoint: Some(format!("http://127.0.0.1:{port}")), region: None, key: Some(key) }
}

/// What does not compress and is the same every time (xorshift).
fn noise(bytes: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.max(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..bytes).map(|_| next()).collect()
}

fn hex(content: &[u8]) -> String {
    cluster::Digest(Sha256::digest(content).into()).to_string()
}

/// The files of an image's folder with their contents' digests.
fn contents(folder: &Path) -> Vec<(String, String)> {
    let files = ["SHA256SUMS", "firmware/start.elf", "kernel", "manifest.json", "system.squashfs"];
    files.iter().map(|file| ((*file).to_owned(), hex(&fs::read(folder.join(file)).expect(file)))).collect()
}

fn fault(error: &anyhow::Error) -> &Fault {
    error.downcast_ref().unwrap_or_else(|| panic!("{error:#}"))
}

#[test]
fn an_image_goes_up_and_comes_down() {
    let house = House::new();
    let access = house.access();
    let nothing = pull(&place(), &access, &house.path("none"), &mut |_, _| {}).expect_err("nothing there");
    assert!(matches!(fault(&nothing), Fault::NoImage { .. }), "{nothing:#}");

    let mut last = (0, 0);
    let told = &mut |done, total| {
        assert!(done >= last.0 && done <= total, "{done} of {total} after {last:?}");
        last = (done, total);
    };
    let first = push(&house.image(), &place(), &access, &house.path("uploads"), told).expect("pushed");
    let all = (SYSTEM_BYTES + MIB + 1100) as u64;
    assert_eq!((first.sent_bytes, first.kept_bytes, last), (all, 0, (all, all)));
    let id = pull(&place(), &access, &house.path("down"), &mut |_, _| {}).expect("pulled");
    assert_eq!((id, look(&place(), &access).expect("there")), (first.id, first.id));
    assert_eq!(contents(&house.path("down")), contents(&house.image()));

    let again = house.push(&access).expect("pushed");
    assert_eq!((again.sent_bytes, again.kept_bytes), (0, all), "what is there stays");
    house.make_image(2);
    let other = house.push(&access).expect("pushed");
    assert_eq!(other.kept_bytes, MIB as u64, "the kernel did not change");
    assert_ne!(other.id, first.id);
    pull(&place(), &access, &house.path("down"), &mut |_, _| {}).expect("pulled");
    assert_eq!(contents(&house.path("down")), contents(&house.image()));
}

#[test]
fn a_push_that_was_broken_off_goes_on() {
    let house = House::new();
    let wire = Wire::to(house.server.port);
    // The wire breaks in the second part of the system image and stays broken.
    wire.break_after_up(MIB + 12 * MIB);
    let error = house.push(&access(wire.port)).expect_err("the wire is broken");
    assert!(matches!(fault(&error), Fault::Unreachable { .. }), "{error:#}");
    let nothing =
        pull(&place(), &house.access(), &house.path("down"), &mut |_, _| {}).expect_err("half an image");
    assert!(matches!(fault(&nothing), Fault::NoImage { .. }), "{nothing:#}");

    wire.mend();
    let pushed = house.push(&access(wire.port)).expect("pushed");
    assert!(pushed.sent_bytes <= 13 * MIB as u64, "{pushed:?}: the first part was there");
    assert!(wire.up_bytes() < 14 * MIB, "{} bytes went over the wire", wire.up_bytes());
    pull(&place(), &house.access(), &house.path("down"), &mut |_, _| {}).expect("pulled");
    assert_eq!(contents(&house.path("down")), contents(&house.image()));
    assert_eq!(
        fs::read_dir(house.path("uploads")).expect("read").count(),
        0,
        "nothing is left to go on with"
    );
}

#[test]
fn a_store_that_forgot_an_upload_gets_it_anew() {
    let house = House::new();
    let wire = Wire::to(house.server.port);
    wire.break_after_up(MIB + 12 * MIB);
    house.push(&access(wire.port)).expect_err("the wire is broken");
    for entry in fs::read_dir(house.path("store")).expect("read").flatten() {
        if entry.file_name().to_string_lossy().contains("upload") {
            fs::remove_file(entry.path()).expect("removed");
        }
    }
    house.push(&house.access()).expect("pushed");
    pull(&place(), &house.access(), &house.path("down"), &mut |_, _| {}).expect("pulled");
}

#[test]
fn a_pull_that_was_broken_off_goes_on() {
    let house = House::new();
    house.push(&house.access()).expect("pushed");
    let wire = Wire::to(house.server.port);
    wire.break_after_down(12 * MIB);
    let error = pull(&place(), &access(wire.port), &house.path("down"), &mut |_, _| {}).expect_err("broken");
    assert!(matches!(fault(&error), Fault::Unreachable { .. }), "{error:#}");
    assert!(!house.path("down/system.squashfs").exists() && !house.path("down/SHA256SUMS").exists());
    wire.mend();
    pull(&place(), &access(wire.port), &house.path("down"), &mut |_, _| {}).expect("pulled");
    assert!(wire.down_bytes() < 12 * MIB, "{} bytes went over the wire", wire.down_bytes());
    assert_eq!(contents(&house.path("down")), contents(&house.image()));
}

#[test]
fn a_tampered_object_is_refused_and_named() {
    let house = House::new();
    house.push(&house.access()).expect("pushed");
    let object = house.object("system.squashfs");
    let mut content = fs::read(&object).expect("read");
    content[SYSTEM_BYTES / 2] ^= 1;
    fs::write(&object, content).expect("written");
    let error =
        cached(&place(), &house.access(), &house.path("cache"), &mut |_, _| {}).expect_err("tampered");
    let said = format!("{error:#}");
    assert!(said.contains("fetching system.squashfs of s3://") && said.contains("refusing it"), "{said}");
    fs::remove_file(&object).expect("removed");
    let said = format!(
        "{:#}",
        cached(&place(), &house.access(), &house.path("cache"), &mut |_, _| {}).expect_err("gone")
    );
    assert!(said.contains("system.squashfs") && said.contains("is gone"), "{said}");
    house.push(&house.access()).expect("pushed");
    cached(&place(), &house.access(), &house.path("cache"), &mut |_, _| {}).expect("mended");
}

#[test]
fn a_cache_serves_without_its_store_and_is_mended_with_it() {
    let house = House::new();
    house.push(&house.access()).expect("pushed");
    let wire = Wire::to(house.server.port);
    let get = || cached(&place(), &access(wire.port), &house.path("cache"), &mut |_, _| {});
    let first = get().expect("fetched");
    assert!(first.stale.is_none());
    wire.break_after_down(0);
    let second = get().expect("kept");
    assert_eq!(second.folder, first.folder);
    assert!(matches!(second.stale, Some(Fault::Unreachable { .. })), "{second:?}");
    wire.mend();
    fs::write(first.folder.join("kernel"), "other").expect("written");
    let third = get().expect("fetched");
    assert_eq!(contents(&third.folder), contents(&house.image()));
    assert!(wire.down_bytes() < 2 * MIB, "only the kernel came again");
    for seed in 2..5 {
        house.make_image(seed);
        house.push(&house.access()).expect("pushed");
        get().expect("fetched");
    }
    let parent = first.folder.parent().expect("a folder");
    let images = fs::read_dir(parent).expect("read").flatten().filter(|entry| entry.path().is_dir()).count();
    assert_eq!(images, 2, "the one that is served and the one before");
}

#[test]
fn what_is_wrong_is_said() {
    let house = House::new();
    let whole = house.access();
    let with = |id: &str, secret: &str| {
        let key = Key { id: id.to_owned(), secret: secret.to_owned(), token: None };
        Access { key: Some(key), ..whole.clone() }
    };
    let said = |access: &Access| format!("{:#}", house.push(access).expect_err("refused"));

    let wrong = said(&with(KEY, "tr0mbone"));
    assert!(wrong.contains("AWS_SECRET_ACCESS_KEY is wrong") && !wrong.contains("tr0mbone"), "{wrong}");
    assert!(!wrong.contains(SECRET));
    let stranger = said(&with("stranger", SECRET));
    assert!(stranger.contains("AWS_ACCESS_KEY_ID"), "{stranger}");
    let nobody = said(&Access { key: None, ..whole.clone() });
    assert!(nobody.contains("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"), "{nobody}");

    let elsewhere = "s3://no-such-bucket/lab".parse().expect("a place");
    let error = push(&house.image(), &elsewhere, &whole, &house.path("uploads"), &mut |_, _| {})
        .expect_err("no bucket");
    assert!(
        matches!(fault(&error), Fault::NoBucket { bucket, .. } if bucket == "no-such-bucket"),
        "{error:#}"
    );
    let error = pull(&elsewhere, &whole, &house.path("down"), &mut |_, _| {}).expect_err("no bucket");
    assert!(matches!(fault(&error), Fault::NoBucket { .. }), "{error:#}");

    let closed =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let away = said(&access(closed));
    assert!(away.contains("cannot be reached") && away.contains("AWS_ENDPOINT_URL"), "{away}");
}

#[test]
fn a_wrong_clock_is_named() {
    fn ahead() -> Timestamp {
        Timestamp::now() + SignedDuration::from_hours(2)
    }
    fn behind() -> Timestamp {
        Timestamp::now() - SignedDuration::from_hours(2)
    }
    let house = House::new();
    for (now, direction) in [(ahead as fn() -> Timestamp, "ahead of"), (behind, "behind")] {
        let records = house.path("uploads");
        let error = push_at(&house.image(), &place(), &house.access(), &records, now, &mut |_, _| {})
            .expect_err("skewed");
        assert!(
            matches!(fault(&error), Fault::Clock { seconds: 7_190..7_210, direction: said, .. } if *said == direction),
            "{error:#}"
        );
    }
}
