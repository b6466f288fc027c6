//! Files that outlive a power cut: whole, and on the disk with their names, when this says so.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;

/// The folder that a file is in.
pub(crate) fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a file that is its owner's alone.
pub(crate) fn write(file: &Path, text: &str) -> io::Result<()> {
    // It has mode 0600 from its first moment on.
    let mut draft = NamedTempFile::new_in(folder_of(file))?;
    draft.write_all(text.as_bytes())?;
    replace(file, draft)
}

/// Puts a draft from the same folder in a file's place, in one step: there is never half a file.
pub(crate) fn replace(file: &Path, draft: NamedTempFile) -> io::Result<()> {
    draft.as_file().sync_all()?;
    draft.persist(file)?;
    keep_names(folder_of(file))
}

/// Makes a folder, and those that lead to it.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    make_folder(folder_of(folder))?;
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        made => made?,
    }
    keep_names(folder_of(folder))
}

/// A new name is on the disk only once its folder is (fsync(2)).
pub(crate) fn keep_names(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join("one/two");
        make_folder(&folder).expect("made");
        make_folder(&folder).expect("it is there");
        let file = folder.join("key");
        for text in ["a longer secret", "secret"] {
            write(&file, text).expect("written");
            assert_eq!(std::fs::read_to_string(&file).expect("read"), text);
        }
        assert_eq!(file.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(&folder).expect("a folder").count(), 1);
        make_folder(&file.join("three")).expect_err("a file is no folder");
    }
}
