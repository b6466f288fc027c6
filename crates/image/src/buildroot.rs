//! Runs Buildroot: a checkout of it, with this project's `buildroot/` beside it, to its folder `output/images`. What it prints goes into a
//! log, and which package it is at to the caller. [`crate::import()`] makes an image of the result.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::progress::Progress;

/// How Buildroot begins a line that says what it does: `>>> package version Building`, with colours.
const MARK: &str = ">>> ";
/// The file beside its output with all that it printed.
const LOG_FILE: &str = "build.log";
/// How many of its last lines are shown if it fails.
const LAST_LINES: usize = 15;

/// What to run.
#[derive(Clone, Debug)]
pub struct BuildrootOptions {
    /// The checkout of Buildroot.
    pub checkout: PathBuf,
    /// This project's folder `buildroot/`.
    pub external: PathBuf,
    /// The configuration, such as `fledermausland_pi_defconfig`.
    pub configuration: String,
    /// Where Buildroot builds; an hour's work that the next run goes on with.
    pub output: PathBuf,
}

/// Builds, and gives the folder with the results.
///
/// # Errors
/// There is no Buildroot, or it fails: the sentence has its last lines.
pub fn make(options: &BuildrootOptions, progress: &mut dyn Progress) -> Result<PathBuf> {
    ensure!(
        options.checkout.join("Makefile").is_file() && options.checkout.join("package").is_dir(),
        "{} is no checkout of Buildroot: name one with --buildroot DIR",
        options.checkout.display()
    );
    let configuration = options.external.join("configs").join(&options.configuration);
    ensure!(configuration.is_file(), "there is no configuration {}", configuration.display());
    fs::create_dir_all(&options.output).with_context(|| format!("making {}", options.output.display()))?;
    let log_path = options.output.join(LOG_FILE);
    let mut log = File::create(&log_path).with_context(|| format!("writing {}", log_path.display()))?;
    for target in [&*options.configuration, "all"] {
        progress.step(if target == "all" { "buildroot" } else { target });
        run(options, target, &mut log, progress)
            .with_context(|| format!("making {target} (all that it printed is in {})", log_path.display()))?;
    }
    Ok(options.output.join("images"))
}

fn run(options: &BuildrootOptions, target: &str, log: &mut File, progress: &mut dyn Progress) -> Result<()> {
    let absolute =
        |path: &Path| std::path::absolute(path).with_context(|| format!("finding {}", path.display()));
    let (output, mut input) = (absolute(&options.output)?, std::io::pipe().context("making a pipe")?);
    let mut make = Command::new("make")
        .arg(format!("O={}", output.display()))
        .arg(format!("BR2_EXTERNAL={}", absolute(&options.external)?.display()))
        // Its last script would do what the caller does next.
        .args(["BR2_ROOTFS_POST_IMAGE_SCRIPT=", target])
        .current_dir(&options.checkout)
        .stdin(Stdio::null())
        .stderr(input.1.try_clone()?)
        .stdout(input.1)
        .spawn()
        .context("starting make")?;
    let mut last = Vec::new();
    for line in BufReader::new(&mut input.0).split(b'\n') {
        let line = String::from_utf8_lossy(&line.context("reading what make prints")?).into_owned();
        writeln!(log, "{line}").context("writing the log")?;
        if let Some(work) = work(&line) {
            progress.step(&work);
        }
        last.push(line);
        if last.len() > LAST_LINES {
            last.remove(0);
        }
    }
    let ended = make.wait().context("waiting for make")?;
    if !ended.success() {
        bail!("Buildroot failed ({ended}); its last lines:\n{}", last.join("\n"));
    }
    Ok(())
}

/// What Buildroot says that it does: `docker-engine 28.3.3 Building`.
fn work(line: &str) -> Option<String> {
    let (_, said) = line.split_once(MARK)?;
    // What follows the text switches the colours off again.
    let said = said.split('\x1b').next().unwrap_or(said).trim();
    (!said.is_empty()).then(|| said.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Remembers what it was told.
    #[derive(Default)]
    struct Steps(Vec<String>);

    impl Progress for Steps {
        fn step(&mut self, name: &str) {
            self.0.push(name.to_owned());
        }
        fn bytes(&mut self, _: u64, _: u64) {}
        fn notice(&mut self, _: &str) {}
    }

    /// A Buildroot that only prints what the real one prints.
    fn checkout(makefile: &str) -> (tempfile::TempDir, BuildrootOptions) {
        let place = tempfile::tempdir().expect("a folder");
        let folder = |name: &str| place.path().join(name);
        fs::create_dir_all(folder("buildroot/package")).expect("made");
        fs::create_dir_all(folder("external/configs")).expect("made");
        fs::write(folder("buildroot/Makefile"), makefile).expect("written");
        fs::write(folder("external/configs/small_defconfig"), "").expect("written");
        let options = BuildrootOptions {
            checkout: folder("buildroot"),
            external: folder("external"),
            configuration: "small_defconfig".to_owned(),
            output: folder("output"),
        };
        (place, options)
    }

    #[test]
    fn the_packages_are_steps_and_everything_is_in_the_log() {
        let makefile = "small_defconfig:\n\t@echo loaded $(BR2_EXTERNAL)\n\
             all:\n\t@printf '\\033[7m>>> runc 1.3.5 Building\\033[27m\\nnoise\\n'; mkdir -p $(O)/images\n";
        let (place, options) = checkout(makefile);
        let mut steps = Steps::default();
        let images = make(&options, &mut steps).expect("built");
        assert!(images.is_dir());
        assert_eq!(steps.0, ["small_defconfig", "buildroot", "runc 1.3.5 Building"]);
        let log = fs::read_to_string(options.output.join(LOG_FILE)).expect("there");
        let external = place.path().join("external");
        assert!(log.contains(&format!("loaded {}", external.display())) && log.contains("noise"), "{log}");
    }

    #[test]
    fn a_failure_has_buildroot_s_last_lines() {
        let (_place, options) = checkout("small_defconfig:\n\t@echo why it fails; exit 3\n");
        let said = format!("{:#}", make(&options, &mut Steps::default()).expect_err("it fails"));
        assert!(said.contains("why it fails") && said.contains(LOG_FILE), "{said}");
    }

    #[test]
    fn a_folder_that_is_no_buildroot_and_a_configuration_that_is_none_are_named() {
        let (place, mut options) = checkout("");
        options.configuration = "other_defconfig".to_owned();
        let said = format!("{:#}", make(&options, &mut Steps::default()).expect_err("no such file"));
        assert!(said.contains("other_defconfig"), "{said}");
        options.checkout = place.path().join("external");
        let said = format!("{:#}", make(&options, &mut Steps::default()).expect_err("no Makefile"));
        assert!(said.contains("--buildroot"), "{said}");
    }
}
