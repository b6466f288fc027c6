//! `fledermaus completions|man`: what shells and readers know of the command line, from the command line itself.

use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::arguments::Arguments;

/// Prints a shell's completions.
///
/// # Errors
/// Standard output cannot be written.
pub(crate) fn completions(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "fledermaus", &mut script);
    Ok(std::io::Write::write_all(&mut std::io::stdout(), &script)?)
}

/// Writes a page for each command.
///
/// # Errors
/// The folder cannot be made or written.
pub(crate) fn pages(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    clap_mangen::generate_to(Arguments::command(), folder)
        .with_context(|| format!("writing manual pages to {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_a_completion() {
        let folder = tempfile::tempdir().expect("a folder");
        pages(folder.path()).expect("written");
        let page = std::fs::read_to_string(folder.path().join("fledermaus-node-label.1")).expect("a page");
        assert!(page.contains("Set labels"), "{page}");
        let mut script = Vec::new();
        clap_complete::generate(Shell::Bash, &mut Arguments::command(), "fledermaus", &mut script);
        let script = String::from_utf8(script).expect("text");
        assert!(script.contains("rollback") && script.contains("--dry-run"));
    }
}
