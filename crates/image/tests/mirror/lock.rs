//! What a lock is good for: the same image anywhere, without the mirror's lists; and what it refuses.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use image::{ChangeKind, Silent, UpdateOptions, Updated};

use crate::packages::deb_of;
use crate::site::{Mirror, hex};

/// Every file of a folder, by path.
pub(crate) fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            let below = contents(&entry.path()).into_iter();
            all.extend(below.map(|(path, content)| (format!("{name}/{path}"), content)));
        } else {
            all.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    all
}

pub(crate) fn build(mirror: &Mirror, house: &str) -> image::Built {
    image::build(&mirror.options(house), &mut Silent).unwrap()
}

pub(crate) fn update(mirror: &Mirror, house: &str) -> Updated {
    let options = mirror.options(house);
    let options = UpdateOptions { recipe: options.recipe, cache: options.cache, apt: options.apt };
    image::update(&options, &mut Silent).unwrap()
}

#[test]
fn two_builds_of_one_lock_in_different_folders_are_the_same() {
    let mirror = Mirror::whole();
    mirror.write_recipe("one", "");
    assert!(!build(&mirror, "one").unchanged);
    // Another folder, another cache, and the mirror has moved on: the lock alone decides.
    mirror.write_recipe("a/folder/far/away", "");
    fs::copy(mirror.path("one/image.lock"), mirror.path("a/folder/far/away/image.lock")).unwrap();
    let mut options = mirror.options("a/folder/far/away");
    options.cache = mirror.path("another cache");
    mirror.change("/debian/dists/trixie/InRelease", |text| text.clear());
    image::build(&options, &mut Silent).unwrap();
    let (one, other) = (contents(&mirror.path("one/out/image")), contents(&options.out));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (path, content) in &one {
        assert!(other[path] == *content, "{path} differs");
    }
    assert!(one["system.squashfs"].starts_with(b"hsqs"));
}

#[test]
fn a_locked_build_with_a_full_cache_asks_no_mirror() {
    let mirror = Mirror::whole();
    mirror.write_recipe("one", "");
    build(&mirror, "one");
    let before = contents(&mirror.path("one/out/image"));
    mirror.site.lock().unwrap().away = true;
    assert!(build(&mirror, "one").unchanged);
    fs::remove_dir_all(mirror.path("one/out")).unwrap();
    assert!(!build(&mirror, "one").unchanged);
    assert_eq!(contents(&mirror.path("one/out/image")), before);
}

#[test]
fn an_update_says_what_it_changes_and_only_it_does() {
    let mirror = Mirror::whole();
    mirror.write_recipe("one", "");
    let first = update(&mirror, "one");
    assert!(first.changes.iter().all(|change| change.kind == ChangeKind::Added), "{first:?}");
    assert_eq!(first.changes.len(), first.packages);
    build(&mirror, "one");
    let newer = deb_of("runc", b"newer");
    mirror.restock(|stock| {
        let runc = stock.iter_mut().find(|stock| stock.name == "runc").unwrap();
        (runc.version, runc.content) = ("1.1".to_owned(), newer.clone());
        stock.retain(|stock| stock.name != "u-boot-qemu");
    });
    assert!(build(&mirror, "one").unchanged, "a build does not look for newer packages");
    let second = update(&mirror, "one");
    let told: Vec<_> = second.changes.iter().map(|change| (&*change.name, change.kind)).collect();
    assert_eq!(told, [("runc", ChangeKind::Upgraded), ("u-boot-qemu", ChangeKind::Removed)]);
    let runc = &second.changes[0];
    assert_eq!(runc.old.as_ref().unwrap().version, "1");
    assert_eq!(runc.new.as_ref().unwrap().version, "1.1");
    assert_eq!(runc.new.as_ref().unwrap().bytes, newer.len() as u64);
    let built = build(&mirror, "one");
    assert!(!built.unchanged && built.manifest.lab_uboot.is_none());
    assert_eq!(update(&mirror, "one").changes, []);
}

#[test]
fn a_locked_version_that_no_mirror_has_is_named_with_what_to_do() {
    let mirror = Mirror::whole();
    mirror.write_recipe("one", "");
    update(&mirror, "one");
    mirror.restock(|stock| {
        let runc = stock.iter_mut().find(|stock| stock.name == "runc").unwrap();
        (runc.version, runc.content) = ("1.1".to_owned(), deb_of("runc", b"newer"));
    });
    let said = mirror.refused("one");
    for part in ["no mirror has runc 1 any more", "`fledermaus image update`", "image.lock", "[[mirrors]]"] {
        assert!(said.contains(part), "{part} not in: {said}");
    }
    update(&mirror, "one");
    build(&mirror, "one");
}

#[test]
fn a_second_mirror_with_old_versions_serves_a_lock() {
    let (mirror, snapshot) = (Mirror::whole(), Mirror::whole());
    mirror.write_recipe("one", "");
    update(&mirror, "one");
    mirror.restock(|stock| stock.retain(|stock| stock.name != "runc"));
    assert!(mirror.refused("one").contains("runc 1"));
    let recipe = fs::read_to_string(mirror.path("one/image.toml")).unwrap();
    let recipe = format!("{recipe}[[mirrors]]\nurl = \"{}\"\n", snapshot.url);
    fs::write(mirror.path("one/image.toml"), recipe).unwrap();
    build(&mirror, "one");
    assert_eq!(snapshot.requests("/debian/pool/runc.deb").len(), 1);
    assert!(snapshot.requests("/debian/pool/tini.deb").is_empty());
}

#[test]
fn a_locked_package_with_another_content_is_refused_wherever_it_comes_from() {
    let mirror = Mirror::whole();
    mirror.write_recipe("one", "");
    update(&mirror, "one");
    let content = mirror.site.lock().unwrap().files["/debian/pool/runc.deb"].clone();
    mirror.change("/debian/pool/runc.deb", |content| content[200] ^= 1);
    let said = mirror.refused("one");
    assert!(said.contains("refusing runc 1") && said.contains("SHA-256"), "{said}");
    mirror.change("/debian/pool/runc.deb", |content| content[200] ^= 1);
    build(&mirror, "one");
    fs::remove_dir_all(mirror.path("one/out")).unwrap();
    let evil = deb_of("runc", b"evil");
    assert_eq!(evil.len(), content.len());
    fs::write(mirror.path("cache").join(hex(&content)), evil).unwrap();
    let said = mirror.refused("one");
    assert!(said.contains("refusing runc 1: its file in the cache was changed"), "{said}");
    assert!(!mirror.path("one/out/image").exists());
}

#[test]
fn a_recipe_that_wants_otherwise_is_told_so() {
    let mirror = Mirror::whole();
    mirror.write_recipe("one", "");
    update(&mirror, "one");
    mirror.write_recipe("one", "packages = [\"raspi-firmware\"]");
    let said = mirror.refused("one");
    assert!(
        said.contains("image.toml:2: image.lock has no package `raspi-firmware`: run `fledermaus"),
        "{said}"
    );
}

#[test]
fn a_failed_build_writes_no_lock() {
    let mirror = Mirror::whole();
    mirror.write_recipe("one", "");
    mirror.change("/debian/pool/runc.deb", |content| content[200] ^= 1);
    assert!(mirror.refused("one").contains("refusing runc 1"));
    assert!(!mirror.path("one/image.lock").exists());
}
