//! The lock's text there and back, and what a person reads when it does not serve.

use std::path::Path;

use super::{Lock, Part, Pinned, fit, path_of, write};
use crate::recipe::Recipe;
use crate::wishes::Wishes;

fn pinned(name: &str, part: Part) -> Pinned {
    Pinned {
        name: name.to_owned(),
        version: "1:2~\"odd\\".to_owned(),
        architecture: "arm64".to_owned(),
        bytes: 5,
        sha256: cluster::Digest([7; 32]),
        pool: format!("pool/main/{name}.deb"),
        part,
    }
}

fn recipe(text: &str) -> Recipe {
    Recipe::parse(Path::new("image.toml"), text).expect("valid")
}

fn lock(recipe: &Recipe) -> Lock {
    let wishes = Wishes::of(recipe);
    let mut packages: Vec<Pinned> = wishes.packages.iter().map(|name| pinned(name, Part::System)).collect();
    packages.push(pinned("linux-image-6", Part::Kernel));
    packages.sort_by(|one, other| one.name.cmp(&other.name));
    Lock {
        suite: "trixie".to_owned(),
        architecture: "arm64".to_owned(),
        time: 1_757_153_971,
        wishes,
        packages,
    }
}

fn mistakes(text: &str) -> String {
    Lock::parse(Path::new("image.lock"), text).expect_err("wrong").to_string()
}

#[test]
fn a_lock_is_read_as_it_was_written() {
    let recipe = recipe("packages = [\"htop\"]\n[firmware]\npackage = \"raspi-firmware\"\n");
    let mut lock = lock(&recipe);
    lock.packages.push(pinned("raspi-firmware", Part::Firmware));
    lock.packages.push(pinned("u-boot-rpi", Part::Card));
    lock.packages.sort_by(|one, other| one.name.cmp(&other.name));
    let folder = tempfile::tempdir().expect("a folder");
    let path = path_of(&folder.path().join("image.toml"));
    assert_eq!(super::read(&path).expect("nothing there"), None);
    write(&path, &lock).expect("written");
    assert_eq!(super::read(&path).expect("readable").as_ref(), Some(&lock));
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
    fit::check(&lock, &path, &recipe).expect("it serves");
    assert!(
        lock.of_image().all(|package| package.name != "u-boot-rpi"),
        "a card's loader is not the image's"
    );
}

#[test]
fn what_a_recipe_wants_otherwise_is_told_with_its_line() {
    let lock = lock(&recipe("packages = [\"htop\"]\nexclude = [\"tini\"]\n"));
    let other = recipe(
        "packages = [\n  \"nano\",\n]\nsuite = \"forky\"\nexclude = [\"runc\"]\n[kernel]\npackage = \"linux-image-x\"\n",
    );
    let said = fit::check(&lock, Path::new("house/image.lock"), &other).expect_err("differs").to_string();
    let expected = [
        "image.toml:1: image.lock has the suite `trixie`, the recipe `forky`: run `fledermaus image update`",
        "image.toml:1: image.lock was made with the package `htop`, which is not asked for",
        "image.toml:1: image.lock was made when `runc` was not excluded yet",
        "image.toml:1: image.lock was made without `tini`, which is no longer excluded",
        "image.toml:2: image.lock has no package `nano`",
        "image.toml:7: image.lock has the kernel `linux-image-arm64`, the recipe `linux-image-x`",
    ];
    for sentence in expected {
        assert!(said.contains(sentence), "{sentence}\nnot in\n{said}");
    }
    assert_eq!(said.lines().count(), expected.len(), "{said}");
}

#[test]
fn a_broken_lock_is_told_with_its_lines() {
    let good = lock(&recipe("")).to_text();
    let twice = good.clone() + &good[good.find("\n[[package]]").expect("there")..];
    assert!(mistakes(&twice).contains("the package `busybox-static` is there twice"));
    assert!(
        mistakes(&good.replace("part = \"kernel\"", "part = \"colonel\""))
            .contains("write one of system, kernel")
    );
    assert!(mistakes(&good.replace("part = \"kernel\"", "part = \"system\"")).contains("of part \"kernel\""));
    assert!(mistakes(&good.replace("\"pool/main/", "\"pool/../../")).contains("leads out of the mirror"));
    assert!(mistakes(&good.replace("sha256 = \"0707", "sha256 = \"07xx")).contains("image.lock:"));
    assert!(
        mistakes(&good.replace("name = \"runc\"", "name = \"ranc\""))
            .contains("it says to have `runc` and has not")
    );
    assert!(mistakes("format = 2\n").contains("image.lock:1: "));
}
