//! The `[power]` table: what works the nodes' power.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use cluster::configuration::{Named, Reader, Table};

/// The operator's program for it.
#[derive(Clone, Debug)]
pub(crate) struct Hook {
    pub(crate) program: PathBuf,
    /// Where the configuration names it.
    line: usize,
}

/// Reads the table.
pub(super) fn read<'a>(reader: &mut Reader<'a>, top: &Table<'a>) -> Option<Hook> {
    let table = reader.table(top, "power", &["hook"]);
    let Named { name, line } = reader.text(&table, "hook")?;
    Some(Hook { program: reader.folder().join(name), line })
}

/// The program has to be there when the head starts, not only when somebody pulls a plug.
pub(super) fn check(reader: &mut Reader, hook: &Hook) {
    let program = hook.program.display();
    let text = match hook.program.metadata() {
        Ok(file) if file.is_file() && file.permissions().mode() & 0o111 != 0 => return,
        Ok(_) => format!("`hook`: {program} is no program: make it one with `chmod +x`"),
        Err(error) => format!("`hook`: {program}: {error}"),
    };
    reader.mistake(hook.line, text);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_hook_has_to_be_a_program_that_is_there() {
        let said = |program: &str| {
            let mut reader = Reader::new(Path::new("/etc/c"), "");
            check(&mut reader, &Hook { program: program.into(), line: 7 });
            reader.finish(()).map_err(|mistakes| mistakes.to_string())
        };
        assert_eq!(said("/bin/sh"), Ok(()));
        for (program, sentence) in [("/etc/passwd", "is no program: make it one"), ("/none", "No such file")]
        {
            let error = said(program).expect_err(program);
            assert!(error.contains("/etc/c:7: `hook`: ") && error.contains(sentence), "{error}");
        }
    }
}
