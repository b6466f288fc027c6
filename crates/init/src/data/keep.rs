//! The partition that no wipe reaches, for a node that keeps something (`keep` in cluster.toml).
//!
//! ```text
//!   no file system (init has only now made the partition) ──► one is made, with the node's name in it
//!   of another node, or with errors                       ──► neither mounted nor touched; the timeline says what to do
//!   of this node, or of none yet                          ──► mounted
//! ```
//!
//! Never makes a file system over another: what is in it may still be wanted.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MntFlags, umount2};

use super::{KEPT_OPTIONS, ext4, make_file_system, mount_data};

/// Where it lies in the node's root.
pub(crate) const PLACE: &str = "/keep";
/// Holds the node's name.
const NAME_FILE: &str = ".fledermaus-keep";
/// The most that is read of it, in bytes: longer than any name.
const NAME_LIMIT: u64 = 256;

/// Mounts what the node of that name keeps, on the folder; made, if there is nothing yet. Says which.
///
/// # Errors
/// Why it is not to be used. Nothing is mounted then, and nothing of it is lost.
pub(super) fn mount(device: &Path, folder: &Path, node: &str) -> Result<String> {
    let file = File::open(device).context("opening the partition")?;
    if ext4::is_there(&file)? {
        ext4::check(&file).context(
            "it is left as it is: mend it with e2fsck in another machine, or boot once with keep = \"none\" to \
             give it up",
        )?;
        fs::create_dir_all(folder)?;
        mount_data(device, folder, KEPT_OPTIONS)?;
        let claimed = claim(folder, node);
        if claimed.is_err() {
            umount2(folder, MntFlags::MNT_DETACH).context("letting go of it")?;
        }
        return claimed.map(|()| String::from("as it was"));
    }
    drop(file);
    make_file_system(device)?;
    fs::create_dir_all(folder)?;
    mount_data(device, folder, KEPT_OPTIONS)?;
    claim(folder, node)?;
    Ok(String::from("made anew"))
}

/// Sees to it that the node's name is in it.
fn claim(folder: &Path, node: &str) -> Result<()> {
    match owner(folder)? {
        None => sign(folder, node).context("writing whose it is"),
        Some(name) if name == node => Ok(()),
        Some(name) => bail!(
            "it is what {name:?} keeps, and left as it is: put the card back, or boot once with keep = \"none\" to \
             give it up"
        ),
    }
}

/// The name of the node whose it is; `None` where it was never signed.
fn owner(folder: &Path) -> Result<Option<String>> {
    let file = match File::open(folder.join(NAME_FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context("reading whose it is"),
    };
    ensure!(file.metadata()?.is_file(), "{NAME_FILE} in it is no file");
    let mut name = String::new();
    file.take(NAME_LIMIT).read_to_string(&mut name).context("reading whose it is")?;
    Ok(Some(name.trim_end().to_owned()))
}

/// Writes whose it is; whole or not at all.
fn sign(folder: &Path, node: &str) -> Result<()> {
    let draft = folder.join(format!("{NAME_FILE}.new"));
    let mut file = File::create(&draft)?;
    writeln!(file, "{node}")?;
    file.sync_all()?;
    fs::rename(&draft, folder.join(NAME_FILE))?;
    File::open(folder)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_the_node_that_claimed_it_first_has_it() {
        let folder = tempfile::tempdir().unwrap();
        // The power was lost while it was signed.
        fs::write(folder.path().join(".fledermaus-keep.new"), "no").unwrap();
        claim(folder.path(), "node1").unwrap();
        claim(folder.path(), "node1").unwrap();
        let refused = claim(folder.path(), "node2").unwrap_err().to_string();
        assert!(
            refused.contains("what \"node1\" keeps") && refused.contains("put the card back"),
            "{refused}"
        );
        fs::remove_file(folder.path().join(NAME_FILE)).unwrap();
        fs::create_dir(folder.path().join(NAME_FILE)).unwrap();
        assert!(claim(folder.path(), "node1").is_err());
    }
}
