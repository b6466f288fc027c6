//! Packs contents, and remembers what it packed in a folder of the cache, by the digest of the content: what did not
//! change since the last build is not packed again. What is remembered is unpacked and compared before it is used, so
//! whoever changes the cache cannot change an image.

use std::borrow::Cow;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow};
use cluster::Digest;
use libdeflater::{CompressionLvl, Compressor};
use sha2::{Digest as _, Sha256};

use crate::crew;
use crate::progress::Progress;

/// The most bytes that are remembered; an image of 58 MB fills 72 MB, and its kernel's unpacked files 120 MB.
const FOLDER_BYTES_LIMIT: u64 = 384 * 1024 * 1024;
/// libdeflate's level. A kernel of 37.7 MB becomes 13.54 MB in 1.3 s at level 9, 13.12 MB in 3.5 s at 10, 13.10 MB in
/// 6.0 s at 12; zlib's best is 13.68 MB in 5.8 s.
const GZIP_LEVEL: i32 = 9;
/// The libraries that pack, by their versions: another one may pack otherwise, and what one cache remembers must be
/// what another machine would make.
const LIBRARIES: &str = include_str!("../../../Cargo.lock");

/// How a content is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// Zstandard of that level.
    Zstd(i32),
    /// gzip, smaller than zlib makes it.
    Gzip,
}

impl Method {
    fn pack(self, content: &[u8]) -> Result<Vec<u8>> {
        match self {
            Self::Zstd(level) => zstd::bulk::compress(content, level).context("packing with zstd"),
            Self::Gzip => {
                let level = CompressionLvl::new(GZIP_LEVEL)
                    .map_err(|_| anyhow!("libdeflate has no level {GZIP_LEVEL}"))?;
                let mut packer = Compressor::new(level);
                let mut packed = vec![0; packer.gzip_compress_bound(content.len())];
                let bytes = packer.gzip_compress(content, &mut packed).context("packing with gzip")?;
                packed.truncate(bytes);
                Ok(packed)
            }
        }
    }

    /// Whether unpacking gives the content.
    fn gives(self, packed: &[u8], content: &[u8]) -> bool {
        let mut unpacked = Vec::with_capacity(content.len() + 1);
        let limit = content.len() as u64 + 1;
        let read = match self {
            Self::Zstd(_) => match zstd::bulk::decompress(packed, content.len()) {
                Ok(all) => {
                    unpacked = all;
                    Ok(0)
                }
                Err(error) => Err(error),
            },
            Self::Gzip => flate2::read::GzDecoder::new(packed).take(limit).read_to_end(&mut unpacked),
        };
        read.is_ok() && unpacked == content
    }
}

/// The folder of what was packed.
pub(crate) struct Packer {
    folder: PathBuf,
    libraries: Digest,
}

impl Packer {
    /// # Errors
    /// The folder cannot be made.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned(), libraries: Digest(Sha256::digest(LIBRARIES).into()) })
    }

    /// Packs without remembering: for small contents.
    ///
    /// # Errors
    /// The library's.
    pub(crate) fn pack_now(method: Method, content: &[u8]) -> Result<Vec<u8>> {
        method.pack(content)
    }

    /// The content packed, or remembered.
    ///
    /// # Errors
    /// The library's. A cache that cannot be written only costs time.
    pub(crate) fn pack(&self, method: Method, content: &[u8]) -> Result<Vec<u8>> {
        let path = self.path(method, content);
        if let Ok(packed) = fs::read(&path)
            && method.gives(&packed, content)
        {
            // Which was used last stays longest.
            let used = fs::File::options().append(true).open(&path);
            let _ = used.and_then(|file| file.set_modified(SystemTime::now()));
            return Ok(packed);
        }
        let packed = method.pack(content)?;
        let new = tempfile::NamedTempFile::new_in(&self.folder);
        let _ = new.and_then(|mut file| {
            file.write_all(&packed)?;
            file.persist(&path).map_err(std::io::Error::from)
        });
        Ok(packed)
    }

    /// Packs many contents, on all cores.
    ///
    /// # Errors
    /// As [`Self::pack`].
    pub(crate) fn pack_all(
        &self,
        method: Method,
        contents: &[Cow<'_, [u8]>],
        progress: &mut dyn Progress,
    ) -> Result<Vec<Vec<u8>>> {
        let workers = std::thread::available_parallelism().map_or(2, usize::from);
        let total = contents.iter().map(|content| content.len() as u64).sum();
        let mut all = vec![Vec::new(); contents.len()];
        let mut done = 0;
        let work = |number, content: &Cow<'_, [u8]>, told: &dyn Fn((usize, Vec<u8>)) -> bool| {
            told((number, self.pack(method, content)?));
            Ok(())
        };
        crew::run(workers, contents, work, |(number, packed)| {
            all[number] = packed;
            done += contents[number].len() as u64;
            progress.bytes(done, total);
        })?;
        Ok(all)
    }

    /// Forgets what was not used for longest until the limit holds. What cannot be removed stays.
    pub(crate) fn trim(&self) {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut kept: Vec<(SystemTime, u64, PathBuf)> = entries
            .filter_map(|entry| {
                let about = entry.metadata().ok()?;
                Some((about.modified().ok()?, about.len(), entry.path()))
            })
            .collect();
        kept.sort();
        let mut bytes: u64 = kept.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, own, path) in kept {
            if bytes <= FOLDER_BYTES_LIMIT {
                return;
            }
            if fs::remove_file(path).is_ok() {
                bytes -= own;
            }
        }
    }

    fn path(&self, method: Method, content: &[u8]) -> PathBuf {
        let mut hasher = Sha256::new();
        hasher.update(self.libraries.0);
        hasher.update(format!("{method:?}\n"));
        hasher.update(content);
        self.folder.join(Digest(hasher.finalize().into()).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered(folder: &Path) -> Vec<PathBuf> {
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("there").path()).collect()
    }

    #[test]
    fn what_was_packed_is_used_again_unless_it_was_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let packer = Packer::new(folder.path()).expect("made");
        for method in [Method::Zstd(15), Method::Gzip] {
            let content = b"again and again and again ".repeat(1_000);
            let packed = packer.pack(method, &content).expect("packed");
            assert!(packed.len() < 1_000 && method.gives(&packed, &content));
            let [path] = &remembered(folder.path())[..] else { panic!("one content, one file") };
            // Another way to pack the same shows that what is remembered is used.
            let other = match method {
                Method::Zstd(_) => Method::Zstd(1).pack(&content).expect("packed"),
                Method::Gzip => [&packed[..8], &[9], &packed[9..]].concat(),
            };
            assert_ne!(other, packed);
            fs::write(path, &other).expect("written");
            assert_eq!(packer.pack(method, &content).expect("remembered"), other);
            for evil in [method.pack(b"something else").expect("packed"), b"rotten".to_vec(), Vec::new()] {
                fs::write(path, evil).expect("written");
                assert_eq!(packer.pack(method, &content).expect("packed anew"), packed);
            }
            fs::remove_file(path).expect("removed");
        }
    }

    #[test]
    fn what_was_not_used_for_longest_is_forgotten_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let packer = Packer::new(folder.path()).expect("made");
        for (age, name) in [(30, "old"), (20, "middle"), (10, "new")] {
            let file = fs::File::create(folder.path().join(name)).expect("made");
            // A file with a hole: large and free.
            file.set_len(FOLDER_BYTES_LIMIT / 2).expect("set");
            file.set_modified(SystemTime::now() - std::time::Duration::from_secs(age)).expect("set");
        }
        packer.trim();
        let mut names = remembered(folder.path());
        names.sort();
        assert_eq!(names, [folder.path().join("middle"), folder.path().join("new")]);
    }
}
