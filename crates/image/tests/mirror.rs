//! A mirror made by the test, on loopback: what a build does when the mirror is honest, forged, broken or
//! away. Builds stop where they meet the (tiny) kernel package: these tests are about what comes before.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use image::{BuildError, BuildOptions, Silent};
use pgp::composed::{ArmorOptions, CleartextSignedMessage, KeyType, SecretKeyParamsBuilder, SignedSecretKey};
use pgp::ser::Serialize;
use pgp::types::Password;
use sha2::{Digest, Sha256};

/// The packages that every node gets; the mirror has them all, with one line of content each.
const PACKAGES: [&str; 11] = [
    "docker.io",
    "docker-cli",
    "containerd",
    "runc",
    "iptables",
    "e2fsprogs",
    "busybox-static",
    "ca-certificates",
    "tini",
    "linux-image-arm64",
    "u-boot-qemu",
];

#[derive(Default)]
struct Site {
    files: BTreeMap<String, Vec<u8>>,
    /// Requests so far: path and range.
    seen: Vec<(String, String)>,
    /// Ends the next answer after so many bytes.
    cut: Option<usize>,
    /// Closes every connection without an answer.
    away: bool,
}

struct Mirror {
    site: Arc<Mutex<Site>>,
    url: String,
    folder: tempfile::TempDir,
}

impl Mirror {
    fn start() -> Self {
        let key = key();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("keys.gpg"), key.to_public_key().to_bytes().unwrap()).unwrap();
        for name in ["fledermaus-init", "fledermaus-agent"] {
            fs::write(folder.path().join(name), b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0")
                .unwrap();
        }
        let site = Arc::new(Mutex::new(Site { files: files(&key), ..Site::default() }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/debian", listener.local_addr().unwrap());
        let served = site.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                std::thread::spawn(move || answer(stream, &served));
            }
        });
        Self { site, url, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn change(&self, file: &str, change: impl Fn(&mut Vec<u8>)) {
        change(self.site.lock().unwrap().files.get_mut(file).unwrap());
    }

    fn requests(&self, file: &str) -> Vec<String> {
        let site = self.site.lock().unwrap();
        site.seen.iter().filter(|(path, _)| path == file).map(|(_, range)| range.clone()).collect()
    }

    /// Builds, and gives what is said: the build ends at the kernel at the latest.
    fn build(&self, more: &str) -> String {
        let recipe = format!("keyring = \"keys.gpg\"\n{more}\n[[mirrors]]\nurl = \"{}\"\n", self.url);
        self.build_recipe(&recipe)
    }

    fn build_recipe(&self, recipe: &str) -> String {
        fs::write(self.path("image.toml"), recipe).unwrap();
        let options = BuildOptions {
            recipe: self.path("image.toml"),
            out: self.path("out/image"),
            node_binaries: self.folder.path().to_owned(),
            cache: self.path("cache"),
            apt: self.path("apt"),
        };
        let error = image::build(&options, &mut Silent).unwrap_err();
        let left = fs::read_dir(self.path("out")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "something half-written is left");
        match error {
            BuildError::Mistakes(mistakes) => mistakes.to_string(),
            BuildError::Failed(error) => format!("{error:#}"),
        }
    }
}

fn key() -> SignedSecretKey {
    let mut parameters = SecretKeyParamsBuilder::default();
    parameters.key_type(KeyType::Ed25519Legacy).can_certify(true).can_sign(true);
    parameters.primary_user_id("Test <test@example>".into());
    parameters.build().unwrap().generate(rand::thread_rng()).unwrap()
}

fn files(key: &SignedSecretKey) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut release =
        "Suite: stable\nCodename: trixie\nDate: Sat, 06 Sep 2025 10:19:31 UTC\nSHA256:\n".to_owned();
    for (component, packages) in [("main", &PACKAGES[..]), ("non-free-firmware", &["raspi-firmware"])] {
        let mut list = String::new();
        for name in packages {
            let content = format!("the package {name}").repeat(50).into_bytes();
            list += &format!(
                "Package: {name}\nVersion: 1\nFilename: pool/{name}.deb\nSize: {}\nSHA256: {}\n\n",
                content.len(),
                hex(&content)
            );
            files.insert(format!("/debian/pool/{name}.deb"), content);
        }
        let mut packed = Vec::new();
        liblzma::write::XzEncoder::new(&mut packed, 6).write_all(list.as_bytes()).unwrap();
        let path = format!("{component}/binary-arm64/Packages.xz");
        release += &format!(" {} {} {path}\n", hex(&packed), packed.len());
        files.insert(format!("/debian/dists/trixie/{path}"), packed);
    }
    let signed =
        CleartextSignedMessage::sign(rand::thread_rng(), &release, &**key, &Password::empty()).unwrap();
    let message = signed.to_armored_bytes(ArmorOptions::default()).unwrap();
    files.insert("/debian/dists/trixie/InRelease".into(), message);
    files
}

fn hex(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Answers one request and closes.
fn answer(mut stream: TcpStream, site: &Mutex<Site>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let range =
        headers.iter().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    let (content, cut) = {
        let mut site = site.lock().unwrap();
        if site.away {
            return;
        }
        site.seen.push((path.clone(), range.clone().unwrap_or_default()));
        let content = site.files.get(&path).cloned();
        (content, if path.ends_with(".deb") { site.cut.take() } else { None })
    };
    let Some(content) = content else {
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return;
    };
    let status = if range.is_some() { "206 Partial Content" } else { "200 OK" };
    let from: usize = range.and_then(|range| range.trim_end_matches('-').parse().ok()).unwrap_or(0);
    let body = &content[from.min(content.len())..];
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(&body[..cut.unwrap_or(body.len()).min(body.len())]);
}

fn cached(folder: &Path) -> usize {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.len() == 64).count()
}

#[test]
fn an_honest_mirror_is_believed_and_asked_once() {
    let mirror = Mirror::start();
    let said = mirror.build("");
    assert!(said.contains("unpacking") && said.contains("no Debian package"), "{said}");
    assert_eq!(cached(&mirror.path("cache")), PACKAGES.len() + 1);
    mirror.build("");
    assert_eq!(mirror.requests("/debian/dists/trixie/InRelease").len(), 1);
    assert_eq!(mirror.requests("/debian/pool/runc.deb").len(), 1);
}

#[test]
fn a_forged_release_is_refused() {
    let mirror = Mirror::start();
    mirror.change("/debian/dists/trixie/InRelease", |text| {
        let forged = String::from_utf8(text.clone()).unwrap().replace("Codename: trixie", "Codename: trixi3");
        *text = forged.into_bytes();
    });
    let said = mirror.build("");
    assert!(said.contains("refusing") && said.contains("no key of the keyring"), "{said}");
    assert!(mirror.requests("/debian/pool/runc.deb").is_empty());
}

#[test]
fn a_release_of_a_stranger_is_refused() {
    let (mirror, stranger) = (Mirror::start(), key());
    let forged = files(&stranger)["/debian/dists/trixie/InRelease"].clone();
    mirror.change("/debian/dists/trixie/InRelease", |text| text.clone_from(&forged));
    assert!(mirror.build("").contains("no key of the keyring"));
}

#[test]
fn an_unsigned_release_is_refused() {
    let mirror = Mirror::start();
    mirror.change("/debian/dists/trixie/InRelease", |text| *text = b"Suite: trixie\nSHA256:\n".to_vec());
    assert!(mirror.build("").contains("reading the signature"));
}

#[test]
fn a_package_with_another_content_is_refused_by_name_and_not_kept() {
    let mirror = Mirror::start();
    mirror.change("/debian/pool/runc.deb", |content| content[3] ^= 1);
    let said = mirror.build("");
    assert!(said.contains("refusing runc 1") && said.contains("SHA-256"), "{said}");
    let content = mirror.site.lock().unwrap().files["/debian/pool/runc.deb"].clone();
    assert!(!mirror.path("cache").join(hex(&content)).exists());
    // With the right content the next build goes on.
    mirror.change("/debian/pool/runc.deb", |content| content[3] ^= 1);
    assert!(mirror.build("").contains("no Debian package"));
}

#[test]
fn a_package_damaged_in_the_cache_is_fetched_again() {
    let mirror = Mirror::start();
    mirror.build("");
    let content = mirror.site.lock().unwrap().files["/debian/pool/runc.deb"].clone();
    fs::write(mirror.path("cache").join(hex(&content)), b"rotten").unwrap();
    mirror.build("");
    assert_eq!(fs::read(mirror.path("cache").join(hex(&content))).unwrap(), content);
}

#[test]
fn a_broken_download_is_resumed() {
    let mirror = Mirror::start();
    mirror.site.lock().unwrap().cut = Some(100);
    let said = mirror.build("");
    assert!(said.contains("no Debian package"), "{said}");
    let site = mirror.site.lock().unwrap();
    assert!(
        site.seen.iter().any(|(path, range)| path.ends_with(".deb") && range == "100-"),
        "{:?}",
        site.seen
    );
}

#[test]
fn a_missing_package_is_told_with_its_line() {
    let mirror = Mirror::start();
    let said = mirror.build("packages = [\"runc\",\n \"flying-carpet\"]");
    assert!(said.contains("image.toml:3: no package is named `flying-carpet`"), "{said}");
}

#[test]
fn firmware_is_fetched_only_if_the_recipe_names_it_and_its_component() {
    let mirror = Mirror::start();
    let firmware = "/debian/pool/raspi-firmware.deb";
    let recipe = |components: &str| {
        format!(
            "keyring = \"keys.gpg\"\n[firmware]\npackage = \"raspi-firmware\"\n[[mirrors]]\nurl = \"{}\"\n{components}",
            mirror.url
        )
    };
    mirror.build("");
    assert!(mirror.requests(firmware).is_empty());
    let said = mirror.build_recipe(&recipe(""));
    assert!(said.contains("image.toml:3: ") && said.contains("`non-free-firmware`"), "{said}");
    let said = mirror.build_recipe(&recipe("components = [\"main\", \"non-free-firmware\"]"));
    assert!(said.contains("no Debian package"), "{said}");
    assert_eq!(mirror.requests(firmware).len(), 1);
}

#[test]
fn apt_s_mirror_is_asked_for_the_firmware_s_component() {
    let mirror = Mirror::start();
    fs::create_dir(mirror.path("apt")).unwrap();
    fs::write(mirror.path("apt/sources.list"), format!("deb {} trixie main\n", mirror.url)).unwrap();
    let said = mirror.build_recipe("keyring = \"keys.gpg\"\n[firmware]\npackage = \"raspi-firmware\"\n");
    assert!(said.contains("no Debian package"), "{said}");
    assert_eq!(mirror.requests("/debian/pool/raspi-firmware.deb").len(), 1);
}

#[test]
fn without_a_mirror_the_message_says_where_to_write_one() {
    let mirror = Mirror::start();
    let said = mirror.build_recipe("keyring = \"keys.gpg\"\n");
    assert!(said.contains("[[mirrors]]") && said.contains("image.toml"), "{said}");
}

#[test]
fn apt_leads_to_the_mirror() {
    let mirror = Mirror::start();
    fs::create_dir(mirror.path("apt")).unwrap();
    let list = format!("deb {}-gone trixie main\ndeb {} trixie main\n", mirror.url, mirror.url);
    fs::write(mirror.path("apt/sources.list"), list).unwrap();
    assert!(mirror.build_recipe("keyring = \"keys.gpg\"\n").contains("no Debian package"));
    assert_eq!(mirror.requests("/debian-gone/dists/trixie/InRelease").len(), 1);
}

#[test]
fn a_mirror_that_is_away_is_told_and_an_old_release_serves() {
    let mirror = Mirror::start();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = mirror
        .build_recipe(&format!("keyring = \"keys.gpg\"\n[[mirrors]]\nurl = \"http://{closed}/debian\"\n"));
    assert!(said.contains("does not answer") && said.contains("[[mirrors]]"), "{said}");
    mirror.build("");
    let kept = fs::read_dir(mirror.path("cache")).unwrap().flatten();
    let kept =
        kept.map(|entry| entry.path()).find(|path| path.to_string_lossy().contains("InRelease-")).unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 60 * 60);
    fs::File::options().write(true).open(&kept).unwrap().set_modified(old).unwrap();
    mirror.build("");
    assert_eq!(
        mirror.requests("/debian/dists/trixie/InRelease").len(),
        2,
        "an old Release is asked for again"
    );
    fs::File::options().write(true).open(&kept).unwrap().set_modified(old).unwrap();
    mirror.site.lock().unwrap().away = true;
    let said = mirror.build("");
    assert!(said.contains("no Debian package"), "the Release of before and the cache serve: {said}");
}

#[test]
fn missing_node_programs_say_how_to_build_them() {
    let mirror = Mirror::start();
    fs::remove_file(mirror.path("fledermaus-agent")).unwrap();
    let said = mirror.build("");
    assert!(said.contains("cargo build --profile node") && said.contains("fledermaus-agent"), "{said}");
}
