//! Where a lab keeps its files, and the lock that gives a name to one lab at a time.
//!
//! Knows paths only; nothing here starts or stops anything.

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use cluster::NodeName;
use serde::{Deserialize, Serialize};

use crate::configuration;

/// How long a lab may take to clean up.
const DOWN_LIMIT: Duration = Duration::from_secs(20);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A lab's directory. The lock lies beside it, so that the directory can be removed under the lock.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Place {
    name: NodeName,
    base: PathBuf,
}

impl Place {
    /// The place of the lab called `name` under `base`.
    pub fn new(base: &Path, name: NodeName) -> Self {
        Self { name, base: base.to_owned() }
    }

    /// The lab's name.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The lab's directory.
    pub fn directory(&self) -> PathBuf {
        self.base.join(self.name.as_str())
    }

    /// The socket of the lab's own control protocol.
    pub fn control_socket(&self) -> PathBuf {
        self.directory().join("control.sock")
    }

    /// The state directory of the lab's head.
    pub fn head_state(&self) -> PathBuf {
        self.directory().join("head")
    }

    /// The socket of the head's operator API.
    pub fn head_socket(&self) -> PathBuf {
        self.head_state().join("head.sock")
    }

    /// What the head printed.
    pub fn head_log(&self) -> PathBuf {
        self.directory().join("head.log")
    }

    /// What the lab itself and the emulators printed.
    pub fn lab_log(&self) -> PathBuf {
        self.directory().join("lab.log")
    }

    /// What a node printed on its serial console.
    pub fn console(&self, node: &str) -> PathBuf {
        self.directory().join(format!("{node}.log"))
    }

    /// The socket over which a node's emulator is told things.
    pub(crate) fn machine_socket(&self, node: &str) -> PathBuf {
        self.directory().join(format!("{node}.qmp"))
    }

    /// The configuration that the lab writes for its head.
    pub fn configuration(&self) -> PathBuf {
        self.directory().join(configuration::FILE)
    }

    /// Takes the name and makes an empty directory, clearing away what a killed lab of that name left.
    ///
    /// # Errors
    /// Another lab has the name, or the directory cannot be made.
    pub(crate) fn claim(&self) -> anyhow::Result<Claim> {
        let lock = self.lock()?;
        remove(&self.directory())?;
        private_directory(&self.directory())?;
        Ok(Claim { place: self.clone(), _lock: lock })
    }

    /// Removes what a killed lab left. Does nothing when there is nothing.
    ///
    /// # Errors
    /// The lab runs, or its directory cannot be removed.
    pub fn clear(&self) -> anyhow::Result<()> {
        if self.directory().exists() { self.claim().map(drop) } else { Ok(()) }
    }

    /// Waits until the lab's own process has cleaned up.
    ///
    /// # Errors
    /// It takes too long.
    pub(crate) fn wait_until_free(&self) -> anyhow::Result<()> {
        let limit = Instant::now() + DOWN_LIMIT;
        while self.directory().exists() {
            anyhow::ensure!(Instant::now() < limit, "the lab `{}` does not end", self.name);
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    fn lock_file(&self) -> PathBuf {
        self.base.join(format!("{}.lock", self.name))
    }

    /// Locks the lock file. Whoever held it last has removed it: a lock on a file that has no name any more is no lock.
    fn lock(&self) -> anyhow::Result<File> {
        let path = self.lock_file();
        loop {
            private_directory(&self.base)?;
            let file = match File::create(&path) {
                // Another lab ended just now and took the directory with it.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                file => file.with_context(|| format!("opening {}", path.display()))?,
            };
            if file.try_lock().is_err() {
                anyhow::bail!(
                    "a lab called `{0}` is running already: choose another --name, or stop it with `fledermaus lab down --name {0}`",
                    self.name
                );
            }
            let named = std::fs::metadata(&path).map(|metadata| metadata.ino()).ok();
            if named == Some(file.metadata()?.ino()) {
                return Ok(file);
            }
        }
    }
}

/// A taken name. Dropping it removes the lab's directory and gives the name back.
#[derive(Debug)]
pub(crate) struct Claim {
    place: Place,
    _lock: File,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.place.directory()) {
            eprintln!("{error:#}");
        }
        // Still under the lock; the next one to come makes a new file.
        let _ = std::fs::remove_file(self.place.lock_file());
        let _ = std::fs::remove_dir(&self.place.base);
    }
}

fn private_directory(path: &Path) -> anyhow::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(path).with_context(|| format!("making the directory {}", path.display()))
}

fn remove(directory: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", directory.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_belongs_to_one_lab_at_a_time_and_leaves_nothing_behind() {
        let base = tempfile::tempdir().expect("a directory");
        let base = base.path().join("labs");
        let place = Place::new(&base, "one".parse().expect("a name"));
        let claim = place.claim().expect("free");
        std::fs::write(place.console("node1"), "U-Boot").expect("written");
        let refused = place.claim().expect_err("taken").to_string();
        assert!(refused.contains("running already"), "{refused}");
        Place::new(&base, "two".parse().expect("a name")).claim().expect("another name is free");
        drop(claim);
        assert!(!base.exists());
    }

    #[test]
    fn what_a_killed_lab_left_is_cleared() {
        let base = tempfile::tempdir().expect("a directory");
        let place = Place::new(&base.path().join("labs"), "one".parse().expect("a name"));
        std::fs::create_dir_all(place.directory()).expect("made");
        std::fs::write(place.console("node1"), "left over").expect("written");
        let claim = place.claim().expect("free");
        assert!(!place.console("node1").exists());
        drop(claim);
        std::fs::create_dir_all(place.directory()).expect("made");
        place.clear().expect("cleared");
        assert!(!place.directory().exists());
    }
}
