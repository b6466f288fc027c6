//! What is kept and what is not, on real file systems in files.
#![allow(clippy::unwrap_used)]

use super::*;
use cluster::Digest;
use cluster::life::{Life, LifeNumber};
use cluster::plan::RootPlace;
use std::path::PathBuf;

const IMAGE: Digest = Digest([3; 32]);

fn stamp() -> String {
    Life { user_data: Digest([1; 32]), number: LifeNumber([2; 16]) }.stamp(&IMAGE)
}

/// A file system of 16 MiB made by the real mke2fs, with these files in its root.
fn file_system(folder: &Path, files: &[(&str, &str)]) -> PathBuf {
    let content = folder.join("content");
    fs::create_dir_all(&content).unwrap();
    for (name, text) in files {
        fs::write(content.join(name), text).unwrap();
    }
    let device = folder.join("data");
    tool(
        "mke2fs",
        &["-q", "-F", "-t", "ext4", "-d", content.to_str().unwrap(), device.to_str().unwrap(), "16M"],
    );
    device
}

fn tool(program: &str, words: &[&str]) -> String {
    let path = "/usr/sbin:/usr/bin:/sbin:/bin";
    let ended = Command::new(program).args(words).env("PATH", path).output().unwrap();
    assert!(ended.status.success(), "{program} {words:?}: {ended:?}");
    String::from_utf8_lossy(&ended.stdout).trim().to_owned()
}

fn check(device: &Path) -> String {
    ext4::check(&File::open(device).unwrap()).map_or_else(|error| format!("{error:#}"), |()| String::new())
}

#[test]
fn a_file_system_with_errors_or_none_at_all_is_not_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let device = file_system(folder.path(), &[]);
    assert_eq!(check(&device), "");
    tool("debugfs", &["-w", "-R", "set_super_value state 2", device.to_str().unwrap()]);
    assert!(check(&device).contains("has errors"));
    let blank = folder.path().join("blank");
    File::create(&blank).unwrap().set_len(1 << 20).unwrap();
    assert!(check(&blank).contains("no file system"));
    let short = folder.path().join("short");
    fs::write(&short, "x").unwrap();
    assert!(check(&short).contains("reading the partition"));
}

#[test]
fn only_the_whole_stamp_of_this_life_keeps_data() {
    let folder = tempfile::tempdir().unwrap();
    assert!(has_stamp(folder.path(), &stamp()).unwrap_err().to_string().contains("good end"));
    let other = Life { user_data: Digest([9; 32]), number: LifeNumber([2; 16]) }.stamp(&IMAGE);
    let long = stamp() + &"x".repeat(5_000);
    for wrong in [&other, &long, "", &stamp()[..stamp().len() - 1], &stamp().replace('1', "0")] {
        fs::write(folder.path().join(STAMP_FILE), wrong).unwrap();
        assert!(has_stamp(folder.path(), &stamp()).is_err(), "{wrong}");
    }
    fs::write(folder.path().join(STAMP_FILE), stamp()).unwrap();
    has_stamp(folder.path(), &stamp()).unwrap();
}

#[test]
fn data_with_a_root_of_another_kind_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let [layered, copied] = [RootPlace::Card, RootPlace::Copied].map(root::folder);
    fs::create_dir_all(folder.path().join(layered)).unwrap();
    has_root(folder.path(), layered).unwrap();
    assert!(has_root(folder.path(), copied).unwrap_err().to_string().contains("elsewhere"));
}

/// A loop device; needs root.
struct Loop(String);

impl Loop {
    fn of(file: &Path) -> Option<Self> {
        let made = Command::new("/usr/sbin/losetup").args(["--find", "--show"]).arg(file).output().ok()?;
        made.status.success().then(|| Self(String::from_utf8_lossy(&made.stdout).trim().to_owned()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("/usr/sbin/losetup").args(["--detach", &self.0]).status();
    }
}

/// Mounts for real where this machine lets it; a machine that does not has only the tests above.
#[test]
fn a_mounted_file_system_is_kept_with_its_files_or_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let root = root::folder(RootPlace::Card);
    fs::create_dir_all(folder.path().join("content").join(root)).unwrap();
    let device = file_system(folder.path(), &[(STAMP_FILE, &stamp()), ("mine", "hello")]);
    let Some(looped) = Loop::of(&device) else { return };
    let (device, place) = (Path::new(&looped.0), folder.path().join("place"));
    fs::create_dir(&place).unwrap();
    let Ok(()) = mount_data(device, &place, KEPT_OPTIONS) else { return };
    umount2(&place, MntFlags::MNT_DETACH).unwrap();

    assert!(mount_kept(device, &place, "another stamp", root).is_err());
    assert!(!place.join("mine").exists(), "it was let go");
    mount_kept(device, &place, &stamp(), root).unwrap();
    assert_eq!(fs::read_to_string(place.join("mine")).unwrap(), "hello");
    // As after a power cut: the journal is not empty when it is mounted again.
    fs::write(place.join("more"), "written").unwrap();
    nix::unistd::sync();
    let copy = folder.path().join("cut");
    fs::copy(folder.path().join("data"), &copy).unwrap();
    umount2(&place, MntFlags::MNT_DETACH).unwrap();
    let cut = Loop::of(&copy).unwrap();
    mount_kept(Path::new(&cut.0), &place, &stamp(), root).unwrap();
    assert_eq!(fs::read_to_string(place.join("more")).unwrap(), "written");
    umount2(&place, MntFlags::MNT_DETACH).unwrap();
}

/// As above, where mounting is possible.
#[test]
fn what_another_node_keeps_and_what_has_errors_is_neither_used_nor_lost() {
    let folder = tempfile::tempdir().unwrap();
    let device = file_system(folder.path(), &[(".fledermaus-keep", "node1\n"), ("mine", "hello")]);
    let place = folder.path().join("place");
    let Some(looped) = Loop::of(&device) else { return };
    let mount_as = |node: &str| keep::mount(Path::new(&looped.0), &place, node);
    fs::create_dir(&place).unwrap();
    let Ok(()) = mount_data(Path::new(&looped.0), &place, KEPT_OPTIONS) else { return };
    umount2(&place, MntFlags::MNT_DETACH).unwrap();

    let refused = format!("{:#}", mount_as("node2").unwrap_err());
    assert!(refused.contains("what \"node1\" keeps"), "{refused}");
    assert!(!place.join("mine").exists(), "it was let go");
    assert_eq!(mount_as("node1").unwrap(), "as it was");
    assert_eq!(fs::read_to_string(place.join("mine")).unwrap(), "hello");
    umount2(&place, MntFlags::MNT_DETACH).unwrap();
    drop(looped);

    tool("debugfs", &["-w", "-R", "set_super_value state 2", device.to_str().unwrap()]);
    let looped = Loop::of(&device).unwrap();
    let refused = format!("{:#}", keep::mount(Path::new(&looped.0), &place, "node1").unwrap_err());
    assert!(refused.contains("e2fsck in another machine") && refused.contains("has errors"), "{refused}");
    assert!(tool("debugfs", &["-R", "cat /mine", device.to_str().unwrap()]).contains("hello"));
}
