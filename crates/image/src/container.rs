//! Container images made of the system image's own files, as `docker load` takes them (docker-archive).
//! Pulls nothing.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use cluster::Digest;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::recipe::{Container, Recipe};
use crate::tree::{Entry, Kind, Tree, clean};
use cluster::configuration::Named;

/// Where the agent finds the archives.
const FOLDER: &str = "usr/share/fledermaus/containers";

/// Puts the recipe's containers into the root as archives.
///
/// # Errors
/// A file that a container is made of, or an archive, is not there.
pub(crate) fn add(recipe: &Recipe, root: &mut Tree, time: u64) -> Result<()> {
    let mut archives = Vec::new();
    for container in &recipe.containers {
        archives.push(match container {
            Container::Archive(path) => given(path)?,
            Container::Made { name, files, command } => {
                let place =
                    || format!("{}:{}: making the container {}", recipe.file.display(), name.line, name.name);
                (
                    format!("{}.tar", file_name(name)),
                    archive(name, files, command, root, time).with_context(place)?,
                )
            }
        });
    }
    for (name, archive) in archives {
        root.put_file(&format!("{FOLDER}/{name}"), 0o644, archive);
    }
    Ok(())
}

fn given(path: &Path) -> Result<(String, Vec<u8>)> {
    let archive =
        std::fs::read(path).with_context(|| format!("reading the container archive {}", path.display()))?;
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    Ok((format!("{stem}.tar"), archive))
}

fn file_name(name: &Named) -> String {
    name.name.replace(['/', ':'], "-")
}

fn archive(
    name: &Named,
    files: &[(String, String)],
    command: &[String],
    root: &Tree,
    time: u64,
) -> Result<Vec<u8>> {
    let layer = layer(files, root, time)?;
    let layer_digest = digest(&layer);
    let config = json!({
        "architecture": "arm64",
        "os": "linux",
        "config": { "Cmd": command, "Env": ["PATH=/bin:/usr/bin:/sbin:/usr/sbin"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer_digest}")] },
    });
    let config = serde_json::to_vec(&config)?;
    let config_name = format!("{}.json", digest(&config));
    let manifest = json!([{ "Config": config_name, "RepoTags": [name.name], "Layers": ["layer.tar"] }]);
    let members = [
        ("layer.tar".to_owned(), layer),
        (config_name, config),
        ("manifest.json".to_owned(), serde_json::to_vec(&manifest)?),
    ];
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in members {
        append(&mut tar, &path, &Entry::own(Kind::File(content.into()), 0o644), time)?;
    }
    Ok(tar.into_inner()?)
}

fn layer(files: &[(String, String)], root: &Tree, time: u64) -> Result<Vec<u8>> {
    let mut tree = Tree::default();
    for (inside, outside) in files {
        let source = clean(outside)?;
        let entry = root.get(&source).with_context(|| format!("the system image has no `{outside}`"))?;
        let inside = inside.trim_matches('/');
        anyhow::ensure!(
            !inside.split('/').any(|part| part == ".."),
            "the path `{inside}` leads out of its root"
        );
        tree.put(inside, entry.clone());
    }
    let mut tar = tar::Builder::new(Vec::new());
    for (path, entry) in tree.iter() {
        append(&mut tar, path, entry, time)?;
    }
    Ok(tar.into_inner()?)
}

/// Appends one file to a tar stream, with the given time stamp.
///
/// # Errors
/// The stream takes no more.
pub(crate) fn append(tar: &mut tar::Builder<impl Write>, path: &str, entry: &Entry, time: u64) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(entry.mode);
    header.set_uid(u64::from(entry.uid));
    header.set_gid(u64::from(entry.gid));
    header.set_mtime(time);
    header.set_size(entry.bytes());
    match &entry.kind {
        Kind::Folder => {
            header.set_entry_type(tar::EntryType::Directory);
            tar.append_data(&mut header, format!("{path}/"), std::io::empty())?;
        }
        Kind::File(content) => tar.append_data(&mut header, path, &content[..])?,
        Kind::Link(target) => {
            header.set_entry_type(tar::EntryType::Symlink);
            tar.append_link(&mut header, path, target)?;
        }
    }
    Ok(())
}

fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn an_archive_names_its_layer_by_digest() {
        let mut root = Tree::default();
        root.put_file("usr/bin/busybox", 0o755, *b"program");
        let recipe = "[[container]]\nname = \"a/hello:1\"\nfiles = { \"/bin/busybox\" = \"/bin/busybox\" }\ncommand = [\"/bin/busybox\"]";
        let recipe = Recipe::parse(Path::new("image.toml"), recipe).expect("valid");
        add(&recipe, &mut root, 5).expect("made");
        let archive = root.content(&format!("{FOLDER}/a-hello-1.tar")).expect("there");
        let mut found = std::collections::BTreeMap::new();
        for member in tar::Archive::new(&archive[..]).entries().expect("readable") {
            let mut member = member.expect("readable");
            let mut content = Vec::new();
            member.read_to_end(&mut content).expect("whole");
            found.insert(member.path().expect("a path").display().to_string(), content);
        }
        let manifest: serde_json::Value = serde_json::from_slice(&found["manifest.json"]).expect("JSON");
        assert_eq!(manifest[0]["RepoTags"][0], "a/hello:1");
        let config = &found[manifest[0]["Config"].as_str().expect("a name")];
        let config: serde_json::Value = serde_json::from_slice(config).expect("JSON");
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", digest(&found["layer.tar"])));
        assert_eq!(config["config"]["Cmd"][0], "/bin/busybox");
    }

    #[test]
    fn a_missing_file_is_named_with_its_line() {
        let recipe = "\n[[container]]\nname = \"a:1\"\nfiles = { \"/x\" = \"usr/bin/gone\" }";
        let recipe = Recipe::parse(Path::new("image.toml"), recipe).expect("valid");
        let error = add(&recipe, &mut Tree::default(), 5).expect_err("missing");
        let said = format!("{error:#}");
        assert!(said.contains("image.toml:3") && said.contains("`usr/bin/gone`"), "{said}");
    }
}
