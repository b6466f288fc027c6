//! The text mode (RFC 1350 section 1; the characters are those of RFC 764).

/// A file as it is sent in netascii: a line feed becomes CR LF, a carriage return CR NUL.
pub fn to_netascii(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len() + bytes.len() / 16);
    for byte in bytes {
        match byte {
            b'\n' => text.extend(b"\r\n"),
            b'\r' => text.extend(b"\r\0"),
            other => text.push(*other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_are_translated() {
        assert_eq!(to_netascii(b"a\nb\r\n\n"), b"a\r\nb\r\0\r\n\r\n");
    }
}
