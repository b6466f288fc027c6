//! What can be done with images once they are built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::shelf::{self, Damage, NoImage, Rubbish, SweepOptions};
use image::{ChangeKind, Files, Silent};

use crate::lock::{build, contents, update};
use crate::packages::deb_of;
use crate::site::{Mirror, hex};

/// A house with an image, and its folder.
fn built() -> (Mirror, PathBuf) {
    let mirror = Mirror::whole();
    mirror.write_recipe("one", "");
    build(&mirror, "one");
    let image = mirror.path("one/out/image");
    (mirror, image)
}

/// Another runc, and an overlay with a file of the house.
fn rebuilt(mirror: &Mirror) {
    mirror.restock(|stock| {
        let runc = stock.iter_mut().find(|stock| stock.name == "runc").unwrap();
        (runc.version, runc.content) = ("1.1".to_owned(), deb_of("runc", b"newer"));
    });
    mirror.write_recipe("one", "overlay = \"over\"");
    fs::create_dir_all(mirror.path("one/over/etc")).unwrap();
    fs::write(mirror.path("one/over/etc/motd"), "welcome").unwrap();
    update(mirror, "one");
    build(mirror, "one");
}

#[test]
fn files_say_package_digest_and_licence() {
    let (_mirror, folder) = built();
    let Files { system, .. } = shelf::files(&shelf::open(&folder).unwrap()).unwrap();
    let file = |path: &str| system.iter().find(|file| file.path == path).unwrap();
    let runc = file("usr/bin/runc");
    assert_eq!(runc.package.as_deref(), Some("runc"));
    assert_eq!(runc.licence.as_deref(), Some("GPL-2+"), "what Debian wrote for building is not in the image");
    assert_eq!(runc.sha256.unwrap().to_string(), hex(&b"runc".repeat(10_000)));
    assert_eq!(file("usr/share/doc/runc/copyright").package.as_deref(), Some("runc"));
    // The kernel's package is not installed, its notice is.
    assert_eq!(file("usr/share/doc/linux-image-arm64/copyright").licence.as_deref(), Some("GPL-2+"));
    assert_eq!(file("etc/hostname").package, None);
    let sbom: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("sbom.spdx.json")).unwrap()).unwrap();
    let packages = sbom["packages"].as_array().unwrap();
    let runc = packages.iter().find(|package| package["name"] == "runc").unwrap();
    assert_eq!(runc["licenseDeclared"], "GPL-2.0-or-later");
    assert_eq!(sbom["creationInfo"]["created"], "2025-09-06T10:19:31Z");
}

/// Notices were listed and not in the image: what is listed is what a foreign reader finds, no more and no less.
#[test]
fn the_list_is_that_of_the_image() {
    let (_mirror, folder) = built();
    let arguments = ["-lls", "-no-progress", "system.squashfs"];
    let Ok(output) = Command::new("unsquashfs").args(arguments).current_dir(&folder).output() else { return };
    let said = String::from_utf8(output.stdout).unwrap();
    let found = said.lines().filter(|line| line.starts_with(['-', 'l']));
    let path = |line: &str| {
        let path = line.split("squashfs-root/").nth(1).unwrap();
        path.split(" -> ").next().unwrap().to_owned()
    };
    let mut found: Vec<String> = found.map(path).collect();
    found.sort();
    let listed = shelf::files(&shelf::open(&folder).unwrap()).unwrap().system;
    let listed: Vec<String> = listed.into_iter().map(|file| file.path).collect();
    assert_eq!(found, listed);
    assert!(listed.iter().any(|path| path == "usr/share/doc/runc/copyright"));
}

#[test]
fn a_whole_image_is_whole_and_each_damaged_file_is_named() {
    let (_mirror, folder) = built();
    let image = shelf::open(&folder).unwrap();
    let verified = shelf::verify(&image).unwrap();
    assert_eq!((verified.files, verified.damages), (8, vec![]));
    let damaged = |file: &str, change: &dyn Fn(&Path)| {
        let before = fs::read(folder.join(file)).ok();
        change(&folder.join(file));
        let damages = shelf::verify(&image).unwrap().damages;
        match before {
            Some(before) => fs::write(folder.join(file), before).unwrap(),
            None => fs::remove_file(folder.join(file)).unwrap(),
        }
        let [Damage { file: named, what }] = damages.try_into().unwrap();
        assert_eq!(named, file);
        what
    };
    let flip = |path: &Path| {
        let mut content = fs::read(path).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 1;
        fs::write(path, content).unwrap();
    };
    for file in ["kernel", "initramfs", "system.squashfs", "manifest.json", "files.json", "build-key"] {
        assert!(damaged(file, &flip).contains("has the SHA-256"), "{file}");
    }
    assert_eq!(damaged("kernel", &|path| fs::remove_file(path).unwrap()), "is missing");
    let stranger = |path: &Path| fs::write(path, "x").unwrap();
    assert_eq!(damaged("letter", &stranger), "does not belong to the image");
}

#[test]
fn an_image_is_compared_with_the_one_before() {
    let (mirror, folder) = built();
    let first = shelf::open(&folder).unwrap();
    assert!(shelf::difference(&first, &first).unwrap().is_empty());
    rebuilt(&mirror);
    let previous = shelf::open(&mirror.path("one/out/image.previous")).unwrap();
    assert_eq!(previous.id, first.id);
    let image = shelf::open(&folder).unwrap();
    let difference = shelf::difference(&previous, &image).unwrap();
    assert_eq!(difference.kernel, None);
    let [runc] = &difference.packages[..] else { panic!("{difference:?}") };
    assert_eq!((&*runc.name, runc.kind), ("runc", ChangeKind::Upgraded));
    let files: Vec<_> =
        difference.files.iter().map(|file| (&*file.path, file.old_bytes, file.new_bytes)).collect();
    assert_eq!(files, [("etc/motd", None, Some(7)), ("usr/bin/runc", Some(40_000), Some(50_000))]);
    let shown: Vec<_> =
        shelf::list(&mirror.path("one/out")).unwrap().into_iter().map(|image| image.folder).collect();
    assert_eq!(shown, [folder, previous.folder]);
}

#[test]
fn shares_account_for_every_package() {
    let (_mirror, folder) = built();
    let image = shelf::open(&folder).unwrap();
    let shares = shelf::shares(&image).unwrap();
    let runc = shares.iter().find(|share| share.package.as_deref() == Some("runc")).unwrap();
    assert_eq!((runc.version.as_deref(), runc.files), (Some("1"), 2));
    let installed =
        image.manifest.packages.iter().find(|package| package.name == "runc").unwrap().installed_bytes;
    assert_eq!(runc.installed_bytes, installed);
    let packed: u64 = shares.iter().map(|share| share.packed_bytes.unwrap()).sum();
    assert!(
        packed > 0 && packed < image.manifest.system.bytes,
        "{packed} of {}",
        image.manifest.system.bytes
    );
    assert!(shares.iter().any(|share| share.package.is_none()), "the kitchen's own files count too");
}

#[test]
fn only_what_nobody_names_is_thrown_away() {
    let (mirror, folder) = built();
    let options = SweepOptions { cache: mirror.path("cache"), images: Vec::new(), locks: Vec::new() };
    assert_eq!(shelf::rubbish(&options).unwrap(), [], "all is needed after a build");
    let old = mirror.site.lock().unwrap().files["/debian/pool/runc.deb"].clone();
    rebuilt(&mirror);
    fs::create_dir(mirror.path("one/out/.image-killed")).unwrap();
    fs::write(mirror.path("one/out/.image-killed/kernel"), "half").unwrap();
    fs::write(mirror.path("cache/0123.part"), "half").unwrap();
    let before = contents(&folder);
    let rubbish = shelf::rubbish(&options).unwrap();
    let whys = |path: &Path| rubbish.iter().find(|rubbish| rubbish.path == path).map(|rubbish| &*rubbish.why);
    assert_eq!(whys(&mirror.path("one/out/image.previous")), Some("an image that another one replaced"));
    assert_eq!(whys(&mirror.path("one/out/.image-killed")), Some("what a build left that was ended"));
    assert_eq!(whys(&mirror.path("cache/0123.part")), Some("a download that was broken off"));
    assert_eq!(
        whys(&mirror.path("cache").join(hex(&old))),
        Some("a download that no lock and no image names")
    );
    // These, and the lists of packages of the day before.
    assert_eq!(rubbish.len(), 5, "{rubbish:?}");
    let bytes: u64 = rubbish.iter().map(|rubbish| rubbish.bytes).sum();
    assert_eq!(shelf::sweep(&options.cache, &rubbish).unwrap(), bytes);
    assert_eq!(shelf::rubbish(&options).unwrap(), Vec::<Rubbish>::new());
    // What is left serves a build without a mirror.
    mirror.site.lock().unwrap().away = true;
    fs::remove_dir_all(&folder).unwrap();
    build(&mirror, "one");
    assert_eq!(contents(&folder), before);
}

#[test]
fn nothing_is_thrown_away_when_a_lock_cannot_be_read() {
    let (mirror, _) = built();
    fs::write(mirror.path("one/image.lock"), "<<<<<<< a merge\n").unwrap();
    let options = SweepOptions { cache: mirror.path("cache"), images: Vec::new(), locks: Vec::new() };
    let said = format!("{:#}", shelf::rubbish(&options).unwrap_err());
    assert!(said.contains("nobody knows") && said.contains("image.lock:1"), "{said}");
}

#[test]
fn an_archive_holds_the_image_and_nothing_damaged_leaves() {
    let (mirror, folder) = built();
    let image = shelf::open(&folder).unwrap();
    let (one, two) = (mirror.path("one.tar"), mirror.path("two.tar"));
    assert_eq!(shelf::export(&image, &one, &mut Silent).unwrap(), fs::metadata(&one).unwrap().len());
    shelf::export(&image, &two, &mut Silent).unwrap();
    assert!(fs::read(&one).unwrap() == fs::read(&two).unwrap());
    let carried = mirror.path("carried");
    tar::Archive::new(fs::File::open(&one).unwrap()).unpack(&carried).unwrap();
    assert_eq!(contents(&carried.join("fledermaus")), contents(&folder));
    let again = shelf::export(&image, &one, &mut Silent).unwrap_err();
    assert!(again.is::<shelf::AlreadyThere>(), "{again:#}");
    fs::write(folder.join("initramfs"), "other").unwrap();
    let said = format!("{:#}", shelf::export(&image, &mirror.path("three.tar"), &mut Silent).unwrap_err());
    assert!(said.contains("initramfs does not have the digest"), "{said}");
    assert!(!mirror.path("three.tar").exists());
}

#[test]
fn a_folder_without_an_image_is_told() {
    let folder = tempfile::tempdir().unwrap();
    assert!(shelf::open(folder.path()).unwrap_err().is::<NoImage>());
    assert_eq!(shelf::list(folder.path()).unwrap(), []);
    assert_eq!(shelf::list(&folder.path().join("gone")).unwrap(), []);
}
