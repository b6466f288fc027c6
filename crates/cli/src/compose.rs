//! A compose file as it is handed to the head: its text as it is, and the files that its `configs:` and `secrets:` name.
//!
//! Only these sections are looked at; everything else is Docker's to judge.

use std::path::Path;

use cluster::stack::{COMPOSE_LIMIT, Content, FileKind, StackFile, StackWish};
use yaml_rust2::{Yaml, YamlLoader};

use crate::exit::BadInput;
use crate::input;

/// Reads a compose file, and what it names.
///
/// # Errors
/// A file cannot be read, or cannot be handed to the head.
pub(crate) fn read(path: &Path) -> Result<StackWish, BadInput> {
    let bytes = input::bytes(path, COMPOSE_LIMIT)?;
    let bad = |reason: &str| BadInput(format!("{}: {reason}", path.display()));
    let compose = String::from_utf8(bytes).map_err(|_| bad("it is not text"))?;
    let documents = YamlLoader::load_from_str(&compose).map_err(|error| bad(&error.to_string()))?;
    let document = documents.first().ok_or_else(|| bad("it is empty"))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut files = Vec::new();
    for kind in [FileKind::Config, FileKind::Secret] {
        let Some(section) = document[kind.section()].as_hash() else { continue };
        for (key, item) in section {
            let key = key.as_str().ok_or_else(|| bad("a key below configs or secrets is no text"))?;
            files.extend(file(kind, key, item, folder).map_err(|error| bad(&error.0))?);
        }
    }
    for (name, service) in document["services"].as_hash().into_iter().flatten() {
        if !service["env_file"].is_badvalue() {
            let name = name.as_str().unwrap_or_default();
            return Err(bad(&format!(
                "services.{name}.env_file stays on this machine: write `environment:`"
            )));
        }
    }
    let version = document["version"].as_str().map(str::to_owned);
    let wish = StackWish { compose, version, files };
    wish.check().map_err(|error| bad(&error.to_string()))?;
    Ok(wish)
}

/// The file of a config or secret, if it has one: `external` ones are in the swarm already.
fn file(kind: FileKind, key: &str, item: &Yaml, folder: &Path) -> Result<Option<StackFile>, BadInput> {
    let place = format!("{}.{key}", kind.section());
    if !item["<<"].is_badvalue() {
        return Err(BadInput(format!("{place} has a merge key (`<<`): write out what it is")));
    }
    let Some(file) = item["file"].as_str() else { return Ok(None) };
    if file.contains('$') {
        return Err(BadInput(format!("{place}.file has a variable: write out the file's name")));
    }
    let bytes = input::bytes(&folder.join(file), kind.bytes_limit())
        .map_err(|error| BadInput(format!("{place}.file: {}", error.0)))?;
    let name = item["name"].as_str().map(str::to_owned);
    Ok(Some(StackFile { kind, key: key.to_owned(), name, content: Content(bytes) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(compose: &str) -> Result<StackWish, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
        write("compose.yml", compose);
        write("page.html", "hello");
        write("password", "hush");
        write("large", &"x".repeat(FileKind::Secret.bytes_limit() + 1));
        read(&folder.path().join("compose.yml")).map_err(|error| error.0)
    }

    #[test]
    fn the_files_that_it_names_go_along_and_its_text_is_left_alone() {
        let compose = "version: \"3.8\"\nservices:\n  web: {image: a, secrets: [{source: key, mode: 0440}]}\n\
                       configs:\n  page: &page\n    file: ./page.html\n  same: *page\n\
                       secrets:\n  key: {file: password, name: own}\n  there: {external: true}\n";
        let wish = read_all(compose).expect("a wish");
        assert_eq!(wish.compose, compose);
        assert_eq!(wish.version.as_deref(), Some("3.8"));
        let told = |file: &StackFile| {
            let content = String::from_utf8_lossy(&file.content.0).into_owned();
            (file.kind, file.key.clone(), file.name.clone(), content)
        };
        let config = |key: &str| (FileKind::Config, key.to_owned(), None, "hello".to_owned());
        let secret = (FileKind::Secret, "key".to_owned(), Some("own".to_owned()), "hush".to_owned());
        assert_eq!(wish.files.iter().map(told).collect::<Vec<_>>(), [config("page"), config("same"), secret]);
    }

    #[test]
    fn what_cannot_go_along_is_named_with_its_place() {
        let refused = |compose: &str, sentence: &str| {
            let error = read_all(compose).expect_err("refused");
            assert!(error.contains(sentence), "{error}");
        };
        refused("", "it is empty");
        refused("services: [", "compose.yml: ");
        refused("configs: {page: {file: nothing}}", "configs.page.file: reading ");
        refused("secrets: {key: {file: large}}", "secrets.key.file: ");
        refused("secrets: {key: {file: \"${HOME}/key\"}}", "secrets.key.file has a variable");
        refused("secrets: {key: {file: password, name: a b}}", "\"a b\" cannot name");
        refused("x: &x {file: password}\nsecrets: {key: {<<: *x}}", "secrets.key has a merge key");
        refused("services: {web: {env_file: .env}}", "services.web.env_file stays on this machine");
        refused("version: \"3\\n\"", "the compose file's version");
    }
}
