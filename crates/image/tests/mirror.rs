//! A mirror made by the test, on loopback: what a build does when the mirror is honest, forged, broken or
//! away. Most builds stop where they unpack the first package, which is a line of text: these tests are about what comes
//! before. What comes after has packages that are whole.
#![allow(clippy::unwrap_used)]

#[path = "mirror/card.rs"]
mod card;
#[path = "mirror/lock.rs"]
mod lock;
#[path = "mirror/packages.rs"]
mod packages;
#[path = "mirror/shelf.rs"]
mod shelf;
#[path = "mirror/site.rs"]
mod site;

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use site::{Mirror, PACKAGES, forged, hex, key};

fn cached(folder: &Path) -> usize {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.len() == 64).count()
}

#[test]
fn an_honest_mirror_is_believed_and_asked_once() {
    let mirror = Mirror::start();
    let said = mirror.build("");
    assert!(said.contains("unpacking") && said.contains("no Debian package"), "{said}");
    assert_eq!(cached(&mirror.path("cache")), PACKAGES.len() + 1);
    mirror.build("");
    assert_eq!(mirror.requests("/debian/dists/trixie/InRelease").len(), 1);
    assert_eq!(mirror.requests("/debian/pool/runc.deb").len(), 1);
}

#[test]
fn a_forged_release_is_refused() {
    let mirror = Mirror::start();
    mirror.change("/debian/dists/trixie/InRelease", |text| {
        let forged = String::from_utf8(text.clone()).unwrap().replace("Codename: trixie", "Codename: trixi3");
        *text = forged.into_bytes();
    });
    let said = mirror.build("");
    assert!(said.contains("refusing") && said.contains("no key of the keyring"), "{said}");
    assert!(mirror.requests("/debian/pool/runc.deb").is_empty());
}

#[test]
fn a_release_of_a_stranger_is_refused() {
    let (mirror, stranger) = (Mirror::start(), key());
    let forged = forged(&stranger)["/debian/dists/trixie/InRelease"].clone();
    mirror.change("/debian/dists/trixie/InRelease", |text| text.clone_from(&forged));
    assert!(mirror.build("").contains("no key of the keyring"));
}

#[test]
fn an_unsigned_release_is_refused() {
    let mirror = Mirror::start();
    mirror.change("/debian/dists/trixie/InRelease", |text| *text = b"Suite: trixie\nSHA256:\n".to_vec());
    assert!(mirror.build("").contains("reading the signature"));
}

#[test]
fn a_package_with_another_content_is_refused_by_name_and_not_kept() {
    let mirror = Mirror::start();
    mirror.change("/debian/pool/runc.deb", |content| content[3] ^= 1);
    let said = mirror.build("");
    assert!(said.contains("refusing runc 1") && said.contains("SHA-256"), "{said}");
    let content = mirror.site.lock().unwrap().files["/debian/pool/runc.deb"].clone();
    assert!(!mirror.path("cache").join(hex(&content)).exists());
    // With the right content the next build goes on.
    mirror.change("/debian/pool/runc.deb", |content| content[3] ^= 1);
    assert!(mirror.build("").contains("no Debian package"));
}

#[test]
fn a_file_damaged_in_the_cache_is_refused_by_name_and_set_aside() {
    let mirror = Mirror::start();
    mirror.build("");
    let package = mirror.site.lock().unwrap().files["/debian/pool/runc.deb"].clone();
    let list =
        mirror.site.lock().unwrap().files["/debian/dists/trixie/main/binary-arm64/Packages.xz"].clone();
    for (content, name) in [(package, "runc 1"), (list, "main/binary-arm64/Packages.xz")] {
        let kept = mirror.path("cache").join(hex(&content));
        // Once of another length, once of the same.
        let mut rotten = b"rotten".to_vec();
        if name.starts_with("main") {
            rotten = content.clone();
            rotten[20] ^= 1;
        }
        fs::write(&kept, rotten).unwrap();
        let said = mirror.build("");
        assert!(said.contains(&format!("refusing {name}: its file in the cache was changed")), "{said}");
        assert!(said.contains(".refused"), "{said}");
        assert!(!kept.exists());
        // Nobody uses it from then on: the next build fetches another.
        assert!(mirror.build("").contains("no Debian package"));
        assert_eq!(fs::read(&kept).unwrap(), content);
    }
}

#[test]
fn a_release_changed_in_the_cache_is_refused_by_name_and_set_aside() {
    let mirror = Mirror::start();
    mirror.build("");
    let names = || fs::read_dir(mirror.path("cache")).unwrap().flatten().map(|entry| entry.path());
    let kept = names().find(|path| path.to_string_lossy().contains("InRelease-")).unwrap();
    let forged = fs::read_to_string(&kept).unwrap().replace("Codename: trixie", "Codename: trixi3");
    fs::write(&kept, forged).unwrap();
    let said = mirror.build("");
    let release =
        format!("refusing {}/dists/trixie/InRelease: its file in the cache was changed", mirror.url);
    assert!(said.contains(&release) && said.contains("InRelease-") && said.contains(".refused"), "{said}");
    assert!(!kept.exists() && mirror.requests("/debian/dists/trixie/InRelease").len() == 1);
    assert!(mirror.build("").contains("no Debian package"), "the next one asks the mirror");
    assert_eq!(mirror.requests("/debian/dists/trixie/InRelease").len(), 2);
}

#[test]
fn a_forged_list_is_refused_by_name() {
    let mirror = Mirror::start();
    mirror.change("/debian/dists/trixie/main/binary-arm64/Packages.xz", |content| content[9] ^= 1);
    let said = mirror.build("");
    assert!(said.contains("refusing main/binary-arm64/Packages.xz") && said.contains("SHA-256"), "{said}");
    assert!(mirror.requests("/debian/pool/runc.deb").is_empty());
}

#[test]
fn a_broken_download_is_resumed() {
    let mirror = Mirror::start();
    mirror.site.lock().unwrap().cut = Some(100);
    let said = mirror.build("");
    assert!(said.contains("no Debian package"), "{said}");
    let site = mirror.site.lock().unwrap();
    assert!(
        site.seen.iter().any(|(path, range)| path.ends_with(".deb") && range == "100-"),
        "{:?}",
        site.seen
    );
}

#[test]
fn a_missing_package_is_told_with_its_line() {
    let mirror = Mirror::start();
    let said = mirror.build("packages = [\"runc\",\n \"flying-carpet\"]");
    assert!(said.contains("image.toml:3: no package is named `flying-carpet`"), "{said}");
}

#[test]
fn firmware_is_fetched_only_if_the_recipe_names_it_and_its_component() {
    let mirror = Mirror::start();
    let firmware = "/debian/pool/raspi-firmware.deb";
    let recipe = |components: &str| {
        format!(
            "keyring = \"keys.gpg\"\n[firmware]\npackage = \"raspi-firmware\"\n[[mirrors]]\nurl = \"{}\"\n{components}",
            mirror.url
        )
    };
    mirror.build("");
    assert!(mirror.requests(firmware).is_empty());
    let said = mirror.build_recipe(&recipe(""));
    assert!(said.contains("image.toml:3: ") && said.contains("`non-free-firmware`"), "{said}");
    let said = mirror.build_recipe(&recipe("components = [\"main\", \"non-free-firmware\"]"));
    assert!(said.contains("no Debian package"), "{said}");
    assert_eq!(mirror.requests(firmware).len(), 1);
}

#[test]
fn apt_s_mirror_is_asked_for_the_firmware_s_component() {
    let mirror = Mirror::start();
    fs::create_dir(mirror.path("apt")).unwrap();
    fs::write(mirror.path("apt/sources.list"), format!("deb {} trixie main\n", mirror.url)).unwrap();
    let said = mirror.build_recipe("keyring = \"keys.gpg\"\n[firmware]\npackage = \"raspi-firmware\"\n");
    assert!(said.contains("no Debian package"), "{said}");
    assert_eq!(mirror.requests("/debian/pool/raspi-firmware.deb").len(), 1);
}

#[test]
fn without_a_mirror_the_message_says_where_to_write_one() {
    let mirror = Mirror::start();
    let said = mirror.build_recipe("keyring = \"keys.gpg\"\n");
    assert!(said.contains("[[mirrors]]") && said.contains("image.toml"), "{said}");
}

#[test]
fn apt_leads_to_the_mirror() {
    let mirror = Mirror::start();
    fs::create_dir(mirror.path("apt")).unwrap();
    let list = format!("deb {}-gone trixie main\ndeb {} trixie main\n", mirror.url, mirror.url);
    fs::write(mirror.path("apt/sources.list"), list).unwrap();
    assert!(mirror.build_recipe("keyring = \"keys.gpg\"\n").contains("no Debian package"));
    assert_eq!(mirror.requests("/debian-gone/dists/trixie/InRelease").len(), 1);
}

#[test]
fn a_mirror_that_is_away_is_told_and_an_old_release_serves() {
    let mirror = Mirror::start();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = mirror
        .build_recipe(&format!("keyring = \"keys.gpg\"\n[[mirrors]]\nurl = \"http://{closed}/debian\"\n"));
    assert!(said.contains("does not answer") && said.contains("[[mirrors]]"), "{said}");
    mirror.build("");
    let kept = fs::read_dir(mirror.path("cache")).unwrap().flatten();
    let kept =
        kept.map(|entry| entry.path()).find(|path| path.to_string_lossy().contains("InRelease-")).unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 60 * 60);
    fs::File::options().write(true).open(&kept).unwrap().set_modified(old).unwrap();
    mirror.build("");
    assert_eq!(
        mirror.requests("/debian/dists/trixie/InRelease").len(),
        2,
        "an old Release is asked for again"
    );
    fs::File::options().write(true).open(&kept).unwrap().set_modified(old).unwrap();
    mirror.site.lock().unwrap().away = true;
    let said = mirror.build("");
    assert!(said.contains("no Debian package"), "the Release of before and the cache serve: {said}");
}

#[test]
fn missing_node_programs_say_how_to_build_them() {
    let mirror = Mirror::start();
    fs::remove_file(mirror.path("fledermaus-agent")).unwrap();
    let said = mirror.build("");
    assert!(said.contains("cargo build --profile node") && said.contains("fledermaus-agent"), "{said}");
}
