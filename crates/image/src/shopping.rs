//! What is bought for an image: the packages of the system, the kernel and the firmware, chosen from the signed lists.
//! Downloads nothing.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use cluster::configuration::{Mistakes, Named};

use crate::build::BuildError;
use crate::index::{Index, Package};
use crate::lock::{Lock, Part, Pinned};
use crate::progress::Progress;
use crate::recipe::{Firmware, Recipe};
use crate::wishes::Wishes;
use crate::{card, firmware, resolve};

/// The most jumps from a kernel's meta package to the package with the kernel.
const KERNEL_JUMPS_LIMIT: usize = 4;

/// Chooses the packages. `time` is when the list was signed, in seconds since 1970.
///
/// # Errors
/// The recipe names a package that the suite does not have, or what it names cannot be had together.
pub(crate) fn shop(
    recipe: &Recipe,
    index: &Index,
    time: u64,
    progress: &mut dyn Progress,
) -> Result<Lock, BuildError> {
    check_names(recipe, index)?;
    let wishes = Wishes::of(recipe);
    let excluded = wishes.exclude.iter().cloned().collect();
    let chosen = resolve::resolve(index, &wishes.packages, &excluded).context("choosing packages")?;
    let mut packages: BTreeMap<&str, Pinned> = BTreeMap::new();
    let pinned = |package: &Package, part| Pinned {
        name: package.name.clone(),
        version: package.version.clone(),
        architecture: package.architecture.clone(),
        bytes: package.bytes,
        sha256: package.sha256,
        pool: package.pool.clone(),
        part,
    };
    for package in chosen.values() {
        packages.insert(&package.name, pinned(package, Part::System));
    }
    let kernel = kernel_package(index, &recipe.kernel.name)?;
    packages.insert(&kernel.name, pinned(kernel, Part::Kernel));
    match index.package(firmware::LAB_UBOOT.0) {
        Some(package) => drop(packages.insert(&package.name, pinned(package, Part::Lab))),
        None => progress.notice(&format!(
            "the mirror has no package {}: the image cannot be tried in the lab",
            firmware::LAB_UBOOT.0
        )),
    }
    if let Some(package) = wishes.firmware.as_deref().and_then(|name| index.package(name)) {
        packages.insert(&package.name, pinned(package, Part::Firmware));
        match index.package(card::UBOOT_PACKAGE) {
            Some(package) => drop(packages.insert(&package.name, pinned(package, Part::Card))),
            None => progress.notice(&format!(
                "the mirror has no package {}: no cards can be written with this lock",
                card::UBOOT_PACKAGE
            )),
        }
    }
    Ok(Lock {
        suite: recipe.suite.clone(),
        architecture: recipe.architecture.clone(),
        time,
        packages: packages.into_values().collect(),
        wishes,
    })
}

fn check_names(recipe: &Recipe, index: &Index) -> Result<(), Mistakes> {
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
    mistakes.or(())
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
