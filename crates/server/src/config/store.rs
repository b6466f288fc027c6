//! The `[store]` table: where the head remembers things. Without it: in a file of its state directory.

use std::path::PathBuf;

use cluster::configuration::{Named, Reader, Table};

/// How the address of a database begins; the second is what many programs write.
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];
/// What may follow `?` in the address. A list of our own: the library prints what it does not know, and that could be a password.
const PARAMETERS: [&str; 11] = [
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "application_name",
    "options",
];

/// Where the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// SQLite, in the state directory.
    File,
    /// A database of PostgreSQL that is the head's alone.
    Database {
        /// Its address, in which there is no password: logs and messages may show it.
        url: String,
        /// The file that holds the password. Without it, PGPASSWORD and ~/.pgpass are looked at, as every client of PostgreSQL does.
        password_file: Option<PathBuf>,
    },
}

/// Reads the table.
pub(super) fn read<'a>(reader: &mut Reader<'a>, top: &Table<'a>) -> Place {
    let table = reader.table(top, "store", &["url", "password_file"]);
    let password_file = reader.text(&table, "password_file").map(|file| reader.folder().join(file.name));
    let Some(Named { name: url, line }) = reader.text(&table, "url") else {
        if password_file.is_some() {
            reader.mistake(table.line(), "`password_file` is for a database: write its `url` too");
        }
        return Place::File;
    };
    if let Err(what) = check(&url) {
        // Without the address: there may be a password in it.
        reader.mistake(line, format!("`url`: {what}"));
    }
    Place::Database { url, password_file }
}

fn check(url: &str) -> Result<(), String> {
    let rest = SCHEMES.iter().find_map(|scheme| url.strip_prefix(scheme));
    let rest =
        rest.ok_or("write postgres://user@server/database, or postgres:///database?host=/run/postgresql")?;
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let user = place.rsplit_once('@').map_or("", |(user, _)| user);
    let names = query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
    let unknown = names.filter(|name| !name.is_empty()).find(|name| !PARAMETERS.contains(name));
    if user.contains(':') || unknown == Some("password") {
        return Err(
            "a password does not belong here, where backups and version control have it: put it into a \
                    file of mode 0600, and name that by `password_file`, or into PGPASSWORD"
                .to_owned(),
        );
    }
    if unknown.is_some() {
        return Err(format!("after `?` there can be {}", PARAMETERS.join(", ")));
    }
    match url.parse::<sqlx::postgres::PgConnectOptions>() {
        Ok(_) => Ok(()),
        Err(sqlx::Error::Configuration(error)) => Err(error.to_string()),
        Err(_) => Err("this is no address of a database".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::parse;

    #[test]
    fn a_store_is_a_file_or_a_database_whose_password_is_elsewhere() {
        let read = |text: &str| parse(Path::new("/etc/c"), &format!("[store]\n{text}"));
        assert_eq!(read("").expect("valid").store, Place::File);
        let url = "postgres://fledermaus@db.example:5433/fledermaus?sslmode=verify-full";
        let store = read(&format!("url = '{url}'\npassword_file = 'password'\n")).expect("valid").store;
        let password_file = Some(PathBuf::from("/etc/password"));
        assert_eq!(store, Place::Database { url: url.to_owned(), password_file });
        for (wrong, sentence) in [
            ("url = 'postgres://me:swordfish@db/x'", "/etc/c:2: `url`: a password does not belong here"),
            ("url = 'postgresql:///x?password=swordfish'", "a password does not belong here"),
            ("url = 'postgres://db/x?pasword=swordfish'", "after `?` there can be host, hostaddr"),
            ("url = 'postgres://db/x?sslmode=swordfish'", "`url`: "),
            ("url = 'postgres://db:swordfish/x'", "`url`: "),
            ("url = 'mysql://swordfish'", "write postgres://user@server/database"),
            ("password_file = 'swordfish'", "`password_file` is for a database"),
        ] {
            let said = read(wrong).expect_err(wrong).to_string();
            assert!(said.contains(sentence), "{wrong}: {said}");
        }
    }

    #[test]
    fn no_mistake_shows_a_password() {
        for wrong in
            ["postgres://me:swordfish@db/x", "postgres:///x?password=swordfish", "postgres:///x?pw=swordfish"]
        {
            let said =
                parse(Path::new("c"), &format!("[store]\nurl = '{wrong}'")).expect_err(wrong).to_string();
            assert!(!said.contains("swordfish"), "{said}");
        }
    }
}
