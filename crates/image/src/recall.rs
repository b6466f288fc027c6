//! The kernel's package, unpacked before: two thirds of all unpacking, and the same in build after build. Believes the cache
//! nothing: what it remembers counts only if each file has the sum that the package itself, whose SHA-256 is the lock's, has
//! for it, and if none is missing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use md5::{Digest as _, Md5};

use crate::container::append;
use crate::deb;
use crate::tree::{Kind, Tree, clean};

/// The permissions of all files in a kernel's package. The package's sums do not cover them, so others are not remembered.
const MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o755;

/// The files of a package for which `keep` holds, as [`remember`] left them in a file. `None` if there is none, if anything about it is
/// odd, or if it lacks a file.
pub(crate) fn recall(path: &Path, name: &str, deb: &[u8], keep: &dyn Fn(&str) -> bool) -> Option<Tree> {
    let file = fs::read(path).ok()?;
    let tree = deb::files(name, &file[..], keep).ok()?;
    check(&tree, &sums(deb).ok()?, keep).ok()?;
    // What was used last stays longest (`Packer::trim`).
    let used = File::options().append(true).open(path);
    let _ = used.and_then(|file| file.set_modified(SystemTime::now()));
    Some(tree)
}

/// Keeps unpacked files for the next build. One that cannot be written only costs time.
pub(crate) fn remember(path: &Path, tree: &Tree) {
    let _ = write(path, tree);
}

fn write(path: &Path, tree: &Tree) -> Result<()> {
    let folder = path.parent().context("it lies in a folder")?;
    fs::create_dir_all(folder)?;
    let mut tar = tar::Builder::new(tempfile::NamedTempFile::new_in(folder)?);
    for (path, entry) in tree.iter() {
        append(&mut tar, path, entry, 0)?;
    }
    let mut file = tar.into_inner()?;
    file.flush()?;
    file.persist(path)?;
    Ok(())
}

/// Whether these are the package's files for which `keep` holds, all of them and nothing else.
///
/// MD5 is what Debian has for single files, and enough here: nobody knows how to make another content for a given sum, only two
/// of one's own with the same.
fn check(tree: &Tree, sums: &BTreeMap<String, String>, keep: &dyn Fn(&str) -> bool) -> Result<()> {
    for (path, entry) in tree.iter() {
        ensure!(entry.uid == 0 && entry.gid == 0, "{path} is not root's");
        match &entry.kind {
            Kind::Folder => ensure!(entry.mode == FOLDER_MODE, "{path} has other permissions"),
            Kind::File(content) => {
                let sum: String = Md5::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
                ensure!(entry.mode == MODE && sums.get(path) == Some(&sum), "{path} is another");
            }
            Kind::Link(_) => anyhow::bail!("{path} is a link, and no sum says where it leads"),
        }
    }
    let missing = sums.keys().find(|path| keep(path) && tree.content(path).is_none());
    ensure!(missing.is_none(), "a file is missing");
    Ok(())
}

/// The package's own list: a sum and a path per line (deb-md5sums(5)).
fn sums(deb: &[u8]) -> Result<BTreeMap<String, String>> {
    let control = deb::control(deb)?;
    let list = control.content("md5sums").context("the package has no list of sums")?;
    let mut sums = BTreeMap::new();
    for line in String::from_utf8_lossy(list).lines() {
        let (sum, path) = line.split_once("  ").context("a line of its sums has two parts")?;
        sums.insert(clean(path)?, sum.to_owned());
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Entry;

    const FILES: [(&str, &[u8]); 3] =
        [("boot/vmlinuz-6", b"kernel"), ("lib/modules/6/a.ko", b"module"), ("usr/share/x", b"not wanted")];

    fn is_wanted(path: &str) -> bool {
        path.starts_with("boot/") || path.starts_with("usr/lib/modules/")
    }

    /// A package with its sums, and the tree that unpacking it gives.
    fn package() -> (Vec<u8>, Tree) {
        let line = |(path, content): &(&str, &[u8])| format!("{:x}  {path}\n", Md5::digest(content));
        let sums: String = FILES.iter().map(line).collect();
        let deb = deb::tests::deb_with_control(&[("./md5sums", sums.as_bytes())], &FILES);
        let tree = deb::unpack("linux", &deb, &is_wanted).expect("unpacked");
        (deb, tree)
    }

    #[test]
    fn what_was_unpacked_is_recalled_as_it_was() {
        let house = tempfile::tempdir().expect("a folder");
        let path = house.path().join("packed/x.tar");
        let (deb, tree) = package();
        assert!(recall(&path, "linux", &deb, &is_wanted).is_none(), "nothing is there yet");
        remember(&path, &tree);
        let recalled = recall(&path, "linux", &deb, &is_wanted).expect("recalled");
        // Folders are nobody's here: unlike Debian's, the made-up package has no entries for them.
        let files = |tree: &Tree| -> Vec<(String, Entry)> {
            let all = tree.iter().map(|(path, entry)| (path.to_string(), entry.clone()));
            all.filter(|(_, entry)| entry.kind != Kind::Folder).collect()
        };
        assert_eq!(files(&recalled), files(&tree));
        assert!(recalled.has("usr/lib/modules/6/a.ko") && !recalled.has("usr/share/x"));
        assert!(recall(&path, "linux", &deb, &|_| true).is_none(), "more is wanted than there is");
        let fewer = recall(&path, "linux", &deb, &|path| path.starts_with("boot/")).expect("enough");
        assert!(!fewer.has("usr/lib/modules/6/a.ko"));
    }

    #[test]
    fn whoever_changes_the_cache_changes_no_image() {
        let house = tempfile::tempdir().expect("a folder");
        let path = house.path().join("x.tar");
        let (deb, tree) = package();
        let module = "usr/lib/modules/6/a.ko";
        let file = |mode| Entry::own(Kind::File((*b"module").into()), mode);
        let mut changes: Vec<(&str, Tree)> = Vec::new();
        let mut change = |what, make: &dyn Fn(&mut Tree)| {
            let mut changed = tree.clone();
            make(&mut changed);
            changes.push((what, changed));
        };
        change("content", &|tree| tree.put_file(module, MODE, *b"modulE"));
        change("permissions", &|tree| tree.put(module, file(0o4755)));
        change("owner", &|tree| tree.put(module, Entry { uid: 7, ..file(MODE) }));
        change("a link", &|tree| tree.put_link(module, "/etc/shadow"));
        change("a file more", &|tree| tree.put_file("usr/lib/modules/6/b.ko", MODE, *b"module"));
        change("a file less", &|tree| tree.remove_if(|path| path == module));
        for (what, changed) in changes {
            remember(&path, &changed);
            assert!(recall(&path, "linux", &deb, &is_wanted).is_none(), "{what}");
        }
        fs::write(&path, b"rotten").expect("written");
        assert!(recall(&path, "linux", &deb, &is_wanted).is_none());
    }
}
