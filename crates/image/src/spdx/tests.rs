//! Single values of the document, and the whole of a small image.

use std::collections::BTreeMap;

use cluster::manifest::{Artefact, Manifest};

use super::*;
use crate::tree::Tree;
use crate::wishes::Wishes;

fn notices(licences: &str) -> Notices {
    let text = format!("Format: x\n\nFiles: *\nLicense: {licences}\n\nLicense: Odd one\n Its text.\n");
    let mut tree = Tree::default();
    tree.put_file("usr/share/doc/p/copyright", 0o644, text.into_bytes());
    Notices::read([&tree])
}

fn declared(licences: &str) -> (String, BTreeMap<String, (String, String)>) {
    let mut texts = BTreeMap::new();
    let notices = notices(licences);
    let said = licence::declared("p", notices.of("p").expect("there"), &mut texts).expect("named");
    (said, texts)
}

#[test]
fn times_are_those_of_the_calendar() {
    assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
    assert_eq!(timestamp(951_782_399), "2000-02-28T23:59:59Z");
    assert_eq!(timestamp(951_782_400), "2000-02-29T00:00:00Z");
    assert_eq!(timestamp(1_757_153_971), "2025-09-06T10:19:31Z");
}

/// Two images with other firmware had the same namespace.
#[test]
fn each_file_of_the_image_changes_the_namespace() {
    let artefact =
        |file: &str, byte| Artefact { file: file.to_owned(), bytes: 1, sha256: Digest([byte; 32]) };
    let manifest = Manifest {
        name: "house".to_owned(),
        kernel_version: "6.1".to_owned(),
        kernel: artefact("kernel", 3),
        initramfs: artefact("initramfs", 3),
        system: artefact("system.squashfs", 3),
        verity: None,
        one_file: None,
        lab_uboot: Some(artefact("lab-u-boot.bin", 3)),
        firmware: vec![artefact("start.elf", 3)],
        packages: Vec::new(),
    };
    let mut other = manifest.clone();
    other.firmware[0].sha256 = Digest([4; 32]);
    assert_ne!(namespace(&manifest), namespace(&other));
    other = Manifest { lab_uboot: None, ..manifest.clone() };
    assert_ne!(namespace(&manifest), namespace(&other));
    assert_eq!(namespace(&manifest), namespace(&manifest.clone()));
}

#[test]
fn debian_s_names_become_expressions() {
    assert_eq!(declared("GPL-2+ or Expat").0, "(GPL-2.0-or-later OR MIT)");
    assert_eq!(declared("GPL-2+ and Expat or ISC").0, "(GPL-2.0-or-later AND MIT OR ISC)");
    let (said, texts) = declared("Odd one");
    assert_eq!(said, "LicenseRef-p-Odd-one");
    assert_eq!(texts["LicenseRef-p-Odd-one"], ("Odd one".to_owned(), "Its text.".to_owned()));
    let (said, texts) = declared("GPL-2+ with Font exception");
    assert!(texts[&said].1.contains("/usr/share/doc/p/copyright"), "{texts:?}");
}

#[test]
fn a_document_names_each_package_and_points_only_to_what_it_has() {
    let artefact = |file: &str| Artefact { file: file.to_owned(), bytes: 1, sha256: Digest([3; 32]) };
    let manifest = Manifest {
        name: "house".to_owned(),
        kernel_version: "6.1".to_owned(),
        kernel: artefact("kernel"),
        initramfs: artefact("initramfs"),
        system: artefact("system.squashfs"),
        verity: None,
        one_file: None,
        lab_uboot: None,
        firmware: Vec::new(),
        packages: Vec::new(),
    };
    let pinned = |name: &str, part| Pinned {
        name: name.to_owned(),
        version: "1:2+b1".to_owned(),
        architecture: "arm64".to_owned(),
        bytes: 5,
        sha256: Digest([7; 32]),
        pool: format!("pool/{name}.deb"),
        part,
    };
    let lock = Lock {
        suite: "trixie".to_owned(),
        architecture: "arm64".to_owned(),
        time: 1_757_153_971,
        wishes: Wishes { packages: Vec::new(), exclude: Vec::new(), kernel: "k".to_owned(), firmware: None },
        packages: vec![pinned("k", Part::Kernel), pinned("p", Part::System), pinned("lib++", Part::System)],
    };
    let said = document(&lock, &manifest, &notices("Odd one"));
    assert_eq!(said, document(&lock, &manifest, &notices("Odd one")));
    let packages = said["packages"].as_array().expect("a list");
    let ids: Vec<&str> = packages.iter().filter_map(|package| package["SPDXID"].as_str()).collect();
    assert!(ids.contains(&"SPDXRef-Package-lib-plus-plus"), "{ids:?}");
    for relationship in said["relationships"].as_array().expect("a list") {
        let to = relationship["relatedSpdxElement"].as_str().expect("an id");
        assert!(ids.contains(&to), "{to}");
    }
    let p = packages.iter().find(|package| package["name"] == "p").expect("listed");
    assert_eq!(p["licenseDeclared"], "LicenseRef-p-Odd-one");
    assert_eq!(
        p["externalRefs"][0]["referenceLocator"],
        "pkg:deb/debian/p@1%3A2%2Bb1?arch=arm64&distro=trixie"
    );
    assert_eq!(said["hasExtractedLicensingInfos"][0]["extractedText"], "Its text.");
}
