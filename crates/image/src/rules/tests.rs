//! Each rule on a small root.

use super::{applets, apply, is_dropped, is_or_below};
use crate::tree::{Kind, Tree};

const BUSYBOX: &[u8] =
    b"\x7fELF..[\0[[\0x\0\0..[\0[[\0cat\0hostname\0init\0ip\0mke2fs\0modprobe\0mount\0sh\0\0rest";

fn root() -> Tree {
    let mut root = Tree::default();
    root.put_file("usr/bin/busybox", 0o755, BUSYBOX);
    root.put_file("usr/sbin/mke2fs", 0o755, *b"real");
    root.put_file("usr/sbin/xtables-nft-multi", 0o755, *b"real");
    root.put_file("usr/share/ca-certificates/mozilla/A.crt", 0o644, *b"A");
    root.put_file("usr/share/ca-certificates/mozilla/B.crt", 0o644, *b"B\n");
    root.put_file("usr/share/doc/x/copyright", 0o644, *b"terms");
    root.put_file("usr/share/doc/x/changelog.gz", 0o644, *b"long");
    root.put_file("usr/share/common-licenses/GPL-2", 0o644, *b"the terms");
    root.put_file("usr/share/base-files/motd", 0o644, *b"long");
    root.put_file("usr/bin/ctr", 0o755, *b"big");
    apply(&mut root, "house", "trixie").expect("complete");
    root
}

fn link(root: &Tree, path: &str) -> Option<String> {
    match &root.get(path)?.kind {
        Kind::Link(target) => Some(target.clone()),
        _ => None,
    }
}

#[test]
fn a_root_boots_with_busybox_and_our_modprobe() {
    let root = root();
    assert_eq!(link(&root, "usr/sbin/init").as_deref(), Some("../bin/busybox"));
    assert_eq!(link(&root, "usr/sbin/modprobe").as_deref(), Some("fledermaus-init"));
    assert_eq!(link(&root, "sbin").as_deref(), Some("usr/sbin"));
    assert_eq!(link(&root, "usr/sbin/iptables").as_deref(), Some("xtables-nft-multi"));
    assert_eq!(link(&root, "usr/bin/sh").as_deref(), Some("busybox"));
}

#[test]
fn an_applet_never_hides_a_real_program() {
    let root = root();
    assert!(!root.has("usr/bin/mke2fs") && !root.has("usr/bin/modprobe") && !root.has("usr/bin/init"));
}

#[test]
fn the_password_of_root_is_locked() {
    let root = root();
    let shadow = String::from_utf8_lossy(root.content("etc/shadow").expect("there")).into_owned();
    assert!(shadow.lines().all(|line| line.split(':').nth(1).is_some_and(|hash| hash.contains('*'))));
    assert_eq!(root.get("etc/shadow").map(|entry| entry.mode), Some(0o600));
}

#[test]
fn certificates_become_one_file() {
    let root = root();
    assert_eq!(root.content("etc/ssl/certs/ca-certificates.crt").map(|all| &all[..]), Some(&b"A\nB\n"[..]));
    assert!(!root.has("usr/share/ca-certificates/mozilla/A.crt"));
}

#[test]
fn what_no_node_needs_is_dropped() {
    let root = root();
    assert!(!root.has("usr/share/doc/x/changelog.gz") && root.has("usr/share/doc/x/copyright"));
    assert!(!root.has("usr/share/base-files/motd") && root.has("usr/share/common-licenses/GPL-2"));
    assert!(!root.has("usr/bin/ctr"));
    assert!(is_dropped("usr/sbin/iptables-legacy-save") && !is_dropped("usr/sbin/iptables-nft"));
    assert!(is_or_below("a/bc/d", "a/b*") && !is_or_below("a/c", "a/b*") && !is_or_below("ab", "a"));
}

#[test]
fn a_busybox_without_a_list_of_applets_is_refused() {
    assert!(applets(b"\x7fELF nothing here").is_err());
    assert!(applets(b"[\0[[\0cat\0\0").is_err());
    assert_eq!(applets(BUSYBOX).expect("found").len(), 10);
}

#[test]
fn scripts_begin_with_a_shell_and_say_what_they_are() {
    for (path, mode, text) in super::BASE.iter().filter(|(path, ..)| path.starts_with("etc/init.d")) {
        assert!(text.starts_with("#!/bin/sh\n# ") && *mode == 0o755, "{path}");
        assert!(text.lines().count() <= 50, "{path}");
    }
}
