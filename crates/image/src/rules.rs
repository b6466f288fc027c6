//! What maintainer scripts would do, as rules on a [`Tree`]: one function each, in the order of [`apply`].

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Context, Result, bail};

use crate::lists::{self, items};
use crate::tree::Tree;

/// Folders that must be there, with their modes. Mount points first.
const FOLDERS: [(&str, u32); 18] = [
    ("proc", 0o555),
    ("sys", 0o555),
    ("dev", 0o755),
    ("run", 0o755),
    ("tmp", 0o1777),
    ("mnt", 0o755),
    ("mnt/system", 0o755),
    ("mnt/data", 0o755),
    ("data", 0o755),
    ("root", 0o700),
    ("var/lib/docker", 0o710),
    ("var/lib/containerd", 0o711),
    ("var/log", 0o755),
    ("var/tmp", 0o1777),
    ("var/cache", 0o755),
    ("opt", 0o755),
    ("usr/local/bin", 0o755),
    ("usr/share/fledermaus/containers", 0o755),
];

/// Links that Debian's root has, and those that programs expect.
const LINKS: [(&str, &str); 10] = [
    ("bin", "usr/bin"),
    ("sbin", "usr/sbin"),
    ("lib", "usr/lib"),
    ("var/run", "/run"),
    ("var/lock", "/run/lock"),
    ("etc/mtab", "/proc/self/mounts"),
    ("usr/sbin/init", "../bin/busybox"),
    ("usr/sbin/modprobe", "fledermaus-init"),
    ("usr/lib/os-release", "../../etc/os-release"),
    ("usr/bin/docker-init", "tini-static"),
];

/// Names of the packet filter's one program. Debian makes these links with update-alternatives.
const PACKET_FILTER: [&str; 6] =
    ["iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"];

/// The files of `base/`: path, mode, content.
pub(crate) const BASE: [(&str, u32, &str); 16] = [
    ("etc/inittab", 0o644, include_str!("../base/etc/inittab")),
    ("etc/init.d/rcS", 0o755, include_str!("../base/etc/init.d/rcS")),
    ("etc/init.d/S10-file-systems", 0o755, include_str!("../base/etc/init.d/S10-file-systems")),
    ("etc/init.d/S20-network", 0o755, include_str!("../base/etc/init.d/S20-network")),
    ("etc/init.d/S30-modules", 0o755, include_str!("../base/etc/init.d/S30-modules")),
    ("etc/init.d/S60-ssh", 0o755, include_str!("../base/etc/init.d/S60-ssh")),
    ("etc/init.d/containerd", 0o755, include_str!("../base/etc/init.d/containerd")),
    ("etc/init.d/dockerd", 0o755, include_str!("../base/etc/init.d/dockerd")),
    ("etc/docker/daemon.json", 0o644, include_str!("../base/etc/docker/daemon.json")),
    ("etc/containerd/config.toml", 0o644, include_str!("../base/etc/containerd/config.toml")),
    ("etc/hosts", 0o644, include_str!("../base/etc/hosts")),
    ("etc/nsswitch.conf", 0o644, include_str!("../base/etc/nsswitch.conf")),
    ("etc/passwd", 0o644, include_str!("../base/etc/passwd")),
    ("etc/group", 0o644, include_str!("../base/etc/group")),
    ("etc/shadow", 0o600, include_str!("../base/etc/shadow")),
    ("etc/hostname", 0o644, "node\n"),
];

/// Applies all rules to a root of unpacked packages.
///
/// # Errors
/// A program that a node cannot do without is not there.
pub(crate) fn apply(root: &mut Tree, name: &str, suite: &str) -> Result<()> {
    drop_unneeded(root);
    make_folders_and_links(root);
    add_base_files(root);
    link_packet_filter(root)?;
    bundle_certificates(root)?;
    link_applets(root)?;
    name_the_system(root, name, suite);
    Ok(())
}

/// Whether a file of a package goes in, by `base/lists/dropped.list`.
pub(crate) fn is_dropped(path: &str) -> bool {
    !is_notice(path) && items(lists::DROPPED).any(|item| is_or_below(path, item.name))
}

/// Whether a path is that of a package's copyright notice: licences want it to go with the programs. It may also be a
/// link in its place, or in its folder's place, to the notice of another package.
pub(crate) fn is_notice(path: &str) -> bool {
    let Some(rest) = path.strip_prefix("usr/share/doc/") else { return false };
    rest.split_once('/').is_none_or(|(_, file)| file == "copyright")
}

fn drop_unneeded(root: &mut Tree) {
    root.remove_if(is_dropped);
}

/// Whether `path` is what `pattern` names or lies in it. One `*` stands for any letters but `/`.
fn is_or_below(path: &str, pattern: &str) -> bool {
    let Some((front, back)) = pattern.split_once('*') else {
        return path.strip_prefix(pattern).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    };
    let own = path.split('/').take(pattern.split('/').count()).collect::<Vec<_>>().join("/");
    own.len() >= front.len() + back.len() && own.starts_with(front) && own.ends_with(back)
}

fn make_folders_and_links(root: &mut Tree) {
    for (path, mode) in FOLDERS {
        root.put_folder(path, mode);
    }
    for (path, target) in LINKS {
        root.put_link(path, target);
    }
}

fn add_base_files(root: &mut Tree) {
    for (path, mode, content) in BASE {
        root.put_file(path, mode, content.as_bytes());
    }
}

fn link_packet_filter(root: &mut Tree) -> Result<()> {
    if !root.has("usr/sbin/xtables-nft-multi") {
        bail!("the package iptables brought no usr/sbin/xtables-nft-multi");
    }
    for name in PACKET_FILTER {
        root.put_link(&format!("usr/sbin/{name}"), "xtables-nft-multi");
    }
    Ok(())
}

/// One file of all certificates, where Go and others look for it.
fn bundle_certificates(root: &mut Tree) -> Result<()> {
    const FOLDER: &str = "usr/share/ca-certificates/";
    let mut bundle = Vec::new();
    for (path, _) in root.iter().filter(|(path, _)| path.starts_with(FOLDER) && path.ends_with(".crt")) {
        let content = root.content(path).context("a certificate is no file")?;
        bundle.extend_from_slice(content);
        if !bundle.ends_with(b"\n") {
            bundle.push(b'\n');
        }
    }
    if bundle.is_empty() {
        bail!("the package ca-certificates brought no certificates");
    }
    // The single files are of use only to the script that makes the bundle.
    root.remove_if(|path| path.starts_with(FOLDER));
    root.put_file("etc/ssl/certs/ca-certificates.crt", 0o644, bundle);
    Ok(())
}

/// A link for each applet of busybox that no package provides a program for.
fn link_applets(root: &mut Tree) -> Result<()> {
    let busybox =
        root.content("usr/bin/busybox").context("the package busybox-static brought no usr/bin/busybox")?;
    let names = applets(busybox)?;
    for name in names {
        let taken = ["usr/bin", "usr/sbin"].iter().any(|folder| root.has(&format!("{folder}/{name}")));
        if !taken {
            root.put_link(&format!("usr/bin/{name}"), "busybox");
        }
    }
    Ok(())
}

/// The names of busybox's applets: a table of texts in its binary that is sorted, so begins with `[`, `[[`.
/// (Asking busybox itself would need a machine that runs the nodes' programs.)
fn applets(busybox: &[u8]) -> Result<BTreeSet<String>> {
    const FIRST: &[u8] = b"[\0[[\0";
    const NAME_BYTES_LIMIT: usize = 32;
    for start in (0..busybox.len().saturating_sub(FIRST.len())).filter(|&at| busybox[at..].starts_with(FIRST))
    {
        let names = busybox[start..].split(|&byte| byte == 0);
        let names = names.take_while(|name| (1..=NAME_BYTES_LIMIT).contains(&name.len()));
        let names: BTreeSet<String> = names.map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        if ["sh", "init", "mount", "ip"].iter().all(|needed| names.contains(*needed)) {
            return Ok(names);
        }
    }
    bail!("the list of applets was not found in usr/bin/busybox, or it lacks sh, init, mount or ip")
}

fn name_the_system(root: &mut Tree, name: &str, suite: &str) {
    let mut text = String::new();
    let _ = writeln!(text, "PRETTY_NAME=\"fledermaus {name} (Debian {suite})\"");
    let _ = writeln!(text, "NAME=\"fledermaus\"\nID=fledermaus\nID_LIKE=debian\nVERSION_CODENAME={suite}");
    let _ = writeln!(text, "IMAGE_ID={name}");
    root.put_file("etc/os-release", 0o644, text.into_bytes());
}

#[cfg(test)]
mod tests;
