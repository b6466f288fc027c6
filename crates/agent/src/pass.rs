//! Which token the node reports with: the boot's, until the head gives it another. That one is kept where root alone reads it,
//! for an agent that is restarted; every container reads the kernel command line.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cluster::BootToken;

/// The tokens.
pub(crate) struct Pass {
    boot: BootToken,
    own: Option<BootToken>,
    /// Whether the boot's is tried again, for the other was refused: a head that was restarted before that one was used may
    /// have given another since.
    is_boot_tried: bool,
    file: PathBuf,
}

impl Pass {
    /// The pass of this boot, with what an earlier agent was given.
    pub(crate) fn open(boot: BootToken, file: &Path) -> Self {
        let own = fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok());
        Self { boot, own, is_boot_tried: false, file: file.to_owned() }
    }

    /// Where to report.
    pub(crate) fn report_path(&self) -> String {
        self.own.as_ref().filter(|_| !self.is_boot_tried).unwrap_or(&self.boot).report_path()
    }

    /// The head gave the node a token: from now on it is used. Whether another was until now.
    ///
    /// # Errors
    /// It cannot be kept; the one before is used on.
    pub(crate) fn take(&mut self, token: BootToken) -> Result<bool> {
        let was_used = !std::mem::take(&mut self.is_boot_tried) && self.own.as_ref() == Some(&token);
        if self.own.as_ref() == Some(&token) {
            return Ok(!was_used);
        }
        let draft = self.file.with_extension("new");
        let mut options = File::options();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .context("keeping the token")?;
        file.write_all(token.expose().as_bytes()).context("keeping the token")?;
        fs::rename(&draft, &self.file).context("keeping the token")?;
        self.own = Some(token);
        Ok(true)
    }

    /// The head does not know the token that was used.
    pub(crate) fn refused(&mut self) {
        self.is_boot_tried = self.own.is_some() && !self.is_boot_tried;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_the_head_gives_is_used_from_then_on_and_by_the_next_agent() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let [boot, own] = [[1; 16], [2; 16]].map(BootToken::new);
        let mut pass = Pass::open(boot.clone(), &file);
        pass.refused();
        assert_eq!(pass.report_path(), boot.report_path(), "there is no other");
        assert!(pass.take(own.clone()).unwrap());
        assert!(!pass.take(own.clone()).unwrap());
        assert_eq!(pass.report_path(), own.report_path());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let mut pass = Pass::open(boot.clone(), &file);
        assert_eq!(pass.report_path(), own.report_path());
        // The head forgot it, and gives another.
        pass.refused();
        assert_eq!(pass.report_path(), boot.report_path());
        pass.refused();
        assert_eq!(pass.report_path(), own.report_path(), "by turns");
        pass.refused();
        let third = BootToken::new([3; 16]);
        pass.take(third.clone()).unwrap();
        assert_eq!(pass.report_path(), third.report_path());
    }

    #[test]
    fn what_cannot_be_kept_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let boot = BootToken::new([1; 16]);
        let mut pass = Pass::open(boot.clone(), &folder.path().join("nowhere/token"));
        assert!(pass.take(BootToken::new([2; 16])).is_err());
        assert_eq!(pass.report_path(), boot.report_path());
    }
}
