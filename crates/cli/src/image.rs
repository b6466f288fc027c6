//! `fledermaus image …`: the kitchen, with a bar on a terminal and a line per step elsewhere.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::Context;
use cluster::manifest::{FIRMWARE_FOLDER, MANIFEST_FILE, Manifest};
use image::{BuildOptions, Progress};
use indicatif::{ProgressBar, ProgressStyle};

use crate::arguments::Image;
use crate::surroundings::Surroundings;

/// The recipe when none is named: the one of the working directory.
const RECIPE: &str = "image.toml";
/// Where the machine says which mirror it uses.
const APT: &str = "/etc/apt";
/// Where cargo puts the node's programs, seen from the repository.
const PROGRAMS: &str = "target/aarch64-unknown-linux-musl/node";

/// Makes an image.
///
/// # Errors
/// What the kitchen says.
pub(crate) fn run(command: &Image, surroundings: &Surroundings) -> anyhow::Result<()> {
    let Image::Build { recipe, out, programs } = command;
    let recipe = recipe.clone().unwrap_or_else(|| PathBuf::from(RECIPE));
    let out = out.clone().unwrap_or_else(|| surroundings.image());
    let programs = programs.clone().unwrap_or_else(|| PathBuf::from(PROGRAMS));
    let manifest = build(&recipe, &out, &programs, surroundings)?;
    summarise(&manifest, &out);
    Ok(())
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
    let manifest = build(recipe, &out, Path::new(PROGRAMS), surroundings)?;
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

fn summarise(manifest: &Manifest, out: &Path) {
    println!("{} {} in {}:", manifest.name, manifest.kernel_version, out.display());
    for artefact in [&manifest.kernel, &manifest.initramfs, &manifest.system] {
        println!("  {:16} {:>6.1} MB", artefact.file, artefact.bytes as f64 / 1e6);
    }
    if !manifest.firmware.is_empty() {
        let bytes: u64 = manifest.firmware.iter().map(|artefact| artefact.bytes).sum();
        println!("  {:16} {:>6.1} MB", FIRMWARE_FOLDER, bytes as f64 / 1e6);
    }
}

/// Shows the kitchen's steps on standard error.
struct Steps {
    bar: Option<ProgressBar>,
}

impl Steps {
    fn new() -> Self {
        let style =
            ProgressStyle::with_template("{prefix:28} {bar:30} {bytes:>10} of {total_bytes} {bytes_per_sec}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(0).with_style(style));
        Self { bar }
    }

    fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }

    /// Prints above the bar.
    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }
}

impl Progress for Steps {
    fn step(&mut self, name: &str) {
        match &self.bar {
            Some(bar) => {
                bar.reset();
                bar.set_length(0);
                bar.set_prefix(name.to_owned());
            }
            None => eprintln!("{name}"),
        }
    }

    fn bytes(&mut self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
        }
    }

    fn notice(&mut self, text: &str) {
        self.line(text);
    }
}
