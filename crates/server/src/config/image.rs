//! The `[image]` table: a directory or an object store, and further images by name. Credentials are not in it: this file
//! belongs into git.

use cluster::NodeName;
use cluster::configuration::{Named, Reader, Table};
use std::collections::BTreeMap;

use crate::artefacts::{DEFAULT, Source, Sources};

/// The most images beside the default one: each is read whole when the head starts.
const LIMIT: usize = 16;

/// How a store is asked for.
struct Store {
    endpoint: Option<String>,
    region: Option<String>,
}

impl Store {
    fn source(&self, place: depot::Place) -> Source {
        Source::Store { place, endpoint: self.endpoint.clone(), region: self.region.clone() }
    }
}

pub(super) fn read<'a>(reader: &mut Reader<'a>, top: &Table<'a>) -> Sources {
    let table = reader.table(top, "image", &["dir", "url", "endpoint", "region", "more"]);
    let [endpoint, region] =
        ["endpoint", "region"].map(|key| reader.text(&table, key).map(|named| named.name));
    let store = Store { endpoint, region };
    let default = default(reader, &table, &store);
    let named = more(reader, &table, &store);
    if !std::iter::once(&default).chain(named.values()).any(|source| matches!(source, Source::Store { .. })) {
        for key in ["endpoint", "region"].into_iter().filter(|key| table.has(key)) {
            let line = reader.line_of(&table, key);
            reader.mistake(
                line,
                format!("`{key}` says where a store is: it needs `url = \"s3://bucket/prefix\"`"),
            );
        }
    }
    Sources { default, named }
}

fn default<'a>(reader: &mut Reader<'a>, table: &Table<'a>, store: &Store) -> Source {
    let dir = reader.text(table, "dir");
    if !table.has("url") {
        let directory = dir.map_or("image".to_owned(), |dir| dir.name);
        return Source::Directory(reader.folder().join(directory));
    }
    if let Some(dir) = dir {
        reader.mistake(
            dir.line,
            "`dir` and `url` are two images: keep one of them, or name one in [image.more]",
        );
    }
    match reader.parsed(table, "url") {
        Some(place) => store.source(place),
        // The mistake is noted; this is never opened.
        None => Source::Directory(reader.folder().to_owned()),
    }
}

/// The further images: a directory or a store each.
fn more<'a>(reader: &mut Reader<'a>, table: &Table<'a>, store: &Store) -> BTreeMap<String, Source> {
    let line = reader.line_of(table, "more");
    let pairs = reader.text_map(table, "more");
    if pairs.len() > LIMIT {
        reader.mistake(line, format!("`more` names {} images: at most {LIMIT} are served", pairs.len()));
    }
    let mut named = BTreeMap::new();
    for (name, text) in pairs {
        if name.parse::<NodeName>().is_err() || name == DEFAULT {
            let what = "cannot name an image: use a-z, 0-9 and dashes, and not `default`";
            reader.mistake(line, format!("`{}` {what}", name.chars().take(80).collect::<String>()));
        }
        let source = if text.starts_with("s3:") {
            match text.parse() {
                Ok(place) => store.source(place),
                Err(error) => {
                    reader.mistake(line, format!("`{name}`: {error}"));
                    continue;
                }
            }
        } else {
            Source::Directory(reader.folder().join(text))
        };
        named.insert(name, source);
    }
    named
}

/// The image that a group or a node names.
pub(super) fn named<'a>(reader: &mut Reader<'a>, table: &Table<'a>, images: &Sources) -> Option<String> {
    let Named { name, line } = reader.text(table, "image")?;
    if name != DEFAULT && !images.named.contains_key(&name) {
        reader
            .mistake(line, format!("`image`: there is no `{name}` in [image.more]: write where it is there"));
        return None;
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use depot::{Access, Key};

    use super::*;
    use crate::config::parse;

    #[test]
    fn further_images_have_names_for_groups_and_nodes() {
        let read = |text: &str| parse(Path::new("/c/cluster.toml"), text);
        let text = "[image.more]\nnext = \"new\"\nold = \"s3://images/old\"\n\
                    [[group]]\nname = \"canary\"\nimage = \"next\"\n";
        let settings = read(text).expect("valid");
        assert_eq!(settings.images.named["next"], Source::Directory("/c/new".into()));
        assert!(matches!(settings.images.named["old"], Source::Store { .. }));
        for (wrong, said) in [
            ("[image.more]\ndefault = \"x\"\n", "cannot name an image"),
            ("[image.more]\n\"a/b\" = \"x\"\n", "`a/b` cannot name an image"),
            ("[image.more]\nx = \"s3:/\"\n", "`x`: "),
            (
                "[[group]]\nname = \"g\"\nimage = \"next\"\n",
                ":3: `image`: there is no `next` in [image.more]",
            ),
        ] {
            let mistakes = read(wrong).expect_err(wrong).to_string();
            assert!(mistakes.contains(said), "{mistakes}");
        }
    }

    #[test]
    fn an_image_is_in_a_directory_or_in_a_store() {
        let source =
            |text: &str| parse(Path::new("/c/cluster.toml"), text).map(|settings| settings.images.default);
        assert_eq!(source("").expect("valid"), Source::Directory("/c/image".into()));
        let store = source("[image]\nurl = \"s3://images/lab\"\nendpoint = \"http://10.0.0.5:9000\"\n")
            .expect("valid");
        let key = Key { id: "house".to_owned(), secret: "s".to_owned(), token: None };
        let environment = Access {
            endpoint: Some("http://elsewhere".to_owned()),
            region: Some("eu-west-1".to_owned()),
            key: Some(key.clone()),
        };
        let access = store.access(&environment);
        assert_eq!(access.endpoint.as_deref(), Some("http://10.0.0.5:9000"));
        assert_eq!((access.region.as_deref(), access.key), (Some("eu-west-1"), Some(key)));
        for (wrong, said) in [
            ("[image]\nurl = \"http://images/lab\"\n", "cluster.toml:2"),
            ("[image]\ndir = \"x\"\nurl = \"s3://images/lab\"\n", "two images"),
            ("[image]\nregion = \"x\"\n", "`region` says where a store is"),
        ] {
            let mistakes = source(wrong).expect_err(wrong).to_string();
            assert!(mistakes.contains(said), "{mistakes}");
        }
    }
}
