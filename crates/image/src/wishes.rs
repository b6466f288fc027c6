//! What a recipe wants of packages: its own and those that every node gets. Does not know whether there are such.

use std::collections::BTreeSet;

use crate::lists::{self, items};
use crate::recipe::Recipe;

/// Names of packages, sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wishes {
    pub(crate) packages: Vec<String>,
    /// Left out though others depend on them.
    pub(crate) exclude: Vec<String>,
    pub(crate) kernel: String,
    pub(crate) firmware: Option<String>,
}

impl Wishes {
    /// Those of a recipe. A package that it names goes in even if nodes do without it otherwise.
    pub(crate) fn of(recipe: &Recipe) -> Self {
        let own = || recipe.packages.iter().map(|named| named.name.clone());
        let base = |list| items(list).map(|item| item.name.to_owned());
        let packages: BTreeSet<String> = base(lists::PACKAGES).chain(own()).collect();
        let mut exclude: BTreeSet<String> = base(lists::EXCLUDED).collect();
        own().for_each(|name| {
            exclude.remove(&name);
        });
        exclude.extend(recipe.exclude.iter().cloned());
        Self {
            packages: packages.into_iter().collect(),
            exclude: exclude.into_iter().collect(),
            kernel: recipe.kernel.name.clone(),
            firmware: recipe.firmware.as_ref().map(|firmware| firmware.package.name.clone()),
        }
    }
}
