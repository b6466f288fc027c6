//! `fledermaus image …`: one call of the kitchen each, and what came of it as a text, a table or JSON.

use std::path::{Path, PathBuf};

use anyhow::Context;
use cluster::manifest::{FIRMWARE_FOLDER, MANIFEST_FILE, Manifest};
use cluster::view::ImageView;
use image::shelf::SweepOptions;
use image::{BuildOptions, UpdateOptions};
use server::client::Client;

use crate::arguments::{Backend, Image, ImageChoice};
use crate::exit::BadInput;
use crate::steps::Steps;
use crate::surroundings::Surroundings;
use crate::table;

mod buildroot;
mod shelf;
mod store;
mod tables;

/// The recipe when none is named: the one of the working directory.
pub(crate) const RECIPE: &str = "image.toml";
/// Where the machine says which mirror it uses.
pub(crate) const APT: &str = "/etc/apt";
/// Where the node's programs are: cargo puts them into the first, seen from the repository; the package has them in the second.
const PROGRAMS: [&str; 2] = ["target/aarch64-unknown-linux-musl/node", "/usr/lib/fledermaus/node"];

/// Makes an image, or looks after those that there are.
///
/// # Errors
/// What the kitchen says.
pub(crate) fn run(
    command: &Image,
    head: impl FnOnce() -> anyhow::Result<Client>,
    surroundings: &Surroundings,
    json: bool,
) -> anyhow::Result<()> {
    match command {
        Image::Build { out, kitchen, .. } if kitchen.backend == Backend::Buildroot => {
            let out = out.clone().unwrap_or_else(|| surroundings.image());
            told(&buildroot::build(kitchen, &out, surroundings)?, &out, json)
        }
        Image::Import { images, out, extras } => {
            let out = out.clone().unwrap_or_else(|| surroundings.image());
            told(&buildroot::import(images, &out, extras, surroundings)?, &out, json)
        }
        Image::Build { recipe, out, programs, .. } => {
            let recipe = there(recipe.as_deref().unwrap_or(Path::new(RECIPE)))?;
            let out = out.clone().unwrap_or_else(|| surroundings.image());
            let programs = programs.as_deref().unwrap_or_else(|| node_programs());
            told(&build(recipe, &out, programs, surroundings)?, &out, json)
        }
        Image::Update { recipe } => {
            let recipe = there(recipe.as_deref().unwrap_or(Path::new(RECIPE)))?;
            update(recipe, surroundings, json)
        }
        Image::List { directory } => shelf::list(directory.as_ref().unwrap_or(&surroundings.cache), json),
        Image::Served => served(&head()?, json),
        Image::Show { image } => shelf::show(&chosen(image, surroundings), json),
        Image::Verify { image } => shelf::verify(&chosen(image, surroundings), json),
        Image::Diff { one, other } => shelf::diff(one, other, json),
        Image::Gc { yes, recipe } => {
            let recipe = recipe.as_deref().unwrap_or(Path::new(RECIPE));
            let options = SweepOptions {
                cache: surroundings.cache.join("packages"),
                images: vec![surroundings.image()],
                locks: vec![std::path::absolute(recipe.with_extension("lock"))?],
            };
            shelf::gc(&options, *yes, json)
        }
        Image::Push { image, to } => store::push(&chosen(image, surroundings), to, surroundings, json),
        Image::Pull { from, out } => store::pull(from, out, surroundings, json),
        Image::Export { image, out } => shelf::export(&chosen(image, surroundings), out, json),
    }
}

/// Lists what the head serves.
///
/// # Errors
/// What the head says.
fn served(head: &Client, json: bool) -> anyhow::Result<()> {
    let images: Vec<ImageView> = head.get("/v1/images")?;
    if json {
        return table::json(&images);
    }
    let mut table = table::table(&["NAME", "IMAGE", "RECIPE", "KERNEL", "MB", "NODES"]);
    for image in images {
        let bytes = image.kernel_bytes + image.initramfs_bytes + image.system_bytes;
        let id: String = image.id.to_string().chars().take(12).collect();
        let name = image.name.unwrap_or_else(|| "(replaced)".to_owned());
        let megabytes = format!("{:.1}", bytes as f64 / 1e6);
        table.add_row([name, id, image.recipe, image.kernel_version, megabytes, image.nodes.to_string()]);
    }
    table::print(&table)
}

/// A recipe that is a file.
///
/// # Errors
/// It is none.
pub(crate) fn there(recipe: &Path) -> Result<&Path, BadInput> {
    let missing = || {
        BadInput(format!("reading {}: there is no such file; --recipe FILE names another", recipe.display()))
    };
    if recipe.is_file() { Ok(recipe) } else { Err(missing()) }
}

/// The first folder of the node's programs that is there; else the package's, which the error then names.
fn node_programs() -> &'static Path {
    let [built, installed] = PROGRAMS.map(Path::new);
    if built.is_dir() { built } else { installed }
}

fn chosen(image: &ImageChoice, surroundings: &Surroundings) -> PathBuf {
    image.directory.clone().unwrap_or_else(|| surroundings.image())
}

/// Makes the image that the demo boots, if there is none.
///
/// # Errors
/// What the kitchen says.
pub(crate) fn ensure(directory: Option<&Path>, surroundings: &Surroundings) -> anyhow::Result<()> {
    let out = directory.map_or_else(|| surroundings.image(), Path::to_owned);
    if out.join(MANIFEST_FILE).exists() {
        return Ok(());
    }
    let recipe = [RECIPE, "example/image.toml"].into_iter().map(Path::new).find(|path| path.exists());
    let recipe = recipe.with_context(|| {
        format!(
            "no image in {}, and no {RECIPE} here to make one: run `make image` in the repository",
            out.display()
        )
    })?;
    println!("No image in {} yet: making it from {}.", out.display(), recipe.display());
    let manifest = build(recipe, &out, node_programs(), surroundings)?;
    summarise(&manifest, &out);
    Ok(())
}

fn build(
    recipe: &Path,
    out: &Path,
    programs: &Path,
    surroundings: &Surroundings,
) -> anyhow::Result<Manifest> {
    let options = BuildOptions {
        recipe: recipe.to_owned(),
        out: out.to_owned(),
        cache: surroundings.cache.join("packages"),
        node_binaries: programs.to_owned(),
        apt: PathBuf::from(APT),
    };
    let mut steps = Steps::new();
    let built = image::build(&options, &mut steps);
    steps.end();
    let built = built.with_context(|| format!("composing the image in {}", out.display()))?;
    Ok(built.manifest)
}

fn update(recipe: &Path, surroundings: &Surroundings, json: bool) -> anyhow::Result<()> {
    let options = UpdateOptions {
        recipe: recipe.to_owned(),
        cache: surroundings.cache.join("packages"),
        apt: PathBuf::from(APT),
    };
    let mut steps = Steps::new();
    let updated = image::update(&options, &mut steps);
    steps.end();
    let updated = updated.with_context(|| format!("updating the lock of {}", recipe.display()))?;
    if json {
        return table::json(&updated);
    }
    if updated.changes.is_empty() {
        println!("{} has what the suite has: {} packages.", updated.lock.display(), updated.packages);
        return Ok(());
    }
    table::print(&tables::changes(&updated.changes))?;
    println!(
        "{}: {} packages, {} to download.",
        updated.lock.display(),
        updated.packages,
        tables::megabytes(updated.bytes)
    );
    Ok(())
}

/// Says what was made.
///
/// # Errors
/// It cannot be written.
fn told(manifest: &Manifest, out: &Path, json: bool) -> anyhow::Result<()> {
    if json {
        return table::json(manifest);
    }
    summarise(manifest, out);
    Ok(())
}

fn summarise(manifest: &Manifest, out: &Path) {
    println!("{} {} in {}:", manifest.name, manifest.kernel_version, out.display());
    for artefact in
        [&manifest.kernel, &manifest.initramfs, &manifest.system].into_iter().chain(&manifest.one_file)
    {
        println!("  {:16} {:>6.1} MB", artefact.file, artefact.bytes as f64 / 1e6);
    }
    if !manifest.firmware.is_empty() {
        let bytes: u64 = manifest.firmware.iter().map(|artefact| artefact.bytes).sum();
        println!("  {:16} {:>6.1} MB", FIRMWARE_FOLDER, bytes as f64 / 1e6);
    }
}
