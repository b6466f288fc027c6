//! A text in the user's editor.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use tempfile::NamedTempFile;

/// A text in a file that only the user can read: templates may hold secrets.
pub(crate) struct Draft(NamedTempFile);

impl Draft {
    /// Writes the text down.
    ///
    /// # Errors
    /// The temporary directory cannot be written.
    pub(crate) fn new(subject: &str, text: &str) -> anyhow::Result<Self> {
        let mut file = tempfile::Builder::new()
            .prefix(&format!("fledermaus-{subject}-"))
            .suffix(".sh")
            .tempfile()
            .context("making a file to edit")?;
        file.write_all(text.as_bytes()).context("writing the file to edit")?;
        Ok(Self(file))
    }

    /// Runs the editor, which may be a command with arguments, and returns what it left.
    ///
    /// # Errors
    /// The editor cannot be started or fails.
    pub(crate) fn edit(&self, command: &str) -> anyhow::Result<String> {
        let status = Command::new("/bin/sh")
            .args(["-c", &format!("{command} \"$1\""), "sh"])
            .arg(self.0.path())
            .status()
            .with_context(|| format!("starting the editor `{command}`"))?;
        anyhow::ensure!(status.success(), "the editor `{command}` failed ({status}): nothing was changed");
        // By name: many editors write a new file and rename it.
        std::fs::read_to_string(self.0.path()).context("reading what the editor left")
    }

    /// Lets the file stay, and says where.
    ///
    /// # Errors
    /// It cannot be kept.
    pub(crate) fn keep(self) -> anyhow::Result<PathBuf> {
        let (_, path) = self.0.keep().context("keeping your text")?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_editor_with_arguments_that_renames_its_file() {
        let draft = Draft::new("node1", "old\n").expect("a draft");
        let script = "sed -i s/old/new/";
        assert_eq!(draft.edit(script).expect("edited"), "new\n");
        assert!(draft.edit("false").expect_err("it failed").to_string().contains("nothing was changed"));
        let kept = draft.keep().expect("kept");
        assert_eq!(std::fs::read_to_string(&kept).expect("there"), "new\n");
        std::fs::remove_file(kept).expect("removed");
    }
}
