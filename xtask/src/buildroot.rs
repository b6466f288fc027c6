//! `cargo xtask buildroot`: whether Buildroot and the kernel take what is in `buildroot/` as it is meant. Builds our two packages,
//! nothing else.
//!
//! Needs a checkout of Buildroot, named by `FLEDERMAUS_BUILDROOT`, and looks at the configuration of the kernels whose sources
//! `FLEDERMAUS_LINUX` names, separated by colons. What is not there is not checked, and that is said.

mod packages;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};

/// The checkout of Buildroot.
const CHECKOUT: &str = "FLEDERMAUS_BUILDROOT";
/// Sources of kernels.
const KERNELS: &str = "FLEDERMAUS_LINUX";
/// What each board's kernel is configured by, in the order of merging; beside what is only for kernels of 6.12.
const BOARDS: [(&str, &[&str]); 2] = [
    ("Pi 3", &["core.config", "docker.fragment", "pi.fragment", "pi3.fragment", "virt.fragment"]),
    ("Pi 4", &["core.config", "docker.fragment", "pi.fragment", "pi4.fragment", "virt.fragment"]),
];
const ONLY_6_12: &str = "linux-6.12.fragment";

/// Checks, and gives the number of findings, each of which was printed.
///
/// # Errors
/// There is no checkout, or a program that is needed does not start.
pub(crate) fn run(root: &Path) -> Result<usize> {
    let Some(checkout) = std::env::var_os(CHECKOUT).map(PathBuf::from) else {
        bail!("nothing was checked: there is no checkout of Buildroot. {CHECKOUT}=DIR names one");
    };
    ensure!(
        checkout.join("utils/check-package").is_file(),
        "{CHECKOUT} names {}, which is no checkout of Buildroot",
        checkout.display()
    );
    let external = root.join("buildroot");
    let output = tempfile::tempdir().context("making a folder")?;
    let mut findings = style(&checkout, &external)?;
    for (place, name) in configurations(&external)?.into_iter().enumerate() {
        let build = Build { checkout: &checkout, external: &external, output: output.path().join(&name) };
        findings.extend(build.configure(&name)?);
        println!("{name}: loaded, saved");
        // They are the same in all.
        if place == 0 {
            findings.extend(packages::build(&build)?);
        }
    }
    let kernels = std::env::var(KERNELS).unwrap_or_default();
    for source in kernels.split(':').filter(|source| !source.is_empty()) {
        for (board, files) in BOARDS {
            findings.extend(kernel(Path::new(source), &external, board, files, output.path())?);
        }
    }
    if kernels.is_empty() {
        println!("no kernel was configured: {KERNELS}=DIR:DIR… names sources of kernels");
    }
    findings.iter().for_each(|finding| println!("{finding}"));
    Ok(findings.len())
}

/// The configurations in the tree, by name.
fn configurations(external: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(external.join("configs")).context("reading buildroot/configs")? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// What Buildroot's own checker finds in our files. It calls shellcheck and flake8, and wants python3-magic.
fn style(checkout: &Path, external: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    files_below(external, &mut files)?;
    let checked = Command::new(checkout.join("utils/check-package"))
        .arg("--br2-external")
        .args(files)
        .output()
        .context("starting check-package")?;
    if checked.status.success() {
        println!("check-package: nothing");
        return Ok(Vec::new());
    }
    let said = [checked.stdout, checked.stderr].concat();
    Ok(String::from_utf8_lossy(&said).lines().map(|line| format!("check-package: {line}")).collect())
}

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() { files_below(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

/// A configuration of a checkout, and the folder that it builds in.
struct Build<'a> {
    checkout: &'a Path,
    external: &'a Path,
    output: PathBuf,
}

impl Build<'_> {
    fn make(&self, arguments: &[&str]) -> Result<Output> {
        Command::new("make")
            .arg("-s")
            .arg(format!("O={}", self.output.display()))
            .arg(format!("BR2_EXTERNAL={}", self.external.display()))
            .args(arguments)
            .current_dir(self.checkout)
            .output()
            .context("starting make")
    }

    /// What make says if it does not do something.
    fn failure(&self, arguments: &[&str]) -> Result<Option<String>> {
        let made = self.make(arguments)?;
        let said = String::from_utf8_lossy(&made.stderr).into_owned();
        Ok((!made.status.success()).then(|| format!("make {}: {said}", arguments.join(" "))))
    }

    /// Whether a configuration loads and comes back as it was written.
    fn configure(&self, name: &str) -> Result<Vec<String>> {
        let saved = self.output.join("saved");
        let mut findings: Vec<String> = self.failure(&[name])?.into_iter().collect();
        findings.extend(self.failure(&["savedefconfig", &format!("BR2_DEFCONFIG={}", saved.display())])?);
        if !findings.is_empty() {
            return Ok(findings);
        }
        let written = fs::read_to_string(self.external.join("configs").join(name))
            .context("reading a configuration")?;
        findings.extend(
            lost(&written, &fs::read_to_string(saved)?).map(|line| format!("{name}: Buildroot drops {line}")),
        );
        Ok(findings)
    }
}

/// Whether a kernel takes all that the fragments of a board say.
fn kernel(source: &Path, external: &Path, board: &str, files: &[&str], place: &Path) -> Result<Vec<String>> {
    let said = Command::new("make")
        .args(["-s", "kernelversion"])
        .current_dir(source)
        .output()
        .context("starting make")?;
    let version = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    let output = place.join(format!("linux-{version}-{board}").replace(' ', ""));
    fs::create_dir_all(&output)?;
    let mut files = files.to_vec();
    files.extend(version.starts_with("6.12.").then_some(ONLY_6_12));
    let files: Vec<PathBuf> = files.iter().map(|file| external.join("linux").join(file)).collect();
    let run = |command: &mut Command| {
        let ran = command.current_dir(source).output().context("starting the kernel's configuration")?;
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        ensure!(ran.status.success(), "configuring {} in {}: {said}", version, source.display());
        Ok(())
    };
    run(Command::new("scripts/kconfig/merge_config.sh").arg("-m").arg("-O").arg(&output).args(&files))?;
    run(Command::new("make")
        .args(["-s", "ARCH=arm64", "olddefconfig"])
        .arg(format!("O={}", output.display())))?;
    let merged = fs::read_to_string(output.join(".config")).context("reading the merged configuration")?;
    let mut findings = Vec::new();
    for file in &files {
        let wanted = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        findings.extend(lost(&wanted, &merged).map(|line| format!("Linux {version}, {board}: lost {line}")));
    }
    println!("Linux {version}, {board}: {} of what was set is lost", findings.len());
    Ok(findings)
}

/// The lines of a configuration that are not in another. A symbol that is to be off may as well not be there.
fn lost<'a>(wanted: &'a str, found: &'a str) -> impl Iterator<Item = &'a str> {
    wanted.lines().filter(move |line| {
        match line.strip_prefix("# ").and_then(|rest| rest.strip_suffix(" is not set")) {
            Some(symbol) => {
                found.lines().any(|line| line.strip_prefix(symbol).is_some_and(|rest| rest.starts_with('=')))
            }
            None => !line.is_empty() && !line.starts_with('#') && !found.lines().any(|found| found == *line),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_has_to_be_found_and_what_is_off_must_not_be_on() {
        let found = "A=y\nB=m\nD=y\n# E is not set\n";
        assert_eq!(lost("# a group\nA=y\nB=y\n\n", found).collect::<Vec<_>>(), ["B=y"]);
        let off = "# C is not set\n# D is not set\n# E is not set\n";
        assert_eq!(lost(off, found).collect::<Vec<_>>(), ["# D is not set"]);
    }

    /// Without a checkout this is all that is known of the tree: that the files are there which its configurations name.
    #[test]
    fn the_configurations_name_files_that_are_there() {
        let external = Path::new(env!("CARGO_MANIFEST_DIR")).join("../buildroot");
        let names = configurations(&external).expect("there");
        assert_eq!(names.len(), 3, "{names:?}");
        for name in names {
            let text = fs::read_to_string(external.join("configs").join(&name)).expect("text");
            let files: Vec<&str> = text
                .split("$(BR2_EXTERNAL_FLEDERMAUSLAND_PATH)/")
                .skip(1)
                .filter_map(|rest| rest.split(['"', ' ', '\n']).next())
                .collect();
            assert!(files.len() >= 7, "{name}: {files:?}");
            for file in files {
                assert!(external.join(file).is_file(), "{name}: {file}");
            }
        }
    }

    #[test]
    fn the_fragments_explain_each_group() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../buildroot/linux");
        for entry in fs::read_dir(folder).expect("there") {
            let path = entry.expect("there").path();
            let text = fs::read_to_string(&path).expect("text");
            for group in text.split("\n\n") {
                let explained = group.starts_with("# ")
                    && !group.lines().next().is_some_and(|line| line.ends_with("is not set"));
                assert!(explained, "{}: a group without a comment:\n{group}", path.display());
            }
        }
    }
}
