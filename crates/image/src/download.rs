//! Fetches files by HTTP into the cache: resumed, checked by digest, several at once. Whether a digest is
//! to be believed is decided elsewhere.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use cluster::Digest;
use sha2::{Digest as _, Sha256};

use crate::crew;
use crate::progress::Progress;

/// How many files are fetched at once.
const WORKERS: usize = 4;
/// How often in a row a fetch may end without a single new byte.
const ATTEMPTS_LIMIT: u32 = 4;
/// How long the first pause between two attempts is; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(300);
/// How long a connection, and how long the first byte of an answer, may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// How long one answer may take in all; what is missing then is asked for by a further request.
const BODY_TIMEOUT: Duration = Duration::from_secs(120);
/// The largest file that is fetched without a known size: a Release.
const TEXT_BYTES_LIMIT: u64 = 4 * 1024 * 1024;
/// How the name of a Release begins that was verified.
pub(crate) const KEPT: &str = "InRelease-";
/// The file that lists the locks and images that builds with this cache used and made: a path per line.
const KNOWN: &str = "known";
/// The most paths that are known; the oldest are forgotten.
const KNOWN_LIMIT: usize = 1_000;
/// How the name of a damaged file in the cache ends, once it was refused.
pub(crate) const REFUSED: &str = ".refused";
/// How much is read at once, in bytes.
const CHUNK_BYTES: usize = 256 * 1024;

/// A file to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// What it is, for messages.
    pub(crate) name: String,
    /// Where it may be, in the order in which it is asked for.
    pub(crate) urls: Vec<String>,
    pub(crate) bytes: u64,
    pub(crate) sha256: Digest,
}

/// A file that every mirror answered for and none has.
#[derive(Debug, thiserror::Error)]
#[error("no mirror has {name} any more (asked for {})", urls.join(" and "))]
pub(crate) struct Gone {
    name: String,
    urls: Vec<String>,
}

/// The cache folder and the HTTP client.
pub(crate) struct Downloads {
    folder: PathBuf,
    agent: ureq::Agent,
}

impl Downloads {
    /// # Errors
    /// The folder cannot be made.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)
            .with_context(|| format!("making the cache folder {}", folder.display()))?;
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(ANSWER_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .timeout_recv_body(Some(BODY_TIMEOUT))
            .build();
        Ok(Self { folder: folder.to_owned(), agent: agent.into() })
    }

    /// Waits until no other build uses the cache; it is this one's while the file is open.
    ///
    /// # Errors
    /// The cache cannot be written.
    pub(crate) fn lock(&self) -> Result<File> {
        let path = self.folder.join("lock");
        let file = File::create(&path).with_context(|| format!("writing {}", path.display()))?;
        file.lock().with_context(|| format!("locking {}", path.display()))?;
        Ok(file)
    }

    /// Notes locks and images that need what is in the cache. The cache has to be locked.
    ///
    /// # Errors
    /// The cache cannot be written.
    pub(crate) fn note(&self, paths: &[&Path]) -> Result<()> {
        let mut known = self.known()?;
        for path in paths {
            let path = std::path::absolute(path).with_context(|| format!("finding {}", path.display()))?;
            known.retain(|old| *old != path);
            known.push(path);
        }
        let text: Vec<String> =
            known.iter().rev().take(KNOWN_LIMIT).rev().map(|path| format!("{}\n", path.display())).collect();
        let (file, new) = (self.folder.join(KNOWN), self.folder.join("known.new"));
        let written = fs::write(&new, text.concat()).and_then(|()| fs::rename(&new, &file));
        written.with_context(|| format!("writing {}", file.display()))
    }

    /// Locks and images that were noted and still are there.
    ///
    /// # Errors
    /// The list cannot be read.
    pub(crate) fn known(&self) -> Result<Vec<PathBuf>> {
        let path = self.folder.join(KNOWN);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.lines().map(PathBuf::from).filter(|path| path.exists()).collect()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// Where a file of this digest lies, once it was fetched.
    pub(crate) fn path(&self, sha256: Digest) -> PathBuf {
        self.folder.join(sha256.to_string())
    }

    /// Where something lies that has a name and no digest, such as a Release.
    pub(crate) fn named(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A small text; `None` if the server says that it does not have it.
    ///
    /// # Errors
    /// No answer, or one that is neither the text nor "not found".
    pub(crate) fn text(&self, url: &str) -> Result<Option<String>> {
        let response = self.agent.get(url).call().with_context(|| format!("asking {url}"))?;
        match response.status().as_u16() {
            200 => {}
            404 | 410 => return Ok(None),
            status => bail!("asking {url}: the server answered {status}"),
        }
        let mut text = String::new();
        let mut body = response.into_body().into_reader().take(TEXT_BYTES_LIMIT);
        body.read_to_string(&mut text).with_context(|| format!("reading {url}"))?;
        Ok(Some(text))
    }

    /// Makes sure that all files are in the cache. What was there before has the right size; [`Self::read`] looks at its
    /// content.
    ///
    /// # Errors
    /// The first file that cannot be had; the others are not waited for.
    pub(crate) fn fetch_all(&self, wanted: &[Wanted], progress: &mut dyn Progress) -> Result<()> {
        let total: u64 = wanted.iter().map(|file| file.bytes).sum();
        let mut done = 0;
        let fetch = |_, file: &Wanted, told: &dyn Fn(u64) -> bool| self.fetch(file, told);
        crew::run(WORKERS, wanted, fetch, |bytes| {
            done += bytes;
            progress.bytes(done, total);
        })
    }

    /// `told` hears of new bytes and answers whether to go on.
    fn fetch(&self, wanted: &Wanted, told: &dyn Fn(u64) -> bool) -> Result<()> {
        let (path, part) = (self.path(wanted.sha256), self.folder.join(format!("{}.part", wanted.sha256)));
        if path.is_file() {
            // Whoever reads it looks at its digest; that would be twice.
            let bytes = fs::metadata(&path).with_context(|| format!("looking at {}", path.display()))?.len();
            if bytes != wanted.bytes {
                return Err(self.set_aside(&wanted.name, wanted.sha256));
            }
            told(wanted.bytes);
            return Ok(());
        }
        let mut reason = None;
        for url in &wanted.urls {
            match self.fetch_from(wanted, url, &part, told) {
                Ok(()) => {
                    return fs::rename(&part, &path).with_context(|| format!("keeping {}", path.display()));
                }
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(error) | Failure::Elsewhere(error)) => reason = reason.or(Some(error)),
                Err(Failure::Gone) => {}
            }
        }
        let name = wanted.name.clone();
        Err(match reason {
            Some(error) => error.context(format!("fetching {name}")),
            None if wanted.urls.is_empty() => {
                anyhow!(
                    "{name} is not in the cache, and no mirror is known: write one into image.toml as [[mirrors]]"
                )
            }
            None => Gone { name, urls: wanted.urls.clone() }.into(),
        })
    }

    /// A file of the cache; `name` is for the message.
    ///
    /// # Errors
    /// It is not there, or does not have its digest any more.
    pub(crate) fn read(&self, name: &str, sha256: Digest) -> Result<Vec<u8>> {
        let path = self.path(sha256);
        let content = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        if Digest(Sha256::digest(&content).into()) != sha256 {
            return Err(self.set_aside(name, sha256));
        }
        Ok(content)
    }

    /// A file that was whole when it was put into the cache and is not any more is never used, and never silently
    /// replaced: a disk that rots, or a person, did that.
    fn set_aside(&self, name: &str, sha256: Digest) -> anyhow::Error {
        let (path, aside) = (self.path(sha256), self.folder.join(format!("{sha256}{REFUSED}")));
        if let Err(error) = fs::rename(&path, &aside) {
            return anyhow!(error)
                .context(format!("refusing {name}: setting its changed file {} aside", path.display()));
        }
        anyhow!(
            "refusing {name}: its file in the cache was changed after it was fetched, it does not have the SHA-256 \
             {sha256} any more; it lies in {} now, and the next build fetches another",
            aside.display()
        )
    }

    fn fetch_from(
        &self,
        wanted: &Wanted,
        url: &str,
        part: &Path,
        told: &dyn Fn(u64) -> bool,
    ) -> Result<(), Failure> {
        let resumed = fs::metadata(part).is_ok_and(|part| part.len() > 0);
        self.complete(wanted, url, part, told)?;
        if digest_of(part).map_err(Failure::Final)? == wanted.sha256 {
            return Ok(());
        }
        remove(part).map_err(Failure::Final)?;
        if resumed {
            // The beginning may have been of another day: once more, all of it.
            return self.fetch_from(wanted, url, part, told);
        }
        Err(Failure::Final(anyhow!(
            "refusing {}: what {url} serves does not have the SHA-256 that is vouched for, {}; try again later or write \
             another mirror into image.toml",
            wanted.name,
            wanted.sha256
        )))
    }

    /// Fetches what is missing of `part`.
    fn complete(
        &self,
        wanted: &Wanted,
        url: &str,
        part: &Path,
        told: &dyn Fn(u64) -> bool,
    ) -> Result<(), Failure> {
        let mut fruitless = 0;
        let mut have = fs::metadata(part).map_or(0, |part| part.len());
        told(have.min(wanted.bytes));
        while have < wanted.bytes {
            let error = match self.request(wanted, url, part, have, told) {
                Ok(()) => anyhow!("{url}: the answer ends too early"),
                Err(Failure::Passing(error)) => error,
                Err(failure) => return Err(failure),
            };
            let now = fs::metadata(part).map_or(0, |part| part.len());
            fruitless = if now > have { 0 } else { fruitless + 1 };
            if fruitless >= ATTEMPTS_LIMIT {
                return Err(Failure::Passing(error));
            }
            if fruitless > 0 {
                std::thread::sleep(FIRST_PAUSE * 2u32.pow(fruitless - 1));
            }
            have = now;
        }
        Ok(())
    }

    fn request(
        &self,
        wanted: &Wanted,
        url: &str,
        part: &Path,
        have: u64,
        told: &dyn Fn(u64) -> bool,
    ) -> Result<(), Failure> {
        let request = self.agent.get(url).header("Range", format!("bytes={have}-"));
        let response = request
            .call()
            .map_err(|error| Failure::Passing(anyhow!(error).context(format!("asking {url}"))))?;
        let resumes = match response.status().as_u16() {
            206 => true,
            200 => false,
            status @ (500..=599 | 408 | 429) => {
                return Err(Failure::Passing(anyhow!("{url}: the server answered {status}")));
            }
            404 | 410 => return Err(Failure::Gone),
            status => return Err(Failure::Elsewhere(anyhow!("{url}: the server answered {status}"))),
        };
        let mut file = open_part(part, resumes).map_err(Failure::Final)?;
        let start = if resumes { have } else { 0 };
        let body = response.into_body().into_reader();
        copy(body.take(wanted.bytes - start), &mut file, part, told)
    }
}

/// Why a request ended early.
enum Failure {
    /// Another attempt may succeed.
    Passing(anyhow::Error),
    /// Another mirror may serve it.
    Elsewhere(anyhow::Error),
    /// This mirror does not have it.
    Gone,
    /// Nothing will help.
    Final(anyhow::Error),
}

fn open_part(part: &Path, resumes: bool) -> Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).write(true).append(resumes).truncate(!resumes);
    options.open(part).with_context(|| format!("writing {}", part.display()))
}

fn copy(mut from: impl Read, to: &mut File, part: &Path, told: &dyn Fn(u64) -> bool) -> Result<(), Failure> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = from.read(&mut chunk).map_err(|error| Failure::Passing(error.into()))?;
        if read == 0 {
            return Ok(());
        }
        let written = to.write_all(&chunk[..read]).with_context(|| format!("writing {}", part.display()));
        written.map_err(Failure::Final)?;
        if !told(read as u64) {
            return Err(Failure::Final(anyhow!("another download failed")));
        }
    }
}

/// The digest of a file's content.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn digest_of(path: &Path) -> Result<Digest> {
    let mut file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = file.read(&mut chunk).with_context(|| format!("reading {}", path.display()))?;
        if read == 0 {
            return Ok(Digest(hasher.finalize().into()));
        }
        hasher.update(&chunk[..read]);
    }
}

fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).with_context(|| format!("removing {}", path.display()))
}
