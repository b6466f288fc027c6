//! Files that a user names, and standard input: read whole or refused, never cut. What is in them is not looked at.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::exit::BadInput;

/// A file of at most so many bytes.
///
/// # Errors
/// It cannot be read, or is longer.
pub(crate) fn bytes(path: &Path, limit: usize) -> Result<Vec<u8>, BadInput> {
    let failed = |error| BadInput(format!("reading {}: {error}", path.display()));
    read(File::open(path).map_err(failed)?, &path.display().to_string(), limit)
}

/// A text of at most so many bytes; `-` is standard input.
///
/// # Errors
/// It cannot be read, is longer, or is no text.
pub(crate) fn text(path: &Path, limit: usize) -> Result<String, BadInput> {
    let (bytes, name) = if path == Path::new("-") {
        let name = "standard input".to_owned();
        (read(std::io::stdin(), &name, limit)?, name)
    } else {
        (bytes(path, limit)?, path.display().to_string())
    };
    String::from_utf8(bytes).map_err(|_| BadInput(format!("{name}: it is not text")))
}

/// One byte more than may be there is asked for: it tells a text that is too long from one that just fits.
fn read(from: impl Read, name: &str, limit: usize) -> Result<Vec<u8>, BadInput> {
    let mut bytes = Vec::new();
    match from.take(limit as u64 + 1).read_to_end(&mut bytes) {
        Err(error) => Err(BadInput(format!("reading {name}: {error}"))),
        Ok(length) if length > limit => Err(BadInput(format!("{name} is larger than {limit} bytes"))),
        Ok(_) => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_refused_and_not_cut() {
        assert_eq!(read(&b"1234"[..], "it", 4).expect("it fits"), b"1234");
        let refused = read(&b"12345"[..], "it", 4).expect_err("a byte too much");
        assert_eq!(refused.to_string(), "it is larger than 4 bytes");
    }

    #[test]
    fn what_is_no_text_is_named() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), [0xff]).expect("written");
        let refused = text(file.path(), 4).expect_err("no text").to_string();
        assert!(refused.ends_with(": it is not text"), "{refused}");
        let refused = text(Path::new("/nonexistent/file"), 4).expect_err("no file").to_string();
        assert!(refused.starts_with("reading /nonexistent/file: "), "{refused}");
    }
}
