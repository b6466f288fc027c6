//! Whether a lock serves a recipe: it was made for the same wishes.

use std::path::Path;

use cluster::configuration::{Mistakes, Named};

use crate::lock::{ADVICE, Lock};
use crate::recipe::Recipe;
use crate::wishes::Wishes;

/// Whether the packages of the lock in the file `path` are those that the recipe asks for.
///
/// # Errors
/// Everything that the recipe wants otherwise, with its line.
pub(crate) fn check(lock: &Lock, path: &Path, recipe: &Recipe) -> Result<(), Mistakes> {
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (own, wanted) = (&lock.wishes, Wishes::of(recipe));
    let mut differences = Vec::new();
    let mut pair = |what: &str, own: &str, wanted: &str| {
        if own != wanted {
            differences
                .push((wanted.to_owned(), format!("{file} has the {what} `{own}`, the recipe `{wanted}`")));
        }
    };
    pair("suite", &lock.suite, &recipe.suite);
    pair("architecture", &lock.architecture, &recipe.architecture);
    pair("kernel", &own.kernel, &wanted.kernel);
    let firmware = |wishes: &Wishes| wishes.firmware.clone().unwrap_or_else(|| "none".to_owned());
    pair("firmware", &firmware(own), &firmware(&wanted));
    for name in missing(&wanted.packages, &own.packages) {
        differences.push((name.clone(), format!("{file} has no package `{name}`")));
    }
    for name in missing(&own.packages, &wanted.packages) {
        differences.push((
            name.clone(),
            format!("{file} was made with the package `{name}`, which is not asked for"),
        ));
    }
    for name in missing(&wanted.exclude, &own.exclude) {
        differences.push((name.clone(), format!("{file} was made when `{name}` was not excluded yet")));
    }
    for name in missing(&own.exclude, &wanted.exclude) {
        differences
            .push((name.clone(), format!("{file} was made without `{name}`, which is no longer excluded")));
    }
    let mut mistakes = Mistakes::default();
    for (name, what) in differences {
        mistakes.add(&recipe.file, line_of(recipe, &name), format!("{what}: {ADVICE}"));
    }
    mistakes.or(())
}

/// What `one` has and `other` has not.
fn missing<'a>(one: &'a [String], other: &'a [String]) -> impl Iterator<Item = &'a String> {
    one.iter().filter(|name| !other.contains(name))
}

/// Where a recipe names a package; else its first line.
fn line_of(recipe: &Recipe, name: &str) -> usize {
    let firmware = recipe.firmware.as_ref().map(|firmware| &firmware.package);
    let mut named = recipe.packages.iter().chain([&recipe.kernel]).chain(firmware);
    named.find(|named: &&Named| named.name == name).map_or(1, |named| named.line.max(1))
}
