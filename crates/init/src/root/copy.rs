//! Copies a tree of files with owners and permissions: folders, files and links, which is all that a system image holds.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;

use anyhow::{Context, Result};

/// Copies a folder with all that is below it, and returns the bytes of its files. What an attempt before left is removed first.
///
/// # Errors
/// The first file that cannot be read or written, by name.
pub(super) fn tree(from: &Path, to: &Path) -> Result<u64> {
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| format!("removing {}", to.display()))?;
    }
    fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    folder(from, to)
}

fn folder(from: &Path, to: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let name = entry?.file_name();
        let (from, to) = (from.join(&name), to.join(&name));
        bytes +=
            one(&from, &to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    }
    set_owner(from, to)?;
    Ok(bytes)
}

fn one(from: &Path, to: &Path) -> Result<u64> {
    let about = fs::symlink_metadata(from)?;
    if about.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
        lchown(to, Some(about.uid()), Some(about.gid()))?;
        return Ok(0);
    }
    if about.is_dir() {
        fs::create_dir(to)?;
        return folder(from, to);
    }
    let bytes = fs::copy(from, to)?;
    set_owner(from, to)?;
    Ok(bytes)
}

/// Owner first: another one takes the permission to run as the owner away.
fn set_owner(from: &Path, to: &Path) -> Result<()> {
    let about = fs::metadata(from)?;
    lchown(to, Some(about.uid()), Some(about.gid()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(about.mode() & 0o7777))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_copy_has_all_files_with_their_permissions() {
        let house = tempfile::tempdir().unwrap();
        let (from, to) = (house.path().join("from"), house.path().join("data/root/copy.new"));
        fs::create_dir_all(from.join("etc/empty")).unwrap();
        fs::write(from.join("etc/shadow"), "secret").unwrap();
        fs::write(from.join("su"), vec![7; 70_000]).unwrap();
        symlink("../nowhere", from.join("etc/link")).unwrap();
        let modes =
            [("etc/shadow", 0o600), ("su", 0o4755), ("etc/empty", 0o1777), ("etc", 0o711), ("", 0o755)];
        for (path, mode) in modes {
            fs::set_permissions(from.join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        // Twice: the second finds what an attempt that was broken off left.
        for _ in 0..2 {
            assert_eq!(tree(&from, &to).unwrap(), 70_006);
            fs::write(to.join("left"), "over").unwrap();
        }
        tree(&from, &to).unwrap();
        for (path, mode) in modes {
            assert_eq!(fs::metadata(to.join(path)).unwrap().mode() & 0o7777, mode, "{path}");
        }
        assert_eq!(fs::read(to.join("su")).unwrap(), vec![7; 70_000]);
        assert_eq!(fs::read_link(to.join("etc/link")).unwrap(), Path::new("../nowhere"));
        assert!(!to.join("left").exists());
    }

    #[test]
    fn what_cannot_be_copied_is_named() {
        let house = tempfile::tempdir().unwrap();
        let from = house.path().join("from");
        fs::create_dir(&from).unwrap();
        fs::write(house.path().join("to"), "no folder").unwrap();
        let said = format!("{:#}", tree(&from, &house.path().join("to/root")).unwrap_err());
        assert!(said.contains("to/root"), "{said}");
    }
}
