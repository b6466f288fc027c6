//! The `[operator]` table: the door for operators who are not on this machine. There is none unless `listen` is set.

use std::net::SocketAddr;
use std::path::PathBuf;

use cluster::configuration::{Named, Reader, Table};

/// The table as it was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct OperatorDoor {
    /// Where it listens.
    pub(crate) listen: Option<SocketAddr>,
    /// A certificate chain and its key, both PEM; the head makes one of its own if absent.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
}

/// Reads the table.
pub(super) fn read<'a>(reader: &mut Reader<'a>, top: &Table<'a>) -> OperatorDoor {
    let table = reader.table(top, "operator", &["listen", "certificate", "key"]);
    let listen = reader.text(&table, "listen").and_then(|Named { name, line }| {
        let parsed = name.parse().ok();
        if parsed.is_none() {
            let text = format!(
                "`listen`: `{name}` is none: write address and port as \"0.0.0.0:8443\" or \"[::]:8443\""
            );
            reader.mistake(line, text);
        }
        parsed
    });
    let [certificate, key] = ["certificate", "key"].map(|name| reader.text(&table, name));
    if certificate.is_some() != key.is_some() {
        let text = "`certificate` and `key` belong together: write both, or none for one that the head makes";
        reader.mistake(table.line(), text);
    }
    let file = |named: Named| reader.folder().join(named.name);
    OperatorDoor { listen, certificate: certificate.map(file).zip(key.map(file)) }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use crate::config::parse;

    #[test]
    fn the_door_is_closed_unless_it_is_named_and_half_a_certificate_is_none() {
        let read = |text: &str| parse(Path::new("/etc/c"), &format!("[operator]\n{text}"));
        assert_eq!(read("").expect("valid").operator.listen, None);
        let door = read("listen = '[::]:8443'\ncertificate = 'tls/a.pem'\nkey = '/k.pem'\n")
            .expect("valid")
            .operator;
        assert_eq!(door.listen, Some("[::]:8443".parse().expect("an address")));
        assert_eq!(door.certificate, Some((PathBuf::from("/etc/tls/a.pem"), PathBuf::from("/k.pem"))));
        for (wrong, sentence) in [
            ("listen = ':8443'\n", "/etc/c:2: `listen`: `:8443` is none"),
            ("key = 'k'\n", "`certificate` and `key` belong together"),
            ("port = 3\n", "`port` is no key here"),
        ] {
            assert!(read(wrong).expect_err(wrong).to_string().contains(sentence), "{wrong}");
        }
    }
}
