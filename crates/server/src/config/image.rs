//! The `[image]` table: a directory or an object store. Credentials are not in it: this file belongs into git.

use cluster::configuration::{Reader, Table};

use crate::artefacts::Source;

pub(super) fn read<'a>(reader: &mut Reader<'a>, top: &Table<'a>) -> Source {
    let table = reader.table(top, "image", &["dir", "url", "endpoint", "region"]);
    let dir = reader.text(&table, "dir");
    let [endpoint, region] = ["endpoint", "region"].map(|key| reader.text(&table, key));
    if !table.has("url") {
        for key in ["endpoint", "region"].into_iter().filter(|key| table.has(key)) {
            let line = reader.line_of(&table, key);
            reader.mistake(
                line,
                format!("`{key}` says where a store is: it needs `url = \"s3://bucket/prefix\"`"),
            );
        }
        let directory = dir.map_or("image".to_owned(), |dir| dir.name);
        return Source::Directory(reader.folder().join(directory));
    }
    if let Some(dir) = dir {
        reader.mistake(dir.line, "`dir` and `url` are two images: keep one of them");
    }
    match reader.parsed(&table, "url") {
        Some(place) => Source::Store {
            place,
            endpoint: endpoint.map(|named| named.name),
            region: region.map(|named| named.name),
        },
        // The mistake is noted; this is never opened.
        None => Source::Directory(reader.folder().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use depot::{Access, Key};

    use super::*;
    use crate::config::parse;

    #[test]
    fn an_image_is_in_a_directory_or_in_a_store() {
        let source = |text: &str| parse(Path::new("/c/cluster.toml"), text).map(|settings| settings.image);
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
