//! An image comes down into a folder. A file is there under its name only when it has its digest; what is there already
//! is not fetched again, and what was broken off goes on where it was.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cluster::Digest;
use cluster::manifest::SUMS_FILE;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::access::{Access, Place};
use crate::fault::Fault;
use crate::index::{self, INDEX_BYTES_LIMIT};
use crate::push::digest_of;
use crate::store::{ATTEMPTS_LIMIT, Store, pause};
use crate::{Told, object};

/// The largest file of an image, in bytes: SquashFS as the kitchen writes it ends there too.
const FILE_BYTES_LIMIT: u64 = 4 << 30;
/// How many images of one place are kept: the one that is served, and the one before.
const IMAGES_KEPT: usize = 2;
/// How the name of a file ends that is not whole yet.
const PART: &str = ".part";
/// The file that names the image that was fetched last.
const LATEST: &str = "latest";

/// An image of a store in a folder of this machine.
#[derive(Debug)]
pub struct Cached {
    /// The folder.
    pub folder: PathBuf,
    /// Why the store could not be asked whether this is still its image; none if it was.
    pub stale: Option<Fault>,
}

/// Fetches the image at a place into a folder; what names the image.
///
/// # Errors
/// A [`Fault`] of the store, or an object that does not have its digest.
pub fn pull(place: &Place, access: &Access, folder: &Path, told: Told) -> Result<Digest> {
    let store = Store::new(place, access, Timestamp::now)?;
    let sums = contents(&store, place)?;
    fetch_all(&store, place, &sums, folder, told)?;
    Ok(id_of(&sums))
}

/// What names the image at a place. Fetches none of it.
///
/// # Errors
/// A [`Fault`] of the store.
pub fn look(place: &Place, access: &Access) -> Result<Digest> {
    Ok(id_of(&contents(&Store::new(place, access, Timestamp::now)?, place)?))
}

/// The image at a place, in a folder of `cache`. If the store cannot be reached, the one that was fetched last: a head
/// has to come up after a power cut, whoever else does.
///
/// # Errors
/// As [`pull`].
pub fn cached(place: &Place, access: &Access, cache: &Path, told: Told) -> Result<Cached> {
    let store = Store::new(place, access, Timestamp::now)?;
    let house = cache.join(&Digest(Sha256::digest(store.url("")).into()).to_string()[..16]);
    match fetch_into(&store, place, &house, told) {
        Ok(folder) => Ok(Cached { folder, stale: None }),
        Err(error) => match (latest(&house), error.downcast::<Fault>()) {
            (Some(folder), Ok(fault)) if fault.is_passing() => Ok(Cached { folder, stale: Some(fault) }),
            (_, Ok(fault)) => Err(fault.into()),
            (_, Err(error)) => Err(error),
        },
    }
}

fn fetch_into(store: &Store, place: &Place, house: &Path, told: Told) -> Result<PathBuf> {
    let sums = contents(store, place)?;
    let id = id_of(&sums).to_string();
    let folder = house.join(&id);
    fetch_all(store, place, &sums, &folder, told)?;
    fs::write(house.join(LATEST), &id)
        .with_context(|| format!("writing {}", house.join(LATEST).display()))?;
    sweep(house, &id);
    Ok(folder)
}

/// The image that was fetched last, if it is there.
fn latest(house: &Path) -> Option<PathBuf> {
    let id: Digest = fs::read_to_string(house.join(LATEST)).ok()?.trim().parse().ok()?;
    let folder = house.join(id.to_string());
    folder.join(SUMS_FILE).is_file().then_some(folder)
}

/// Removes older images. What cannot be removed stays.
fn sweep(house: &Path, id: &str) {
    let entries = fs::read_dir(house).into_iter().flatten().flatten();
    let others = entries.filter(|entry| entry.path().is_dir() && entry.file_name() != id);
    let mut others: Vec<_> =
        others.map(|entry| (entry.metadata().and_then(|data| data.modified()).ok(), entry.path())).collect();
    others.sort_by(|one, other| other.cmp(one));
    for (_, folder) in others.into_iter().skip(IMAGES_KEPT - 1) {
        let _ = fs::remove_dir_all(folder);
    }
}

fn id_of(sums: &str) -> Digest {
    Digest(Sha256::digest(sums).into())
}

/// The table of contents of the image that is there now.
fn contents(store: &Store, place: &Place) -> Result<String> {
    match store.text(SUMS_FILE, INDEX_BYTES_LIMIT)? {
        Some(sums) => Ok(sums),
        None => Err(Fault::NoImage { place: place.to_string() }.into()),
    }
}

fn fetch_all(store: &Store, place: &Place, sums: &str, folder: &Path, told: Told) -> Result<()> {
    let files = index::parse(sums).with_context(|| format!("reading {SUMS_FILE} of {place}"))?;
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let mut missing = Vec::new();
    for (file, sha256) in files {
        let path = folder.join(&file);
        if !path.is_file() || digest_of(&path)? != sha256 {
            let bytes = store.size_of(&object(sha256))?.with_context(|| gone(place, &file, sha256))?;
            if bytes > FILE_BYTES_LIMIT {
                bail!(
                    "refusing {file} of {place}: it has {bytes} bytes, at most {FILE_BYTES_LIMIT} are taken"
                );
            }
            missing.push((file, path, sha256, bytes));
        }
    }
    let total = missing.iter().map(|(.., bytes)| bytes).sum();
    let mut done = 0;
    for (file, path, sha256, bytes) in missing {
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        let mut told = |part: u64, _: u64| told(done + part, total);
        fetch(store, &path, sha256, bytes, &mut told)
            .with_context(|| format!("fetching {file} of {place}"))?;
        done += bytes;
    }
    let path = folder.join(SUMS_FILE);
    fs::write(&path, sums).with_context(|| format!("writing {}", path.display()))
}

fn gone(place: &Place, file: &str, sha256: Digest) -> String {
    format!("{file} of {place} is gone: there is no {}; push the image again", object(sha256))
}

/// Fetches one file; it is there as a whole, with its digest, or not at all.
fn fetch(store: &Store, path: &Path, sha256: Digest, bytes: u64, told: Told) -> Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(PART);
    let part = PathBuf::from(part);
    let mut have = fs::metadata(&part).map_or(0, |file| file.len());
    let mut fruitless = 0;
    while have < bytes {
        let failed = request(store, &part, sha256, have, bytes, told).err();
        let now = fs::metadata(&part).map_or(0, |file| file.len());
        fruitless = if now > have { 0 } else { fruitless + 1 };
        match failed {
            Some(error)
                if fruitless >= ATTEMPTS_LIMIT || !error.downcast_ref().is_some_and(Fault::is_passing) =>
            {
                return Err(error);
            }
            None if fruitless >= ATTEMPTS_LIMIT => {
                bail!("the answer ends too early, after {now} of {bytes} bytes")
            }
            _ if fruitless > 0 => pause(fruitless - 1),
            _ => {}
        }
        have = now;
    }
    if digest_of(&part)? != sha256 {
        fs::remove_file(&part).with_context(|| format!("removing {}", part.display()))?;
        bail!(
            "refusing it: what the store has does not have the SHA-256 {sha256} that it is named by; somebody changed it \
             there, or the disk under it did. Remove {} and push the image again",
            store.url(&object(sha256))
        );
    }
    fs::rename(&part, path).with_context(|| format!("keeping {}", path.display()))
}

/// Fetches what is missing of a file, as far as one answer goes.
fn request(store: &Store, part: &Path, sha256: Digest, have: u64, bytes: u64, told: Told) -> Result<()> {
    let response = store.get(&object(sha256), have)?;
    let resumes = response.status().as_u16() == 206;
    let mut options = OpenOptions::new();
    options.create(true).write(true).append(resumes).truncate(!resumes);
    let mut file: File = options.open(part).with_context(|| format!("writing {}", part.display()))?;
    let mut done = if resumes { have } else { 0 };
    let mut body = response.into_body().into_reader().take(bytes - done);
    let mut chunk = vec![0; 256 * 1024];
    loop {
        let read = body.read(&mut chunk).map_err(|error| store.unreachable(&error))?;
        if read == 0 {
            return Ok(());
        }
        file.write_all(&chunk[..read]).with_context(|| format!("writing {}", part.display()))?;
        done += read as u64;
        told(done, bytes);
    }
}
