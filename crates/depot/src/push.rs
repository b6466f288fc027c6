//! An image's folder goes up: what the bucket has already stays, large files go in parts, and which parts arrived is
//! noted on this machine, so that a push that was broken off goes on where it was.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use cluster::Digest;
use cluster::manifest::SUMS_FILE;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::access::{Access, Place};
use crate::fault::Fault;
use crate::index::{self, INDEX_BYTES_LIMIT};
use crate::store::Store;
use crate::{Told, object};

/// The size of a part, in bytes. S3 takes 5 MiB at least and 10,000 parts at most.
const PART_BYTES: u64 = 8 * 1024 * 1024;
/// The most parts of one file.
const PARTS_LIMIT: u64 = 10_000;

/// What a push did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pushed {
    /// What names the image: the SHA-256 of its table of contents.
    pub id: Digest,
    /// Bytes that were sent.
    pub sent_bytes: u64,
    /// Bytes that were there already.
    pub kept_bytes: u64,
}

/// How far the upload of one large file is.
#[derive(Serialize, Deserialize)]
struct Record {
    upload: String,
    part_bytes: u64,
    /// What the store calls each part that it has, from the first on.
    parts: Vec<String>,
}

/// Puts the image in a folder into a bucket. `records` is a folder of this machine for what is needed to go on later.
///
/// # Errors
/// There is no image, it changed since it was made, or a [`Fault`] of the store.
pub fn push(folder: &Path, place: &Place, access: &Access, records: &Path, told: Told) -> Result<Pushed> {
    push_at(folder, place, access, records, Timestamp::now, told)
}

/// As [`push`], by another clock.
pub(crate) fn push_at(
    folder: &Path,
    place: &Place,
    access: &Access,
    records: &Path,
    now: fn() -> Timestamp,
    told: Told,
) -> Result<Pushed> {
    let store = Store::new(place, access, now)?;
    let path = folder.join(SUMS_FILE);
    let sums = std::fs::read_to_string(&path).with_context(|| {
        format!("reading {} (an image has one: `fledermaus image build --out DIR`)", path.display())
    })?;
    let files = index::parse(&sums).with_context(|| format!("reading {}", path.display()))?;
    // By digest: what two files share goes up once.
    let objects: BTreeMap<Digest, PathBuf> =
        files.into_iter().map(|(file, sha256)| (sha256, folder.join(file))).collect();
    let size =
        |path: &PathBuf| std::fs::metadata(path).with_context(|| format!("looking at {}", path.display()));
    let mut total = 0;
    for path in objects.values() {
        total += size(path)?.len();
    }
    // Says what is wrong with the bucket before anything is sent.
    let there = store.text(SUMS_FILE, INDEX_BYTES_LIMIT)?;
    std::fs::create_dir_all(records).with_context(|| format!("making {}", records.display()))?;
    let mut pushed = Pushed { id: Digest(Sha256::digest(&sums).into()), sent_bytes: 0, kept_bytes: 0 };
    for (sha256, path) in objects {
        let bytes = size(&path)?.len();
        let before = pushed.sent_bytes + pushed.kept_bytes;
        if store.size_of(&object(sha256))? == Some(bytes) {
            pushed.kept_bytes += bytes;
        } else {
            let mut told = |done: u64, _: u64| told(before + done, total);
            let sent = send(&store, &path, sha256, records, &mut told)
                .with_context(|| format!("sending {}", path.display()))?;
            pushed.sent_bytes += sent;
            pushed.kept_bytes += bytes - sent;
        }
        told(before + bytes, total);
    }
    if there.as_deref() != Some(&sums) {
        store.put(SUMS_FILE, sums.as_bytes())?;
    }
    Ok(pushed)
}

/// Sends one file; how many of its bytes were not there yet.
fn send(store: &Store, path: &Path, sha256: Digest, records: &Path, told: Told) -> Result<u64> {
    let name = object(sha256);
    let bytes = std::fs::metadata(path)?.len();
    if bytes <= PART_BYTES {
        let content = std::fs::read(path)?;
        ensure!(Digest(Sha256::digest(&content).into()) == sha256, "it changed since the image was made");
        store.put(&name, &content)?;
        return Ok(bytes);
    }
    ensure!(bytes.div_ceil(PART_BYTES) <= PARTS_LIMIT, "it has more than {} bytes", PART_BYTES * PARTS_LIMIT);
    ensure!(digest_of(path)? == sha256, "it changed since the image was made");
    let record = records.join(Digest(Sha256::digest(store.url(&name)).into()).to_string());
    let resumed = load(&record);
    let was_resumed = resumed.is_some();
    match send_parts(store, path, &name, resumed, &record, told) {
        // Stores forget uploads that nobody ends, and each says it in its own way: then from the beginning, once.
        Err(error) if was_resumed && !error.downcast_ref::<Fault>().is_none_or(Fault::is_passing) => {
            let _ = std::fs::remove_file(&record);
            send_parts(store, path, &name, None, &record, told)
        }
        sent => sent,
    }
}

fn send_parts(
    store: &Store,
    path: &Path,
    name: &str,
    resumed: Option<Record>,
    place: &Path,
    told: Told,
) -> Result<u64> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut record = match resumed {
        Some(record) => record,
        None => Record { upload: store.begin(name)?, part_bytes: PART_BYTES, parts: Vec::new() },
    };
    let mut sent = 0;
    let count = bytes.div_ceil(PART_BYTES);
    for number in record.parts.len() as u64..count {
        let start = number * PART_BYTES;
        told(start, bytes);
        let mut content = vec![0; PART_BYTES.min(bytes - start) as usize];
        file.read_exact_at(&mut content, start)?;
        record.parts.push(store.part(name, &record.upload, number as u16 + 1, &content)?);
        sent += content.len() as u64;
        save(place, &record)?;
    }
    store.complete(name, &record.upload, &record.parts)?;
    std::fs::remove_file(place).with_context(|| format!("removing {}", place.display()))?;
    Ok(sent)
}

/// What is known of an upload that was broken off. Nothing, if it cannot be read.
fn load(path: &Path) -> Option<Record> {
    let record: Record = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    (record.part_bytes == PART_BYTES).then_some(record)
}

fn save(path: &Path, record: &Record) -> Result<()> {
    let writing = || format!("writing {}", path.display());
    let mut file =
        tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new("."))).with_context(writing)?;
    serde_json::to_writer(&mut file, record).with_context(writing)?;
    file.persist(path).map(drop).with_context(writing)
}

/// # Errors
/// The file cannot be read.
pub(crate) fn digest_of(path: &Path) -> Result<Digest> {
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut hasher = Sha256::new();
    std::io::copy(&mut file, &mut hasher).with_context(|| format!("reading {}", path.display()))?;
    Ok(Digest(hasher.finalize().into()))
}
