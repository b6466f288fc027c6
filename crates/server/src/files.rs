//! The operator's own files (`[boot] files`): boot programs for machines that are no Raspberry Pis, by TFTP and HTTP.

use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// The largest file that is served by TFTP, in bytes: it is in memory while it is sent.
const BYTES_LIMIT: u64 = 64 * 1024 * 1024;

/// A directory of files.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    directory: Arc<Path>,
}

impl Files {
    /// The files of a directory. Links in it are followed: whoever can put one there is the operator.
    pub(crate) fn of(directory: PathBuf) -> Self {
        Self { directory: directory.into() }
    }

    /// The directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A file's content as it is now; `None` if there is no such file, or it is larger than is served. Nothing outside
    /// the directory can be named. Blocks while the disk reads.
    pub(crate) fn read(&self, path: &str) -> Option<Vec<u8>> {
        let path = Path::new(path.trim_start_matches('/'));
        if path.as_os_str().is_empty() || !path.components().all(|part| matches!(part, Component::Normal(_)))
        {
            return None;
        }
        let file = std::fs::File::open(self.directory.join(path)).ok()?;
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(BYTES_LIMIT + 1).read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 <= BYTES_LIMIT).then_some(bytes)
    }
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
            assert_eq!(files.read(good).as_deref(), Some(b"program".as_slice()), "{good}");
        }
        for bad in ["", "/", "sub", "../secret", "sub/../../secret", "nothing", "sub/\0"] {
            assert_eq!(files.read(bad), None, "{bad}");
        }
    }
}
