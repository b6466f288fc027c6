//! `fledermaus card write`: asks before it overwrites a device, composes a card and writes it. Whether a device may be
//! written is `image::card::device`'s to say.

use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use image::card::device::{self, Device, Machine};
use image::card::media::{self, Claimed};
use image::card::{self, CardOptions};
use serde_json::json;

use crate::arguments::{Card, CardWrite};
use crate::exit::BadInput;
use crate::image::{APT, RECIPE, there};
use crate::steps::Steps;
use crate::surroundings::Surroundings;
use crate::table;

/// Writes a card.
///
/// # Errors
/// What the kitchen says, a device that is refused, an answer that is not "yes".
pub(crate) fn run(command: &Card, surroundings: &Surroundings, json: bool) -> anyhow::Result<()> {
    let Card::Write(write) = command;
    let recipe = there(write.recipe.as_deref().unwrap_or(Path::new(RECIPE)))?;
    let options = CardOptions {
        recipe: recipe.to_owned(),
        cache: surroundings.cache.join("packages"),
        apt: PathBuf::from(APT),
        server: write.server,
    };
    // Whatever can be refused is refused before anybody is asked and anything is fetched.
    card::check(&options.recipe)?;
    let target = Target::of(write)?;
    let mut steps = Steps::new();
    let written = compose_and_write(&options, &target, &mut steps);
    steps.end();
    report(&written?, &target, json)
}

/// Where a card goes, checked.
enum Target {
    File(PathBuf),
    /// Claimed, so that nobody mounts it while a person thinks and packages are fetched.
    Device(Device, Claimed),
}

impl Target {
    fn of(write: &CardWrite) -> anyhow::Result<Self> {
        if let Some(out) = &write.target.out {
            check_file(out)?;
            return Ok(Self::File(out.clone()));
        }
        let path = write.target.device.as_deref().context("neither --out nor --device")?;
        let name = device::name_of(path)?;
        let device = Machine::read()?.permit(&name, card::BYTES, write.force_size)?;
        let claimed = Claimed::open(&device.path)?;
        if !write.yes {
            ask(&device)?;
        }
        Ok(Self::Device(device, claimed))
    }

    fn path(&self) -> &Path {
        match self {
            Self::File(out) => out,
            Self::Device(device, _) => &device.path,
        }
    }
}

fn check_file(out: &Path) -> Result<(), BadInput> {
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(BadInput(format!("writing {}: there is no folder {}", out.display(), folder.display())));
    }
    if out.exists() && !out.is_file() {
        let text = format!("{} is no plain file: name a new one, or a device with --device", out.display());
        return Err(BadInput(text));
    }
    Ok(())
}

/// On standard error, for standard output may be JSON.
fn ask(device: &Device) -> anyhow::Result<()> {
    if !std::io::stdin().is_terminal() {
        let text = "nobody can be asked whether it may be overwritten: say --yes if it may";
        return Err(BadInput(format!("{}: {text}", describe(device))).into());
    }
    eprint!("{}: everything on it will be lost. Overwrite it? Type yes: ", describe(device));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("reading the answer")?;
    if answer.trim().eq_ignore_ascii_case("yes") {
        return Ok(());
    }
    bail!("{} is as it was: the answer was not yes", device.path.display())
}

fn describe(device: &Device) -> String {
    let model = if device.model.is_empty() { "no name" } else { &device.model };
    format!("{} ({model}, {:.1} GB)", device.path.display(), device.bytes as f64 / 1e9)
}

fn compose_and_write(
    options: &CardOptions,
    target: &Target,
    steps: &mut Steps,
) -> anyhow::Result<card::Card> {
    let card = card::compose(options, steps)
        .with_context(|| format!("composing a card for {}", target.path().display()))?;
    match target {
        Target::File(out) => media::write_file(&card.image, out)?,
        Target::Device(_, claimed) => claimed.write(&card.image, steps)?,
    }
    Ok(card)
}

fn report(card: &card::Card, target: &Target, as_json: bool) -> anyhow::Result<()> {
    let is_device = matches!(target, Target::Device(..));
    let bytes = card.image.len();
    let packages: Vec<String> =
        card.packages.iter().map(|(name, version)| format!("{name} {version}")).collect();
    if as_json {
        let files: Vec<_> =
            card.files.iter().map(|(file, bytes)| json!({ "file": file, "bytes": bytes })).collect();
        return table::json(&json!({
            "target": target.path(), "bytes": bytes, "sha256": card.sha256, "read_back": is_device,
            "packages": packages, "files": files,
        }));
    }
    let used: u64 = card.files.iter().map(|(_, bytes)| bytes).sum();
    let end = if is_device { "; read back, it holds what was written" } else { "" };
    println!(
        "{}: {:.1} MB, {:.1} MB in {} files{end}",
        target.path().display(),
        bytes as f64 / 1e6,
        used as f64 / 1e6,
        card.files.len()
    );
    println!("  SHA-256 {}\n  of {}", card.sha256, packages.join(", "));
    Ok(())
}
