//! `cargo xtask dist`: what users install, in `target/dist`: for each architecture the static program, and the Debian package
//! around it. `make packages` has built the programs before; a cargo that a cargo started would build half of them anew.
//!
//! Static by musl, because a program with glibc inside still needs that very glibc's files when it looks a name up.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};

use crate::deb;

/// Architectures in Debian's words, and the compiler's names of them.
const TARGETS: [(&str, &str); 2] =
    [("amd64", "x86_64-unknown-linux-musl"), ("arm64", "aarch64-unknown-linux-musl")];

/// Where cargo puts the nodes' programs, which are in each package.
const NODE_PROGRAMS: &str = "target/aarch64-unknown-linux-musl/node";

/// Packs for the named architectures, or for all, and prints the path of each file.
///
/// # Errors
/// An architecture is not known, its program is not built yet, or packing failed.
pub(crate) fn run(root: &Path, architectures: &[String]) -> anyhow::Result<()> {
    let targets = chosen(architectures)?;
    let folder = root.join("target/dist");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    for (architecture, target) in targets {
        let built = root.join("target").join(target).join("release/fledermaus");
        ensure!(
            built.is_file(),
            "no program for {architecture}: `cargo build --release -p cli --target {target}`"
        );
        let program = folder.join(format!("fledermaus-{}-{architecture}", deb::VERSION));
        fs::copy(&built, &program).with_context(|| format!("copying {}", built.display()))?;
        println!("{}", program.display());
        let programs = deb::Programs { head: &program, node: &root.join(NODE_PROGRAMS) };
        println!("{}", deb::pack(root, &programs, architecture, target, &folder)?.display());
    }
    Ok(())
}

fn chosen(architectures: &[String]) -> anyhow::Result<Vec<(&'static str, &'static str)>> {
    let known = |name: &String| {
        let target = TARGETS.iter().find(|(architecture, _)| architecture == name);
        target.copied().with_context(|| format!("`{name}` is neither amd64 nor arm64"))
    };
    match architectures {
        [] => Ok(TARGETS.to_vec()),
        named => named.iter().map(known).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_architectures_unless_some_are_named() {
        assert_eq!(chosen(&[]).expect("all").len(), 2);
        let one = chosen(&["arm64".to_owned()]).expect("known");
        assert_eq!(one, [("arm64", "aarch64-unknown-linux-musl")]);
        let refused = chosen(&["armhf".to_owned()]).expect_err("not known");
        assert_eq!(refused.to_string(), "`armhf` is neither amd64 nor arm64");
    }
}
