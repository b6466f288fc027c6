//! Where a card's packages come from: the lock, or the mirror's signed lists if there is none; and what is refused.

use std::fs;

use image::Silent;
use image::card::{self, Card, CardOptions};

use crate::lock::{build, update};
use crate::site::Mirror;

const UBOOT: &str = "/debian/pool/u-boot-rpi.deb";

fn mirror() -> Mirror {
    let mirror = Mirror::whole();
    mirror.write_recipe("one", "[firmware]\npackage = \"raspi-firmware\"\n");
    let recipe = mirror.path("one/image.toml");
    let text = fs::read_to_string(&recipe).unwrap() + "components = [\"main\", \"non-free-firmware\"]\n";
    fs::write(recipe, text).unwrap();
    mirror
}

fn compose(mirror: &Mirror, cache: &str) -> Result<Card, String> {
    let options = mirror.options("one");
    let (recipe, cache) = (options.recipe, mirror.path(cache));
    let options = CardOptions { recipe, cache, apt: options.apt, server: None };
    card::compose(&options, &mut Silent).map_err(|error| format!("{:#}", anyhow::Error::from(error)))
}

#[test]
fn a_card_has_the_lock_s_packages_and_an_image_not_the_card_s() {
    let mirror = mirror();
    update(&mirror, "one");
    let card = compose(&mirror, "cache").unwrap();
    let names: Vec<&str> = card.packages.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["raspi-firmware", "u-boot-rpi", "linux-image-arm64"]);
    assert!(mirror.requests("/debian/pool/docker.io.deb").is_empty(), "not for a card");
    // The lists are gone, and so is the cache: the lock alone decides.
    mirror.change("/debian/dists/trixie/InRelease", |text| text.clear());
    assert_eq!(compose(&mirror, "another cache").unwrap().sha256, card.sha256);
    assert_eq!(mirror.requests(UBOOT).len(), 2);

    let manifest = build(&mirror, "one").manifest;
    assert!(manifest.packages.iter().all(|package| package.name != "u-boot-rpi"), "{:?}", manifest.packages);
    assert_eq!(mirror.requests(UBOOT).len(), 2);
}

#[test]
fn without_a_lock_the_signed_lists_decide_and_none_is_written() {
    let mirror = mirror();
    compose(&mirror, "cache").unwrap();
    assert!(!mirror.path("one/image.lock").exists());
}

#[test]
fn a_boot_loader_with_another_content_is_refused_by_name() {
    let mirror = mirror();
    mirror.change(UBOOT, |content| content[200] ^= 1);
    let said = compose(&mirror, "cache").unwrap_err();
    assert!(said.contains("refusing u-boot-rpi 1") && said.contains("SHA-256"), "{said}");
}

#[test]
fn a_lock_that_was_made_for_no_card_is_told() {
    let mirror = mirror();
    mirror.restock(|stock| stock.retain(|package| package.name != "u-boot-rpi"));
    update(&mirror, "one");
    let said = compose(&mirror, "cache").unwrap_err();
    assert!(
        said.contains("image.toml:3: ") && said.contains("image.lock has no package `u-boot-rpi`"),
        "{said}"
    );
    assert!(said.contains("run `fledermaus image update`"), "{said}");
}
