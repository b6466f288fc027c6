//! The `[user_data]` table: a directory of templates, or another server that has the user data.

use cluster::configuration::{Named, Reader, Table};
use cluster::plan::USER_DATA_SECS;

use super::file_name;
use crate::user_data::Library;

/// The longest address of user data on another server, in bytes.
const URL_LIMIT: usize = 128;
/// How long user data may be allowed to run, in seconds: a day is surely a mistake's end.
const LIMIT_RANGE: std::ops::RangeInclusive<u32> = 1..=86_400;

/// Reads the table.
pub(super) fn read<'a>(reader: &mut Reader<'a>, top: &Table<'a>) -> Library {
    let table = reader.table(top, "user_data", &["dir", "default", "url", "limit_secs"]);
    let directory = reader.text(&table, "dir").map_or("user-data".to_owned(), |dir| dir.name);
    let default = file_name(reader, &table, "default").unwrap_or("default.sh".to_owned());
    let url = foreign_url(reader, &table);
    let limit_secs = reader.number(&table, "limit_secs", LIMIT_RANGE).unwrap_or(USER_DATA_SECS);
    Library { directory: reader.folder().join(directory), default, url, limit_secs, line: table.line() }
}

/// Where another server has the user data: a word on the kernel's command line, so nothing that a boot loader reads.
fn foreign_url<'a>(reader: &mut Reader<'a>, table: &Table<'a>) -> Option<String> {
    let Named { name, line } = reader.text(table, "url")?;
    let plain = name.bytes().all(|byte| byte.is_ascii_graphic() && !b"$\\'\"".contains(&byte));
    let rest = name.strip_prefix("http://").filter(|rest| !rest.is_empty() && !rest.starts_with('/'));
    if rest.is_none() || !plain || name.len() > URL_LIMIT {
        let text = format!(
            "`url`: write http://server[:port]/path, at most {URL_LIMIT} bytes, without spaces and $ \\ ' \""
        );
        reader.mistake(line, text);
        return None;
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::parse;

    #[test]
    fn user_data_may_be_on_another_server_by_plain_http() {
        let read = |url: &str| parse(Path::new("c"), &format!("[user_data]\nurl = '{url}'\n"));
        let settings = read("http://foreman.example:8000/userdata/user-data").expect("valid");
        assert_eq!(settings.user_data.url.as_deref(), Some("http://foreman.example:8000/userdata/user-data"));
        for wrong in ["https://x/", "http://", "http:///x", "x", "http://x/$y", "http://x/a b"] {
            assert!(
                read(wrong).expect_err(wrong).to_string().contains("c:2: `url`: write http://"),
                "{wrong}"
            );
        }
    }
}
