//! The operator's own files (`[boot] files`): boot programs for machines that are no Raspberry Pis, by TFTP and HTTP.
//!
//! By TFTP a file is in memory while it is sent, and anybody may ask: all who fetch it share one copy, and room for it is
//! taken before it is read.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The largest file that is served by TFTP, in bytes.
const BYTES_LIMIT: u64 = 64 * 1024 * 1024;
/// The most bytes of such files that are in memory at a time.
const MEMORY_LIMIT: u64 = 256 * 1024 * 1024;

/// A directory of files.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    directory: Arc<Path>,
    shelf: Arc<Mutex<Shelf>>,
    memory_limit: u64,
}

/// Why a file is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// There is no such file, or it is larger than is served.
    NoFile,
    /// As many bytes as may be are in memory for others.
    NoRoom,
}

/// What is in memory, or is about to be.
type Shelf = HashMap<(PathBuf, Stamp), Arc<Copy>>;

/// Device, inode and length, and when anything about the file changed last, in seconds and nanoseconds (inode(7),
/// `ctime`): a file that was replaced is another one.
type Stamp = (u64, u64, u64, i64, i64);

/// A file as it was at some time.
#[derive(Debug)]
struct Copy {
    bytes: u64,
    /// The content while a transfer has it. Locked while the file is read.
    content: Mutex<Weak<Vec<u8>>>,
}

impl Files {
    /// The files of a directory. Links in it are followed: whoever can put one there is the operator.
    pub(crate) fn of(directory: PathBuf) -> Self {
        Self { directory: directory.into(), shelf: Arc::default(), memory_limit: MEMORY_LIMIT }
    }

    /// The directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A file's content as it is now. Nothing outside the directory can be named. Blocks while the disk reads.
    ///
    /// # Errors
    /// [`Missing`]: why not.
    pub(crate) fn read(&self, path: &str) -> Result<Arc<Vec<u8>>, Missing> {
        let path = Path::new(path.trim_start_matches('/'));
        if path.as_os_str().is_empty() || !path.components().all(|part| matches!(part, Component::Normal(_)))
        {
            return Err(Missing::NoFile);
        }
        let file = File::open(self.directory.join(path)).map_err(|_| Missing::NoFile)?;
        let about = file.metadata().map_err(|_| Missing::NoFile)?;
        if !about.is_file() || about.len() > BYTES_LIMIT {
            return Err(Missing::NoFile);
        }
        let stamp = (about.dev(), about.ino(), about.len(), about.ctime(), about.ctime_nsec());
        self.copy(path, stamp, about.len())?.read(file)
    }

    /// The one copy of a file, with room taken for it as long as somebody has it.
    fn copy(&self, path: &Path, stamp: Stamp, bytes: u64) -> Result<Arc<Copy>, Missing> {
        let mut shelf = lock(&self.shelf);
        shelf.retain(|_, copy| copy.is_wanted());
        let key = (path.to_owned(), stamp);
        if let Some(copy) = shelf.get(&key) {
            return Ok(copy.clone());
        }
        let taken: u64 = shelf.values().map(|copy| copy.bytes).sum();
        if taken + bytes > self.memory_limit {
            return Err(Missing::NoRoom);
        }
        let copy = Arc::new(Copy { bytes, content: Mutex::default() });
        shelf.insert(key, copy.clone());
        Ok(copy)
    }
}

impl Copy {
    /// Whether a transfer has the content, or somebody reads it. Asked by who has the shelf.
    fn is_wanted(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1 || lock(&self.content).strong_count() > 0
    }

    fn read(&self, file: File) -> Result<Arc<Vec<u8>>, Missing> {
        let mut content = lock(&self.content);
        if let Some(content) = content.upgrade() {
            return Ok(content);
        }
        let mut bytes = Vec::with_capacity(usize::try_from(self.bytes).unwrap_or(0));
        let read = file.take(self.bytes).read_to_end(&mut bytes).map_err(|_| Missing::NoFile)?;
        // Somebody cut it a moment ago.
        if read as u64 != self.bytes {
            return Err(Missing::NoFile);
        }
        let bytes = Arc::new(bytes);
        *content = Arc::downgrade(&bytes);
        Ok(bytes)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_inside_the_directory_are_served() {
        let outside = tempfile::tempdir().expect("a folder");
        std::fs::write(outside.path().join("secret"), "s").expect("a file");
        let directory = outside.path().join("files");
        std::fs::create_dir_all(directory.join("sub")).expect("a folder");
        std::fs::write(directory.join("sub/grub.efi"), "program").expect("a file");
        let files = Files::of(directory);
        for good in ["sub/grub.efi", "/sub/grub.efi", "sub//grub.efi"] {
            assert_eq!(files.read(good).as_deref(), Ok(&b"program".to_vec()), "{good}");
        }
        for bad in ["", "/", "sub", "../secret", "sub/../../secret", "nothing", "sub/\0"] {
            assert_eq!(files.read(bad), Err(Missing::NoFile), "{bad}");
        }
    }

    /// A thousand requests once had a thousand copies read.
    #[test]
    fn all_who_fetch_a_file_share_one_copy_and_there_is_room_for_so_many() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["one", "two", "three"] {
            std::fs::write(folder.path().join(name), [7; 100]).expect("a file");
        }
        let files = Files { memory_limit: 200, ..Files::of(folder.path().to_owned()) };
        let first = files.read("one").expect("there");
        let again = files.read("/one").expect("there");
        assert!(Arc::ptr_eq(&first, &again), "two transfers, two copies");
        let second = files.read("two").expect("there is room");
        assert_eq!(files.read("three"), Err(Missing::NoRoom));
        assert!(files.read("two").is_ok(), "it is there anyway");
        // Who fetches a file that was replaced has the old one to its end, and the next has the new one.
        drop((second, again));
        std::fs::write(folder.path().join("new"), b"new").expect("a file");
        std::fs::rename(folder.path().join("new"), folder.path().join("one")).expect("renamed");
        assert_eq!(files.read("one").as_deref(), Ok(&b"new".to_vec()));
        assert_eq!(first.len(), 100);
        drop(first);
        assert!(files.read("three").is_ok() && files.read("two").is_ok(), "what nobody has takes no room");
    }
}
