//! What is bought for an image: the packages of the system, the kernel and the firmware. Downloads nothing.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use cluster::configuration::{Mistakes, Named};
use cluster::manifest::Package as Ingredient;

use crate::build::BuildError;
use crate::download::Wanted;
use crate::index::{Index, Package};
use crate::lists::{self, items};
use crate::progress::Progress;
use crate::recipe::{Firmware, Recipe};
use crate::tree::Tree;
use crate::{firmware, resolve};

/// The most jumps from a kernel's meta package to the package with the kernel.
const KERNEL_JUMPS_LIMIT: usize = 4;

/// The packages that are needed.
pub(crate) struct Shopping {
    pub(crate) system: BTreeMap<String, Package>,
    pub(crate) kernel: Package,
    /// Firmware for the lab's emulated boards.
    pub(crate) lab_uboot: Option<Package>,
    /// Firmware that the boards fetch, if the recipe wants it.
    pub(crate) firmware: Option<Package>,
}

impl Shopping {
    /// Every package, of the system image or not.
    pub(crate) fn all(&self) -> Vec<&Package> {
        let own = self.system.values().chain([&self.kernel]);
        own.chain(&self.lab_uboot).chain(&self.firmware).collect()
    }

    /// What to download.
    pub(crate) fn wanted(&self) -> Vec<Wanted> {
        let wanted = |package: &&Package| Wanted {
            name: format!("{} {}", package.name, package.version),
            url: package.url.clone(),
            bytes: package.bytes,
            sha256: package.sha256,
        };
        let mut all: Vec<Wanted> = self.all().iter().map(wanted).collect();
        // The largest first, so that no worker is left alone with it at the end.
        all.sort_by_key(|file| std::cmp::Reverse(file.bytes));
        all
    }

    /// What went in, with the bytes that it takes in the system image.
    pub(crate) fn ingredients(&self, system: &Tree) -> Vec<Ingredient> {
        let mut bytes: BTreeMap<&str, u64> = BTreeMap::new();
        for (_, entry) in system.iter() {
            *bytes.entry(&entry.package).or_default() += entry.bytes();
        }
        let ingredient = |package: &Package| Ingredient {
            name: package.name.clone(),
            version: package.version.clone(),
            sha256: package.sha256,
            installed_bytes: bytes.get(package.name.as_str()).copied().unwrap_or(0),
        };
        self.all().into_iter().map(ingredient).collect()
    }
}

/// Chooses the packages.
///
/// # Errors
/// The recipe names a package that the suite does not have, or what it names cannot be had together.
pub(crate) fn shop(
    recipe: &Recipe,
    index: &Index,
    progress: &mut dyn Progress,
) -> Result<Shopping, BuildError> {
    let mut mistakes = Mistakes::default();
    for Named { name, line } in recipe.packages.iter().chain([&recipe.kernel]) {
        if index.package(name).is_none() {
            mistakes.add(&recipe.file, (*line).max(1), format!("no package is named `{name}` in the suite"));
        }
    }
    if let Some(Firmware { package, component }) = &recipe.firmware
        && index.package(&package.name).is_none()
    {
        mistakes.add(
            &recipe.file,
            package.line,
            format!(
                "no package is named `{}` in the suite: it is in the component `{component}`, which [[mirrors]] \
                 have to name in `components`",
                package.name
            ),
        );
    }
    let own: Vec<String> = recipe.packages.iter().map(|named| named.name.clone()).collect();
    if !recipe.ssh_keys.is_empty() && !own.iter().any(|name| name == "dropbear-bin") {
        mistakes.add(&recipe.file, 1, "`ssh_keys` needs a server: add \"dropbear-bin\" to `packages`");
    }
    mistakes.or(())?;
    let mut excluded: BTreeSet<String> = items(lists::EXCLUDED).map(|item| item.name.to_owned()).collect();
    excluded.retain(|name| !own.contains(name));
    excluded.extend(recipe.exclude.iter().cloned());
    let wanted: Vec<String> = items(lists::PACKAGES).map(|item| item.name.to_owned()).chain(own).collect();
    let chosen = resolve::resolve(index, &wanted, &excluded).context("choosing packages")?;
    let lab_uboot = index.package(firmware::LAB_UBOOT.0).cloned();
    if lab_uboot.is_none() {
        progress.notice(&format!(
            "the mirror has no package {}: the image cannot be tried in the lab",
            firmware::LAB_UBOOT.0
        ));
    }
    let system = chosen.into_iter().map(|(name, package)| (name, package.clone())).collect();
    let firmware = recipe.firmware.as_ref().and_then(|wanted| index.package(&wanted.package.name)).cloned();
    Ok(Shopping { system, kernel: kernel_package(index, &recipe.kernel.name)?.clone(), lab_uboot, firmware })
}

/// The package with the kernel: `linux-image-arm64` only leads to it.
pub(crate) fn kernel_package<'a>(index: &'a Index, name: &str) -> Result<&'a Package> {
    let mut package = index.package(name).with_context(|| format!("no package is named `{name}`"))?;
    for _ in 0..KERNEL_JUMPS_LIMIT {
        let mut needs = package.depends.iter().flatten();
        let Some(next) = needs.find(|need| need.name.starts_with("linux-image-")) else { return Ok(package) };
        package = index
            .package(&next.name)
            .with_context(|| format!("{} needs {}, which is missing", package.name, next.name))?;
    }
    bail!("the package {name} leads to no kernel")
}
