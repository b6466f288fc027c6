//! Folders as Buildroot leaves them, made by hand: small, and with everything that is looked for.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::files::{FILES_FILE, Files};
use crate::modules::tests::elf;
use crate::progress::Silent;
use crate::shelf;

const VERSION: &str = "6.12.92-fledermaus";
const PROGRAMS: [&str; 9] = [
    "usr/sbin/fledermaus-agent",
    "usr/bin/busybox",
    "usr/sbin/mke2fs",
    "usr/sbin/dockerd",
    "usr/bin/docker",
    "usr/bin/containerd",
    "usr/bin/runc",
    "usr/sbin/iptables",
    "etc/init.d/rcS",
];
const FOLDERS: [&str; 10] = [
    "proc",
    "sys",
    "dev",
    "run",
    "tmp",
    "mnt/system",
    "mnt/data",
    "data",
    "var/lib/docker",
    "var/lib/containerd",
];

/// A kernel that says so, and carries an older banner's format string before its own.
fn kernel() -> Vec<u8> {
    let mut image = vec![0; 0x38];
    image.extend(b"ARM\x64 Linux version %s Linux version 6.12.92-fledermaus (builder) #1 SMP");
    image
}

/// What lies in a made-up `output`.
struct Output {
    folder: TempDir,
    root: tar::Builder<Vec<u8>>,
}

impl Output {
    /// A whole one, whose root can still get more.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join("images/rpi-firmware")).expect("made");
        fs::create_dir_all(folder.path().join("build")).expect("made");
        let mut output = Self { folder, root: tar::Builder::new(Vec::new()) };
        output.put("Image", &kernel());
        output.put("bcm2837-rpi-3-b.dtb", b"tree");
        output.put("u-boot.bin", b"u-boot");
        for file in ["bootcode.bin", "start.elf", "fixup.dat", "config.txt"] {
            output.put(&format!("rpi-firmware/{file}"), file.as_bytes());
        }
        for (link, target) in [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib")] {
            output.link(link, target);
        }
        output.link("usr/sbin/init", "../bin/busybox");
        for folder in FOLDERS {
            output.member(tar::EntryType::Directory, folder, b"");
        }
        for program in PROGRAMS {
            output.file(program, b"program");
        }
        output
    }

    fn put(&self, name: &str, content: &[u8]) {
        fs::write(self.images().join(name), content).expect("written");
    }

    fn images(&self) -> PathBuf {
        self.folder.path().join("images")
    }

    fn header(kind: tar::EntryType, bytes: usize) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(bytes as u64);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(7);
        header.set_mtime(1_700_000_000);
        header
    }

    fn member(&mut self, kind: tar::EntryType, path: &str, content: &[u8]) {
        let mut header = Self::header(kind, content.len());
        self.root.append_data(&mut header, format!("./{path}"), content).expect("fits");
    }

    fn file(&mut self, path: &str, content: &[u8]) {
        self.member(tar::EntryType::Regular, path, content);
    }

    fn link(&mut self, path: &str, target: &str) {
        let mut header = Self::header(tar::EntryType::Symlink, 0);
        self.root.append_link(&mut header, format!("./{path}"), target).expect("fits");
    }

    /// Closes the root and imports.
    fn import(mut self, with: impl FnOnce(&mut ImportOptions)) -> (TempDir, Result<Manifest>) {
        if let Ok(archive) = std::mem::replace(&mut self.root, tar::Builder::new(Vec::new())).into_inner() {
            self.put("rootfs.tar", &archive);
        }
        let place = self.folder.path();
        let mut options = ImportOptions {
            images: self.images(),
            out: place.join("image"),
            name: "buildroot".to_owned(),
            lab_uboot: None,
            card: None,
            cache: place.join("cache"),
        };
        with(&mut options);
        let imported = import(&options, &mut Silent);
        (self.folder, imported)
    }

    fn refused(self) -> String {
        let (place, imported) = self.import(|_| ());
        let said = format!("{:#}", imported.expect_err("something is missing"));
        assert!(!place.path().join("image").exists(), "nothing half-written: {said}");
        said
    }
}

/// A whole output with init.
fn whole() -> Output {
    let mut output = Output::new();
    output.file("usr/sbin/fledermaus-init", &elf(".text", ""));
    output
}

fn list(place: &Path) -> Files {
    serde_json::from_slice(&fs::read(place.join("image").join(FILES_FILE)).expect("there")).expect("JSON")
}

#[test]
fn a_folder_of_buildroot_s_becomes_an_image_like_any_other() {
    let mut output = whole();
    output.member(tar::EntryType::Char, "dev/console", b"");
    fs::write(output.folder.path().join("build/packages-file-list.txt"), "runc,./usr/bin/runc\n")
        .expect("written");
    let (place, imported) = output.import(|_| ());
    let manifest = imported.expect("imported");
    assert_eq!((manifest.name.as_str(), manifest.kernel_version.as_str()), ("buildroot", VERSION));
    assert!(manifest.verity.is_some(), "whole blocks");
    let firmware: Vec<&str> = manifest.firmware.iter().map(|artefact| artefact.file.as_str()).collect();
    assert_eq!(firmware, ["bcm2837-rpi-3-b.dtb", "bootcode.bin", "fixup.dat", "start.elf"]);

    let image = shelf::open(&place.path().join("image")).expect("an image");
    assert_eq!(shelf::verify(&image).expect("read").damages, []);
    let files = list(place.path());
    let runc = files.system.iter().find(|file| file.path == "usr/bin/runc").expect("listed");
    assert_eq!((runc.package.as_deref(), runc.mode.as_str()), (Some("runc"), "0755"));
    assert!(!files.system.iter().any(|file| file.path == "dev/console"), "the kernel makes devices");
    // A kernel without modules: init still reads the lists, and finds them empty.
    let paths: Vec<&str> = files.initramfs.iter().map(|file| file.path.as_str()).collect();
    assert!(
        paths.contains(&"init") && paths.contains(&"usr/lib/modules/6.12.92-fledermaus/modules.dep"),
        "{paths:?}"
    );
}

#[test]
fn modules_that_a_node_needs_to_boot_go_into_the_initramfs_with_what_they_need() {
    let mut output = whole();
    let folder = format!("usr/lib/modules/{VERSION}");
    output.member(tar::EntryType::Directory, &folder, b"");
    output.file(&format!("{folder}/kernel/ext4.ko"), &elf(".modinfo", "depends=jbd2\0"));
    output.file(&format!("{folder}/kernel/jbd2.ko"), &elf(".modinfo", "depends=\0"));
    output.file(&format!("{folder}/kernel/wireguard.ko"), &elf(".modinfo", "depends=\0"));
    output.file(&format!("{folder}/modules.builtin"), b"kernel/fs/overlayfs/overlay.ko\n");
    let (place, imported) = output.import(|_| ());
    imported.expect("imported");
    let files = list(place.path());
    let modules: Vec<&str> = files
        .initramfs
        .iter()
        .filter_map(|file| file.path.rsplit('/').next().filter(|name| name.ends_with(".ko")))
        .collect();
    assert_eq!(modules, ["ext4.ko", "jbd2.ko"]);
    assert_eq!(files.system.iter().filter(|file| file.path.ends_with(".ko")).count(), 3);
}

#[test]
fn a_root_that_buildroot_packed_is_taken_as_it_is() {
    let output = whole();
    output.put("rootfs.squashfs", &[b"hsqs".as_slice(), &[7; 5_000]].concat());
    let (place, imported) = output.import(|_| ());
    assert_eq!(imported.expect("imported").system.bytes, 8_192, "filled up to whole blocks");
    let system = fs::read(place.path().join("image").join(SYSTEM_FILE)).expect("there");
    assert!(system.starts_with(b"hsqs\x07") && system[5_004..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_card_is_as_large_as_its_files_want() {
    let (place, imported) =
        whole().import(|options| options.card = Some(options.out.with_file_name("card.img")));
    imported.expect("imported");
    let small = fs::metadata(place.path().join("card.img")).expect("there").len();
    assert_eq!(small, crate::card::BYTES);

    let output = whole();
    output.put("rpi-firmware/start.elf", &vec![1; 60 << 20]);
    let (place, imported) =
        output.import(|options| options.card = Some(options.out.with_file_name("card.img")));
    imported.expect("imported");
    let large = fs::metadata(place.path().join("card.img")).expect("there").len();
    assert!((61 << 20..64 << 20).contains(&large), "{large}");
}

#[test]
fn what_is_missing_is_said_with_the_option_that_brings_it() {
    let said = Output::new().refused();
    assert!(said.contains("fledermaus-init (BR2_PACKAGE_FLEDERMAUS_INIT=y)"), "{said}");

    for (file, option) in [
        ("Image", "BR2_LINUX_KERNEL=y"),
        ("rpi-firmware/fixup.dat", "BR2_PACKAGE_RPI_FIRMWARE_VARIANT_PI=y"),
        ("bcm2837-rpi-3-b.dtb", "BR2_LINUX_KERNEL_DTS_SUPPORT=y"),
    ] {
        let output = whole();
        fs::remove_file(output.images().join(file)).expect("there");
        let said = output.refused();
        assert!(said.contains(option), "{file}: {said}");
    }
    let output = whole();
    fs::remove_file(output.images().join("u-boot.bin")).expect("there");
    let (place, imported) =
        output.import(|options| options.card = Some(options.out.with_file_name("card.img")));
    let said = format!("{:#}", imported.expect_err("no U-Boot"));
    assert!(said.contains("BR2_TARGET_UBOOT=y") && !place.path().join("card.img").exists(), "{said}");
    assert!(!place.path().join("image").exists(), "neither is the image there");
}

#[test]
fn what_is_not_what_its_name_says_is_refused() {
    let mut output = Output::new();
    output.file("usr/sbin/fledermaus-init", &elf(".interp", "/lib/ld-linux-aarch64.so.1"));
    assert!(output.refused().contains("needs libraries"));

    let output = whole();
    output.put("Image", b"MZ not for this processor");
    assert!(output.refused().contains("BR2_aarch64=y"));

    let mut output = whole();
    output.member(tar::EntryType::Directory, "usr/lib/modules/6.1.0", b"");
    let said = output.refused();
    assert!(said.contains("6.1.0") && said.contains(VERSION), "{said}");

    let output = whole();
    output.put("rootfs.squashfs", b"something else");
    assert!(output.refused().contains("no SquashFS"));
}
