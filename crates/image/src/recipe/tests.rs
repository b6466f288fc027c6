//! What a recipe may say, and what is said of its mistakes.

use std::path::Path;

use super::{Container, Form, Recipe};

fn parse(text: &str) -> Result<Recipe, String> {
    Recipe::parse(Path::new("dir/image.toml"), text).map_err(|mistakes| mistakes.to_string())
}

#[test]
fn an_empty_recipe_is_complete() {
    let recipe = parse("").expect("valid");
    assert_eq!(recipe.suite, "trixie");
    assert_eq!(recipe.kernel.name, "linux-image-arm64");
    assert!(recipe.mirrors.is_empty());
    assert_eq!(recipe.firmware, None, "what is not free is asked for by name");
}

#[test]
fn the_example_is_valid_and_shows_every_key() {
    let text = include_str!("../../../../example/image.toml");
    let recipe = parse(text).expect("valid");
    assert!(
        matches!(&recipe.containers[..], [Container::Made { name, .. }] if name.name == "fledermaus/hello:1")
    );
    let shown: String =
        text.lines().map(|line| line.strip_prefix("#= ").unwrap_or(line)).collect::<Vec<_>>().join("\n");
    let all = parse(&shown).expect("valid with every key");
    assert!(!all.mirrors.is_empty() && !all.modules.is_empty() && all.overlay.is_some());
    for key in super::KEYS {
        assert!(shown.contains(key), "{key}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_with_their_lines() {
    let text = "\
name = 7
sweet = \"trixie\"
architecture = \"amd64\"
packages = [\"good\", \"bad name\"]

[kernel]
modules = \"one\"
modulez = []

[[container]]
command = []

[[mirrors]]
url = \"ftp://x/debian\"
";
    let said = parse(text).expect_err("mistakes");
    let lines: Vec<&str> = said.lines().map(|line| line.split(": ").next().unwrap_or_default()).collect();
    let expected = [1, 2, 3, 4, 7, 8, 10, 14].map(|line| format!("dir/image.toml:{line}"));
    assert_eq!(lines, expected, "{said}");
    assert!(said.contains("write one of package, modules, initramfs_modules"), "{said}");
    assert!(said.contains("the only one so far is `arm64`"), "{said}");
}

#[test]
fn broken_toml_is_told_with_its_line() {
    let said = parse("name = \"a\"\nsuite = \n").expect_err("mistake");
    assert!(said.starts_with("dir/image.toml:2: "), "{said}");
}

#[test]
fn firmware_is_asked_for_by_its_package_and_has_a_component() {
    let recipe = parse("[firmware]\npackage = \"raspi-firmware\"").expect("valid");
    let firmware = recipe.firmware.expect("asked for");
    assert_eq!((&*firmware.package.name, &*firmware.component), ("raspi-firmware", "non-free-firmware"));
    let said = parse("[firmware]").expect_err("a mistake");
    assert!(said.contains("image.toml:1: ") && said.contains("raspi-firmware"), "{said}");
}

#[test]
fn an_image_comes_in_parts_unless_another_form_is_asked_for() {
    let form = |text: &str| parse(text).map(|recipe| recipe.form);
    assert_eq!(form(""), Ok(Form::Parts));
    assert_eq!(form("form = \"initramfs\""), Ok(Form::Initramfs));
    assert_eq!(form("form = \"one-file\""), Ok(Form::OneFile));
    let said = form("form = \"tape\"").expect_err("a mistake");
    assert!(said.contains("image.toml:1: ") && said.contains("parts, initramfs or one-file"), "{said}");
}

#[test]
fn paths_are_relative_to_the_recipe() {
    let recipe = parse("overlay = \"files\"\nkeyring = \"/keys.gpg\"").expect("valid");
    assert_eq!(recipe.overlay.as_deref(), Some(Path::new("dir/files")));
    assert_eq!(recipe.keyring, Path::new("/keys.gpg"));
}
