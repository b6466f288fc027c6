//! `cargo xtask deb PROGRAM`: the head as a Debian package, with its unit, manual pages and completions.
//!
//! PROGRAM is a `fledermaus` of the architecture that the package is for; its own ELF header says which. `dpkg-deb` packs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

/// Where ELF has its machine (gabi 4, e_machine), and the machines that Debian calls amd64 and arm64.
const MACHINE: usize = 18;
const MACHINES: [(u16, &str); 2] = [(62, "amd64"), (183, "arm64")];
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The oldest glibc that the program's symbols are of is Debian 12's.
const DEPENDS: &str = "libc6 (>= 2.34), libgcc-s1, passwd";

/// Makes `target/fledermaus_VERSION_ARCHITECTURE.deb`, and prints its path.
///
/// # Errors
/// The program is none, dpkg-deb is missing, or a file cannot be written.
pub(crate) fn run(root: &Path, program: &Path) -> anyhow::Result<()> {
    let architecture =
        architecture(&fs::read(program).with_context(|| format!("reading {}", program.display()))?)?;
    let stage = root.join("target/deb");
    if stage.exists() {
        fs::remove_dir_all(&stage).context("clearing the last package's files")?;
    }
    let unit = fs::read_to_string(root.join("packaging/fledermaus.service"))?;
    put(&stage.join("usr/bin/fledermaus"), &fs::read(program)?, 0o755)?;
    put(&stage.join("lib/systemd/system/fledermaus.service"), unit.as_bytes(), 0o644)?;
    let example = fs::read_to_string(root.join("example/cluster.toml"))?;
    put(&stage.join("usr/share/doc/fledermaus/cluster.toml"), example.as_bytes(), 0o644)?;
    put(&stage.join("usr/share/doc/fledermaus/copyright"), &fs::read(root.join("LICENSE"))?, 0o644)?;
    let default = fs::read(root.join("example/user-data/default.sh"))?;
    put(&stage.join("etc/fledermaus/user-data/default.sh"), &default, 0o640)?;
    told_by_itself(root, program, &stage)?;
    control(root, &stage, architecture)?;
    let package = root.join(format!("target/fledermaus_{VERSION}_{architecture}.deb"));
    let packed =
        Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&stage).arg(&package).output();
    let packed = packed.context("starting dpkg-deb, of the package dpkg")?;
    ensure!(packed.status.success(), "dpkg-deb: {}", String::from_utf8_lossy(&packed.stderr));
    println!("{}", package.display());
    Ok(())
}

/// Manual pages and completions. A program of another architecture cannot tell them: this machine's own build does.
fn told_by_itself(root: &Path, program: &Path, stage: &Path) -> anyhow::Result<()> {
    let own = [program.to_owned(), root.join("target/release/fledermaus")];
    let tell = |arguments: &[&str]| -> anyhow::Result<Vec<u8>> {
        let outputs = own.iter().filter_map(|program| Command::new(program).args(arguments).output().ok());
        let mut said = outputs.filter(|output| output.status.success());
        Ok(said
            .next()
            .context(
                "neither the program nor target/release/fledermaus runs here: `cargo build --release -p cli`",
            )?
            .stdout)
    };
    let pages: PathBuf = stage.join("usr/share/man/man1");
    tell(&["man", "--out", pages.to_str().context("the path is not text")?])?;
    for (shell, place) in [
        ("bash", "usr/share/bash-completion/completions/fledermaus"),
        ("zsh", "usr/share/zsh/vendor-completions/_fledermaus"),
        ("fish", "usr/share/fish/vendor_completions.d/fledermaus.fish"),
    ] {
        put(&stage.join(place), &tell(&["completions", shell])?, 0o644)?;
    }
    Ok(())
}

fn control(root: &Path, stage: &Path, architecture: &str) -> anyhow::Result<()> {
    let text = format!(
        "Package: fledermaus\nVersion: {VERSION}\nArchitecture: {architecture}\nMaintainer: the fledermaus developers \
         <fledermaus@localhost>\nDepends: {DEPENDS}\nSection: admin\nPriority: optional\nDescription: blank Raspberry Pis \
         become a Docker Swarm\n One program on a head node answers DHCP, TFTP, DNS and HTTP, keeps the inventory and the\n \
         user data, and looks after the swarm.\n"
    );
    put(&stage.join("DEBIAN/control"), text.as_bytes(), 0o644)?;
    put(&stage.join("DEBIAN/conffiles"), b"/etc/fledermaus/user-data/default.sh\n", 0o644)?;
    for script in ["postinst", "prerm"] {
        put(&stage.join("DEBIAN").join(script), &fs::read(root.join("packaging").join(script))?, 0o755)?;
    }
    Ok(())
}

fn put(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let folder = path.parent().context("a file has a folder")?;
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, content))
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

/// Debian's name of the architecture that a program is for.
fn architecture(program: &[u8]) -> anyhow::Result<&'static str> {
    let machine = program.get(MACHINE..MACHINE + 2).filter(|_| program.starts_with(b"\x7fELF"));
    let Some([low, high]) = machine else { bail!("it is no Linux program: name a built `fledermaus`") };
    let machine = u16::from_le_bytes([*low, *high]);
    let known = MACHINES.iter().find(|(number, _)| *number == machine);
    Ok(known.with_context(|| format!("its machine, {machine}, is neither amd64 nor arm64"))?.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_says_what_it_is_for() {
        let mut elf = b"\x7fELF".to_vec();
        elf.resize(64, 0);
        elf[MACHINE] = 183;
        assert_eq!(architecture(&elf).expect("known"), "arm64");
        elf[MACHINE] = 62;
        assert_eq!(architecture(&elf).expect("known"), "amd64");
        assert!(architecture(b"#!/bin/sh\n").is_err());
    }
}
