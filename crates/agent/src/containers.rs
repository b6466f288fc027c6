//! Loads the container images that came with the system image into Docker, unless they are there:
//! a node needs no registry for them.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::docker::Docker;
use crate::outbox::Outbox;

/// Where the tars (docker-archive) lie.
const FOLDER: &str = "/usr/share/fledermaus/containers";
/// Joining a swarm goes first; a node that is in none after this time gets its images all the same.
const SWARM_LIMIT: Duration = Duration::from_secs(60);
/// How often one tar is tried, and the pause in between.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(5);
const TAR_BLOCK: u64 = 512;
/// The most files in one tar, and the largest `manifest.json`, in bytes.
const FILES_LIMIT: usize = 10_000;
const MANIFEST_LIMIT: u64 = 1024 * 1024;

/// Loads the images.
pub(crate) struct Loader {
    docker: Docker,
    outbox: Arc<Outbox>,
}

impl Loader {
    /// A loader that waits for the swarm that `outbox` knows of.
    pub(crate) fn new(docker: Docker, outbox: Arc<Outbox>) -> Self {
        Self { docker, outbox }
    }

    /// Loads all images, then returns.
    pub(crate) fn run(&self) {
        let tars = tars(Path::new(FOLDER));
        if tars.is_empty() {
            return;
        }
        self.outbox.wait_for_swarm(SWARM_LIMIT);
        for tar in tars {
            self.load_patiently(&tar);
        }
    }

    fn load_patiently(&self, tar: &Path) {
        for attempt in 1..=TRIES {
            let Err(error) = load(&self.docker, tar) else { return };
            eprintln!("fledermaus-agent: loading {}: {error:#}", tar.display());
            if attempt < TRIES {
                thread::sleep(PAUSE);
            }
        }
    }
}

fn tars(folder: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut tars: Vec<PathBuf> =
        listed.filter(|path| path.extension().is_some_and(|end| end == "tar")).collect();
    tars.sort();
    tars
}

fn load(docker: &Docker, path: &Path) -> Result<()> {
    let mut tar = File::open(path).context("opening it")?;
    let tags = tags(&mut tar).context("reading its manifest")?;
    let is_there = |tag: &String| docker.get(&format!("/images/{tag}/json")).is_ok();
    if !tags.is_empty() && tags.iter().all(is_there) {
        return Ok(());
    }
    tar.seek(SeekFrom::Start(0))?;
    let length = tar.metadata()?.len();
    Ok(docker.load_image(&mut tar, length)?)
}

/// The names of the images in a docker-archive. Names that do not fit into a path are left out.
fn tags(tar: &mut (impl Read + Seek)) -> Result<Vec<String>> {
    let manifest: serde_json::Value = serde_json::from_slice(&find(tar, "manifest.json")?)?;
    let images = manifest.as_array().map(Vec::as_slice).unwrap_or_default();
    let tags = images.iter().filter_map(|image| image["RepoTags"].as_array()).flatten();
    let plain = |tag: &&str| tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte));
    Ok(tags.filter_map(|tag| tag.as_str()).filter(plain).map(str::to_owned).collect())
}

/// The content of one file of a tar, found by its headers (ustar, POSIX.1-1988).
fn find(tar: &mut (impl Read + Seek), wanted: &str) -> Result<Vec<u8>> {
    let mut header = [0; TAR_BLOCK as usize];
    for _ in 0..FILES_LIMIT {
        if let Err(error) = tar.read_exact(&mut header) {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                break;
            }
            return Err(error.into());
        }
        let name = header[..100].split(|&byte| byte == 0).next().unwrap_or_default();
        let digits = String::from_utf8_lossy(&header[124..135]).trim_matches(['\0', ' ']).to_owned();
        let size = u64::from_str_radix(&digits, 8).unwrap_or(0);
        if name == wanted.as_bytes() && size <= MANIFEST_LIMIT {
            let mut content = Vec::new();
            tar.take(size).read_to_end(&mut content)?;
            return Ok(content);
        }
        let skip = size.next_multiple_of(TAR_BLOCK);
        tar.seek(SeekFrom::Current(i64::try_from(skip).context("a file of impossible size")?))?;
    }
    bail!("there is no {wanted} in it")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::process::Command;

    #[test]
    fn the_names_in_a_real_tar_are_found() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("layer"), vec![7; 1_000]).unwrap();
        let manifest = r#"[{"Config":"c","RepoTags":["fledermaus/hello:1","a b"],"Layers":["layer"]}]"#;
        fs::write(folder.path().join("manifest.json"), manifest).unwrap();
        let tar = folder.path().join("x.tar");
        let mut make = Command::new("tar");
        make.arg("-C").arg(folder.path()).arg("-cf").arg(&tar).args(["layer", "manifest.json"]);
        assert!(make.status().unwrap().success());
        assert_eq!(tags(&mut File::open(&tar).unwrap()).unwrap(), ["fledermaus/hello:1"]);
        assert_eq!(tars(folder.path()), [tar]);
        assert!(tags(&mut io::Cursor::new(vec![0; 2_048])).is_err());
    }
}
