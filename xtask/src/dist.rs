//! `cargo xtask dist [ARCHITECTURE…]`: what users install. For each architecture a static program that runs on any Linux, and
//! the Debian package around it, in `target/dist`.
//!
//! Static by musl, because a program with glibc inside still needs that very glibc's files when it looks a name up.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::deb;

/// An architecture in Debian's words, the compiler's name of it, and what compiles the C in SQLite, ring and zstd, with its package.
struct Target {
    architecture: &'static str,
    name: &'static str,
    compiler: (&'static str, &'static str),
}

const TARGETS: [Target; 2] = [
    Target { architecture: "amd64", name: "x86_64-unknown-linux-musl", compiler: ("musl-gcc", "musl-tools") },
    Target {
        architecture: "arm64",
        name: "aarch64-unknown-linux-musl",
        compiler: ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
    },
];

/// Builds for the named architectures, or for all, one after another, and prints the path of each file.
///
/// # Errors
/// An architecture is not known, a tool is missing (the sentence says how to install it), or a build failed.
pub(crate) fn run(root: &Path, architectures: &[String]) -> anyhow::Result<()> {
    let targets = chosen(architectures)?;
    targets.iter().try_for_each(Target::check)?;
    let folder = root.join("target/dist");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    for target in targets {
        target.build(root)?;
        let built = root.join("target").join(target.name).join("release/fledermaus");
        let program = folder.join(format!("fledermaus-{}-{}", deb::VERSION, target.architecture));
        fs::copy(&built, &program).with_context(|| format!("copying {}", built.display()))?;
        println!("{}", program.display());
        println!("{}", deb::pack(root, &program, target.architecture, target.name, &folder)?.display());
    }
    Ok(())
}

fn chosen(architectures: &[String]) -> anyhow::Result<Vec<&'static Target>> {
    let known = |name: &String| {
        let target = TARGETS.iter().find(|target| target.architecture == name);
        target.with_context(|| format!("`{name}` is neither amd64 nor arm64"))
    };
    match architectures {
        [] => Ok(TARGETS.iter().collect()),
        named => named.iter().map(known).collect(),
    }
}

impl Target {
    /// Before minutes of compiling.
    fn check(self: &&Self) -> anyhow::Result<()> {
        let (compiler, package) = self.compiler;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).any(|directory| directory.join(compiler).is_file());
        ensure!(
            found,
            "`{compiler}` is not installed: `apt-get install {package}` (or `scripts/install-deps packages`)"
        );
        let sysroot =
            Command::new("rustc").args(["--print", "sysroot"]).output().context("starting rustc")?;
        let sysroot = String::from_utf8(sysroot.stdout).context("reading what rustc says")?;
        let library = Path::new(sysroot.trim()).join("lib/rustlib").join(self.name);
        ensure!(library.is_dir(), "this toolchain lacks {0}: `rustup target add {0}`", self.name);
        Ok(())
    }

    fn build(&self, root: &Path) -> anyhow::Result<()> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--release", "--package", "cli", "--target", self.name]).current_dir(root);
        let ended = build.status().context("starting cargo")?;
        if !ended.success() {
            bail!("building for {} ended with {ended}", self.architecture);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_architectures_unless_some_are_named() {
        assert_eq!(chosen(&[]).expect("all").len(), 2);
        let one = chosen(&["arm64".to_owned()]).expect("known");
        assert_eq!(one.iter().map(|target| target.name).collect::<Vec<_>>(), ["aarch64-unknown-linux-musl"]);
        let Err(refused) = chosen(&["armhf".to_owned()]) else { panic!("not known") };
        assert_eq!(refused.to_string(), "`armhf` is neither amd64 nor arm64");
    }
}
