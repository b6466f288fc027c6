//! Reading what a node printed on its serial console: its last lines, without what would upset a terminal.

use std::path::Path;

/// The longest line that is shown, in characters.
const LINE_LIMIT: usize = 200;

/// The last `lines` lines of a file, cleaned. Empty if it cannot be read: there is nothing to show then.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    let text = clean(&String::from_utf8_lossy(&bytes));
    let all: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Takes escape sequences and control characters out. A carriage return starts the line over, as on a terminal.
pub fn clean(text: &str) -> String {
    let mut cleaned = String::new();
    for line in text.split('\n') {
        let line = without_escapes(line.trim_end_matches('\r'));
        let last = line.rsplit('\r').next().unwrap_or_default();
        cleaned.extend(last.chars().filter(|c| !c.is_control()).take(LINE_LIMIT));
        cleaned.push('\n');
    }
    cleaned
}

/// Removes `ESC [ … letter`, and any other escape with the one character after it.
fn without_escapes(line: &str) -> String {
    let mut kept = String::new();
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character != '\u{1b}' {
            kept.push(character);
        } else if characters.next() == Some('[') {
            characters.by_ref().find(|c| c.is_ascii_alphabetic());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_last_lines_without_escapes() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "U-Boot\r\n\x1b[2J\x1b[0;31mphase 1\x1b[0m\r\n\n10%\r20%\nend\n")
            .expect("written");
        assert_eq!(tail(file.path(), 3), "phase 1\n20%\nend");
        assert_eq!(tail(file.path(), 30), "U-Boot\nphase 1\n20%\nend");
        assert_eq!(tail(Path::new("/nowhere"), 3), "");
    }
}
