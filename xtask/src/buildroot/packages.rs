//! Our two packages, built by Buildroot's infrastructure with the compilers of this machine: Buildroot's toolchain and Rust come from
//! the internet, and it is the packages that are to be checked.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Build;

const PACKAGES: [&str; 2] = ["fledermaus-agent", "fledermaus-init"];
/// What all configurations are for, in Rust's words.
const TARGET: &str = "aarch64-unknown-linux-gnu";
/// The cross compiler's programs, and how Buildroot's and Debian's begin (package gcc-aarch64-linux-gnu).
const TOOLS: [&str; 8] = ["ar", "as", "gcc", "ld", "nm", "objcopy", "ranlib", "strip"];
const PREFIXES: (&str, &str) = ("aarch64-linux-", "/usr/bin/aarch64-linux-gnu-");
/// What tells Buildroot that a step of a package is done (package/pkg-generic.mk).
const STAMPS: [&str; 10] = [
    "downloaded",
    "extracted",
    "patched",
    "configured",
    "built",
    "host_installed",
    "staging_installed",
    "target_installed",
    "images_installed",
    "installed",
];

/// Builds them; what make says if it cannot.
///
/// # Errors
/// A compiler is missing, or a folder cannot be written.
pub(super) fn build(build: &Build) -> Result<Vec<String>> {
    let programs = build.output.join("host/bin");
    fs::create_dir_all(&programs).context("making host/bin")?;
    lay_compilers(&programs)?;
    let mut findings = Vec::new();
    for package in PACKAGES {
        let listed = build.make(&[&format!("{package}-show-recursive-depends")])?;
        for dependency in String::from_utf8_lossy(&listed.stdout).split_whitespace() {
            call_done(build, dependency)?;
        }
        let failure = build.failure(&[package])?;
        if failure.is_none() {
            println!("{package}: built and installed");
        }
        findings.extend(failure);
    }
    Ok(findings)
}

/// Puts this machine's compilers where Buildroot looks for its own.
fn lay_compilers(programs: &Path) -> Result<()> {
    let asked = Command::new("rustc").args(["--print", "sysroot"]).output().context("starting rustc")?;
    let sysroot = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    let sysroot = Path::new(&sysroot);
    ensure!(
        sysroot.join("lib/rustlib").join(TARGET).is_dir(),
        "Rust has no {TARGET}: `rustup target add {TARGET}`"
    );
    for tool in ["cargo", "rustc"] {
        symlink(sysroot.join("bin").join(tool), programs.join(tool)).context("laying a link to Rust")?;
    }
    for tool in TOOLS {
        let debians = format!("{}{tool}", PREFIXES.1);
        ensure!(
            Path::new(&debians).exists(),
            "there is no {debians}: `apt-get install gcc-aarch64-linux-gnu`"
        );
        symlink(debians, programs.join(format!("{}{tool}", PREFIXES.0))).context("laying a link to gcc")?;
    }
    Ok(())
}

/// Tells Buildroot that a package is there.
fn call_done(build: &Build, package: &str) -> Result<()> {
    let variable = format!("{}_DIR", package.replace('-', "_").to_uppercase());
    let printed = build.make(&["printvars", &format!("VARS={variable}")])?;
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    let folder = printed.lines().find_map(|line| line.strip_prefix(&variable)?.strip_prefix('='));
    let folder = Path::new(folder.with_context(|| format!("Buildroot has no {variable}"))?);
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    for stamp in STAMPS {
        fs::write(folder.join(format!(".stamp_{stamp}")), "").context("writing a stamp")?;
    }
    Ok(())
}
