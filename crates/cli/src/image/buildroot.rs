//! `fledermaus image import`, and `image build --backend buildroot`, which runs Buildroot before it.

use std::path::{Path, PathBuf};

use anyhow::Context;
use cluster::manifest::Manifest;
use image::{BuildrootOptions, ImportOptions, Progress};

use crate::arguments::{ImportExtras, Kitchen};
use crate::exit::BadInput;
use crate::steps::Steps;
use crate::surroundings::Surroundings;

/// The folder of this project that Buildroot takes, seen from the repository.
const EXTERNAL: &str = "buildroot";
/// The folder in the cache where Buildroot builds.
const OUTPUT: &str = "buildroot";

/// Runs Buildroot and makes an image of the result.
///
/// # Errors
/// What Buildroot or the kitchen says.
pub(super) fn build(kitchen: &Kitchen, out: &Path, surroundings: &Surroundings) -> anyhow::Result<Manifest> {
    let checkout = kitchen.buildroot.clone().context("the command line was checked")?;
    let external = kitchen.external.as_deref().unwrap_or(Path::new(EXTERNAL));
    if !external.join("external.desc").is_file() {
        let text = format!(
            "{} is not this project's folder for Buildroot: run this in the repository, or name the folder with --external DIR",
            external.display()
        );
        return Err(BadInput(text).into());
    }
    let options = BuildrootOptions {
        checkout,
        external: external.to_owned(),
        configuration: kitchen.configuration.clone(),
        output: surroundings.cache.join(OUTPUT).join(&kitchen.configuration),
    };
    let mut steps = Steps::new();
    let images = image::make(&options, &mut steps);
    let built = images.and_then(|images| run(&images, out, &kitchen.extras, surroundings, &mut steps));
    steps.end();
    built.with_context(|| format!("building {} with Buildroot", kitchen.configuration))
}

/// Makes an image of Buildroot's folder.
///
/// # Errors
/// What the kitchen says.
pub(super) fn import(
    images: &Path,
    out: &Path,
    extras: &ImportExtras,
    surroundings: &Surroundings,
) -> anyhow::Result<Manifest> {
    let mut steps = Steps::new();
    let imported = run(images, out, extras, surroundings, &mut steps);
    steps.end();
    imported.with_context(|| format!("importing {}", images.display()))
}

fn run(
    images: &Path,
    out: &Path,
    extras: &ImportExtras,
    surroundings: &Surroundings,
    progress: &mut dyn Progress,
) -> anyhow::Result<Manifest> {
    let options = ImportOptions {
        images: images.to_owned(),
        out: out.to_owned(),
        name: extras.name.clone(),
        lab_uboot: extras.lab_uboot.clone(),
        card: extras.card.clone(),
        cache: packages(surroundings),
    };
    image::import(&options, progress)
}

fn packages(surroundings: &Surroundings) -> PathBuf {
    surroundings.cache.join("packages")
}
