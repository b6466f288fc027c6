//! The head as a Debian package: a static program, the nodes' programs that it puts into images, its unit, manual pages,
//! completions, documents and examples. `dpkg-deb` packs.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The program needs no library; `passwd` has the `useradd` of postinst, and is not essential.
const DEPENDS: &str = "passwd";
const MAINTAINER: &str = "the fledermaus developers <fledermaus@localhost>";
/// What nodes run unless told otherwise; dpkg keeps what an operator makes of it.
const USER_DATA: &str = "etc/fledermaus/user-data/default.sh";
const DOCUMENTS: &str = "usr/share/doc/fledermaus";
/// Where `fledermaus image build` looks for the nodes' programs, and their names; whatever the head is, nodes are arm64.
const NODE_FOLDER: &str = "usr/lib/fledermaus/node";
const NODE_PROGRAMS: [&str; 2] = ["fledermaus-init", "fledermaus-agent"];
const NODE_TARGET: &str = "aarch64-unknown-linux-musl";

/// What goes into a package.
pub(crate) struct Programs<'a> {
    /// The head's.
    pub(crate) head: &'a Path,
    /// The folder with the nodes'.
    pub(crate) node: &'a Path,
}

/// Packs the programs for an architecture, in Debian's words, into `folder`. `target` is the compiler's name of it. Returns the
/// package's path.
///
/// # Errors
/// dpkg-deb is missing, no program runs here that could print its manual, or a file cannot be written.
pub(crate) fn pack(
    root: &Path,
    programs: &Programs,
    architecture: &str,
    target: &str,
    folder: &Path,
) -> anyhow::Result<PathBuf> {
    let program = programs.head;
    let stage = folder.join("stage");
    if stage.exists() {
        fs::remove_dir_all(&stage).context("clearing the last package's files")?;
    }
    put(&stage.join("usr/bin/fledermaus"), &fs::read(program)?, 0o755)?;
    for name in NODE_PROGRAMS {
        let built = programs.node.join(name);
        let content =
            fs::read(&built).with_context(|| format!("reading {}: `make packages`", built.display()))?;
        put(&stage.join(NODE_FOLDER).join(name), &content, 0o755)?;
    }
    for page in fs::read_dir(root.join("docs")).context("listing docs")? {
        let page = page?;
        put(&stage.join(DOCUMENTS).join(page.file_name()), &fs::read(page.path())?, 0o644)?;
    }
    for (from, to, mode) in FILES {
        put(&stage.join(to), &fs::read(root.join(from)).with_context(|| format!("reading {from}"))?, mode)?;
    }
    let copyright = copyright(root, target)?;
    put(&stage.join(DOCUMENTS).join("copyright"), copyright.as_bytes(), 0o644)?;
    put(&stage.join(DOCUMENTS).join("changelog"), changelog(root)?.as_bytes(), 0o644)?;
    told_by_itself(root, program, &stage)?;
    compress(&stage)?;
    control(&stage, architecture)?;
    // Whatever umask it was all made with; the user data alone is nobody else's business.
    succeed(Command::new("chmod").args(["--recursive", "u=rwX,go=rX"]).arg(&stage), "coreutils")?;
    fs::set_permissions(stage.join(USER_DATA), fs::Permissions::from_mode(0o640))?;
    let package = folder.join(format!("fledermaus_{VERSION}_{architecture}.deb"));
    succeed(
        Command::new("dpkg-deb")
            .env("SOURCE_DATE_EPOCH", committed(root, "%ct")?)
            .args(["--root-owner-group", "--build"])
            .arg(&stage)
            .arg(&package),
        "dpkg",
    )?;
    fs::remove_dir_all(&stage).context("clearing the package's files")?;
    Ok(package)
}

/// Where files are in the repository and in the package, and their modes.
const FILES: [(&str, &str, u32); 11] = [
    ("packaging/fledermaus.service", "usr/lib/systemd/system/fledermaus.service", 0o644),
    ("packaging/lintian-overrides", "usr/share/lintian/overrides/fledermaus", 0o644),
    ("packaging/postinst", "DEBIAN/postinst", 0o755),
    ("packaging/prerm", "DEBIAN/prerm", 0o755),
    ("packaging/postrm", "DEBIAN/postrm", 0o755),
    ("example/cluster.toml", "usr/share/doc/fledermaus/examples/cluster.toml", 0o644),
    ("example/image.toml", "usr/share/doc/fledermaus/examples/image.toml", 0o644),
    ("example/stacks/hello.yml", "usr/share/doc/fledermaus/examples/stacks/hello.yml", 0o644),
    ("example/user-data/default.sh", "usr/share/doc/fledermaus/examples/user-data/default.sh", 0o644),
    ("README.md", "usr/share/doc/fledermaus/README.md", 0o644),
    ("example/user-data/default.sh", USER_DATA, 0o644),
];

/// Manual pages and completions. A program of another architecture cannot tell them: this machine's own build does.
fn told_by_itself(root: &Path, program: &Path, stage: &Path) -> anyhow::Result<()> {
    let of_this_machine =
        ["target/x86_64-unknown-linux-musl/release/fledermaus", "target/release/fledermaus"];
    let own = std::iter::once(program.to_owned()).chain(of_this_machine.map(|path| root.join(path)));
    let own = own.collect::<Vec<_>>();
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

/// Debian's policy wants manual pages and change log so (12.1, 12.7); without the time, the same text gives the same bytes.
fn compress(stage: &Path) -> anyhow::Result<()> {
    let mut gzip = Command::new("gzip");
    gzip.args(["--best", "--no-name"]).arg(stage.join(DOCUMENTS).join("changelog"));
    for page in fs::read_dir(stage.join("usr/share/man/man1")).context("listing the manual pages")? {
        gzip.arg(page?.path());
    }
    succeed(&mut gzip, "gzip")
}

/// What changed is in the repository; policy wants a file that says of when this version is (4.4, 12.7).
fn changelog(root: &Path) -> anyhow::Result<String> {
    let (commit, date) = (committed(root, "%h")?, committed(root, "%cD")?);
    Ok(format!(
        "fledermaus ({VERSION}) unstable; urgency=medium\n\n  * As of commit {commit}.\n\n -- {MAINTAINER}  {date}\n"
    ))
}

/// Something of the newest commit, in git's words.
fn committed(root: &Path, format: &str) -> anyhow::Result<String> {
    let mut git = Command::new("git");
    let said = git.args(["log", "-1", &format!("--format={format}")]).current_dir(root).output();
    let said = said.context("starting git")?;
    ensure!(said.status.success(), "git log: {}", String::from_utf8_lossy(&said.stderr));
    Ok(String::from_utf8(said.stdout).context("reading what git says")?.trim().to_owned())
}

/// Our licence, and those of what is linked into the program.
fn copyright(root: &Path, target: &str) -> anyhow::Result<String> {
    let mut linked = linked_into(root, &["cli"], target)?;
    linked.append(&mut linked_into(root, &["init", "agent"], NODE_TARGET)?);
    let own = fs::read_to_string(root.join("LICENSE"))?;
    let mit = fs::read_to_string(root.join("LICENSE-MIT"))?;
    let linked = linked.into_iter().collect::<Vec<_>>().join("\n");
    Ok(format!(
        "{own}\nOn Debian the text of the Apache License, Version 2.0, is /usr/share/common-licenses/Apache-2.0.\n\n{mit}\n\
         The programs are static: these are linked into them, each under its own licence. musl, which is under the MIT license\n\
         too, is Copyright (c) 2005-2020 Rich Felker and others.\n\n{linked}\n"
    ))
}

/// The crates of others in these packages' programs, each with its licence.
fn linked_into(root: &Path, packages: &[&str], target: &str) -> anyhow::Result<BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let tree = Command::new(cargo)
        .arg("tree")
        .args(packages.iter().flat_map(|package| ["--package", package]))
        .args(["--target", target, "--edges", "normal"])
        .args(["--prefix", "none", "--no-dedupe", "--format", "{p}|{l}|{r}"])
        .current_dir(root)
        .output()
        .context("starting cargo")?;
    ensure!(tree.status.success(), "cargo tree: {}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).context("reading what cargo says")?;
    Ok(tree.lines().filter_map(linked).collect())
}

/// `name v1.2.3|licence|address` of a crate that is not ours.
fn linked(line: &str) -> Option<String> {
    let (name, rest) = line.split_once('|')?;
    let (licence, address) = rest.split_once('|')?;
    // Ours are followed by their folder.
    let is_ours = name.contains(" (/");
    (!is_ours).then(|| {
        format!("  {}: {licence} {address}", name.replace(" (proc-macro)", "")).trim_end().to_owned()
    })
}

fn control(stage: &Path, architecture: &str) -> anyhow::Result<()> {
    let size =
        Command::new("du").args(["-sk", "--apparent-size"]).arg(stage).output().context("starting du")?;
    let size = String::from_utf8(size.stdout).context("reading what du says")?;
    let size = size.split_whitespace().next().unwrap_or_default();
    let text = format!(
        "Package: fledermaus\nVersion: {VERSION}\nArchitecture: {architecture}\nMaintainer: {MAINTAINER}\nInstalled-Size: {size}\nDepends: {DEPENDS}\nSection: admin\nPriority: optional\n\
         Description: blank Raspberry Pis become a Docker Swarm\n One program on a head node answers DHCP, TFTP, DNS and HTTP, \
         keeps the\n inventory and the user data, and looks after the swarm.\n"
    );
    put(&stage.join("DEBIAN/control"), text.as_bytes(), 0o644)?;
    put(&stage.join("DEBIAN/conffiles"), format!("/{USER_DATA}\n").as_bytes(), 0o644)
}

fn put(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let folder = path.parent().context("a file has a folder")?;
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, content))
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

fn succeed(command: &mut Command, package: &str) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("starting {name}, of the package {package}"))?;
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a program's place: all that the packing asks of one.
    const PROGRAM: &str = "#!/bin/sh
case $1 in
  man) mkdir -p $3 && echo page > $3/fledermaus.1 ;;
  completions) echo for $2 ;;
esac
";

    fn dpkg_deb(arguments: &[&str], package: &Path) -> String {
        let output = Command::new("dpkg-deb").args(arguments).arg(package).output().expect("dpkg-deb runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    #[test]
    fn a_package_is_what_dpkg_understands_and_the_same_each_time() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a repository");
        let folder = root.join("target/dist-test");
        let program = folder.join("program");
        put(&program, PROGRAM.as_bytes(), 0o755).expect("written");
        let node = folder.join("node");
        for name in NODE_PROGRAMS {
            put(&node.join(name), b"a node's program", 0o755).expect("written");
        }
        let programs = Programs { head: &program, node: &node };
        let make = || pack(root, &programs, "arm64", "aarch64-unknown-linux-musl", &folder).expect("packed");
        let package = make();
        let first = fs::read(&package).expect("there");
        assert!(package.ends_with(format!("fledermaus_{VERSION}_arm64.deb")), "{}", package.display());
        assert_eq!(
            dpkg_deb(&["--show", "--showformat=${Architecture} ${Depends}"], &package),
            "arm64 passwd"
        );
        let content = dpkg_deb(&["--contents"], &package);
        for (mode, path) in [
            ("-rwxr-xr-x", "usr/bin/fledermaus"),
            ("-rw-r--r--", "usr/lib/systemd/system/fledermaus.service"),
            ("-rw-r-----", "etc/fledermaus/user-data/default.sh"),
            ("-rw-r--r--", "usr/share/man/man1/fledermaus.1.gz"),
            ("-rw-r--r--", "usr/share/zsh/vendor-completions/_fledermaus"),
            ("-rw-r--r--", "usr/share/doc/fledermaus/changelog.gz"),
            ("-rwxr-xr-x", "usr/lib/fledermaus/node/fledermaus-init"),
            ("-rwxr-xr-x", "usr/lib/fledermaus/node/fledermaus-agent"),
            ("-rw-r--r--", "usr/share/doc/fledermaus/examples/image.toml"),
            ("-rw-r--r--", "usr/share/doc/fledermaus/security.md"),
        ] {
            let found = content.lines().find(|line| line.ends_with(&format!(" ./{path}")));
            assert!(
                found.is_some_and(|line| line.starts_with(&format!("{mode} root/root"))),
                "{path}:\n{content}"
            );
        }
        assert!(content.lines().all(|line| line.contains(" root/root ")), "{content}");
        // What is linked in is named with its licence; what is ours is not.
        let copyright = copyright(root, "aarch64-unknown-linux-musl").expect("told");
        assert!(copyright.contains("\n  tokio v1") && !copyright.contains("\n  netboot"), "{copyright}");
        assert!(first == fs::read(make()).expect("there"), "the same commit gives another package");
        fs::remove_dir_all(folder).expect("removed");
    }
}
