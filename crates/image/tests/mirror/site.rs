//! The mirror, and builds from it. Serves one request per connection.

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

use crate::packages;

const FIRST_DAY: &str = "Sat, 06 Sep 2025 10:19:31";
const NEXT_DAY: &str = "Sun, 07 Sep 2025 10:19:31";
/// The packages that every node gets; the mirror has them all, with one line of content each.
pub(crate) const PACKAGES: [&str; 12] = [
    "base-files",
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
pub(crate) struct Site {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Requests so far: path and range.
    pub(crate) seen: Vec<(String, String)>,
    /// Ends the next answer after so many bytes.
    pub(crate) cut: Option<usize>,
    /// Closes every connection without an answer.
    pub(crate) away: bool,
}

pub(crate) struct Mirror {
    pub(crate) site: Arc<Mutex<Site>>,
    pub(crate) url: String,
    folder: tempfile::TempDir,
    key: SignedSecretKey,
}

impl Mirror {
    /// One whose packages are a line of text each: builds of it end where they are unpacked.
    pub(crate) fn start() -> Self {
        Self::of(stock(&|name| format!("the package {name}").repeat(50).into_bytes()))
    }

    /// One whose packages hold what an image cannot do without.
    pub(crate) fn whole() -> Self {
        Self::of(stock(&packages::deb))
    }

    fn of(stock: Vec<Stock>) -> Self {
        let key = key();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("keys.gpg"), key.to_public_key().to_bytes().unwrap()).unwrap();
        for name in ["fledermaus-init", "fledermaus-agent"] {
            fs::write(folder.path().join(name), b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0")
                .unwrap();
        }
        let site = Arc::new(Mutex::new(Site { files: files(&key, &stock, FIRST_DAY), ..Site::default() }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/debian", listener.local_addr().unwrap());
        let served = site.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                std::thread::spawn(move || answer(stream, &served));
            }
        });
        Self { site, url, folder, key }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn change(&self, file: &str, change: impl Fn(&mut Vec<u8>)) {
        change(self.site.lock().unwrap().files.get_mut(file).unwrap());
    }

    /// The mirror a day later: signed lists of other packages; what it no longer lists is gone.
    pub(crate) fn restock(&self, change: impl FnOnce(&mut Vec<Stock>)) {
        let mut stock = stock(&packages::deb);
        change(&mut stock);
        self.site.lock().unwrap().files = files(&self.key, &stock, NEXT_DAY);
    }

    pub(crate) fn requests(&self, file: &str) -> Vec<String> {
        let site = self.site.lock().unwrap();
        site.seen.iter().filter(|(path, _)| path == file).map(|(_, range)| range.clone()).collect()
    }

    pub(crate) fn options(&self, house: &str) -> BuildOptions {
        BuildOptions {
            recipe: self.path(house).join("image.toml"),
            out: self.path(house).join("out/image"),
            node_binaries: self.folder.path().to_owned(),
            cache: self.path("cache"),
            apt: self.path("apt"),
        }
    }

    /// The mirror's recipe in a folder, with more before its table of the mirror.
    pub(crate) fn write_recipe(&self, house: &str, more: &str) {
        let keyring = self.path("keys.gpg");
        let recipe =
            format!("keyring = \"{}\"\n{more}\n[[mirrors]]\nurl = \"{}\"\n", keyring.display(), self.url);
        fs::create_dir_all(self.path(house)).unwrap();
        fs::write(self.path(house).join("image.toml"), recipe).unwrap();
    }

    /// Builds what cannot be built, and gives what is said.
    pub(crate) fn build(&self, more: &str) -> String {
        let recipe = format!("keyring = \"keys.gpg\"\n{more}\n[[mirrors]]\nurl = \"{}\"\n", self.url);
        self.build_recipe(&recipe)
    }

    pub(crate) fn build_recipe(&self, recipe: &str) -> String {
        fs::write(self.path("image.toml"), recipe).unwrap();
        self.refused("")
    }

    /// Builds in a folder where that must fail, and gives what is said.
    pub(crate) fn refused(&self, house: &str) -> String {
        let options = self.options(house);
        let before = listed(options.out.parent().unwrap());
        let error = image::build(&options, &mut Silent).unwrap_err();
        assert_eq!(listed(options.out.parent().unwrap()), before, "something half-written is left");
        match error {
            BuildError::Mistakes(mistakes) => mistakes.to_string(),
            BuildError::Failed(error) => format!("{error:#}"),
        }
    }
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
}

/// A package of the mirror.
pub(crate) struct Stock {
    pub(crate) component: &'static str,
    pub(crate) name: &'static str,
    pub(crate) version: String,
    pub(crate) content: Vec<u8>,
}

fn stock(content: &dyn Fn(&str) -> Vec<u8>) -> Vec<Stock> {
    let of = |component, name| Stock { component, name, version: "1".to_owned(), content: content(name) };
    let main = PACKAGES.into_iter().map(|name| of("main", name));
    main.chain([of("main", "u-boot-rpi"), of("non-free-firmware", "raspi-firmware")]).collect()
}

pub(crate) fn key() -> SignedSecretKey {
    let mut parameters = SecretKeyParamsBuilder::default();
    parameters.key_type(KeyType::Ed25519Legacy).can_certify(true).can_sign(true);
    parameters.primary_user_id("Test <test@example>".into());
    parameters.build().unwrap().generate(rand::thread_rng()).unwrap()
}

/// What a stranger's mirror serves.
pub(crate) fn forged(key: &SignedSecretKey) -> BTreeMap<String, Vec<u8>> {
    files(key, &stock(&|name| name.as_bytes().to_vec()), FIRST_DAY)
}

fn files(key: &SignedSecretKey, stock: &[Stock], day: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut release = format!("Suite: stable\nCodename: trixie\nDate: {day} UTC\nSHA256:\n");
    for component in ["main", "non-free-firmware"] {
        let mut list = String::new();
        for Stock { name, version, content, .. } in stock.iter().filter(|stock| stock.component == component)
        {
            // The version is in the file's name only when there is more than one in a test's life.
            let file = if version == "1" { format!("{name}.deb") } else { format!("{name}_{version}.deb") };
            list += &format!(
                "Package: {name}\nVersion: {version}\nArchitecture: arm64\nFilename: pool/{file}\nSize: {}\nSHA256: {}\n\n",
                content.len(),
                hex(content)
            );
            files.insert(format!("/debian/pool/{file}"), content.clone());
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

pub(crate) fn hex(content: &[u8]) -> String {
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
