//! The recipe: `image.toml`, read and checked. Opens no file but the recipe; what it names is looked at
//! where it is used.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use cluster::configuration::{Mistakes, Named, Reader, Table};

/// A recipe without mistakes. Paths are absolute or relative to the current directory, not to the recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recipe {
    /// The file it was read from.
    pub file: PathBuf,
    /// The image's name.
    pub name: String,
    /// The Debian suite.
    pub suite: String,
    /// The Debian architecture.
    pub architecture: String,
    /// Where packages come from. Empty: from the machine's apt configuration.
    pub mirrors: Vec<Mirror>,
    /// The keys that may sign a Release.
    pub keyring: PathBuf,
    /// Packages beside those that every node gets.
    pub packages: Vec<Named>,
    /// Packages that are left out even though others depend on them.
    pub exclude: Vec<String>,
    /// The package of the kernel.
    pub kernel: Named,
    /// Modules of the system image beside those that every node gets.
    pub modules: Vec<Named>,
    /// Modules of the initramfs beside those that every node gets.
    pub initramfs_modules: Vec<Named>,
    /// A folder whose files are laid over the system image.
    pub overlay: Option<PathBuf>,
    /// Public keys that may log in as root, as lines of `authorized_keys`.
    pub ssh_keys: Vec<String>,
    /// The firmware for boards without a card, if there are any.
    pub firmware: Option<Firmware>,
    /// Container images that every node has from the start.
    pub containers: Vec<Container>,
    /// In how many pieces nodes get it all.
    pub form: Form,
}

/// In how many pieces nodes get an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// Kernel and initramfs by the boot loader; init streams the system image onto the card.
    #[default]
    Parts,
    /// The initramfs holds the system image.
    Initramfs,
    /// And the kernel comes in the same file.
    OneFile,
}

/// The text was no form.
#[derive(Debug, thiserror::Error)]
#[error("no form of an image: write parts, initramfs or one-file")]
pub(crate) struct InvalidForm;

impl FromStr for Form {
    type Err = InvalidForm;
    fn from_str(text: &str) -> Result<Self, InvalidForm> {
        match text {
            "parts" => Ok(Self::Parts),
            "initramfs" => Ok(Self::Initramfs),
            "one-file" => Ok(Self::OneFile),
            _ => Err(InvalidForm),
        }
    }
}

/// A Debian mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mirror {
    /// The URL above `dists/`, without a slash at its end.
    pub url: String,
    /// The keys that may sign its Release.
    pub keyring: PathBuf,
    /// The suite.
    pub suite: String,
    /// The components, such as `main`.
    pub components: Vec<String>,
}

/// The firmware that boards without a card fetch. Never there unless it is asked for by name: it is not free software.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Firmware {
    /// The package.
    pub package: Named,
    /// The component that it is in; asked of apt's mirror when the recipe names no mirror.
    pub component: String,
}

/// A container image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Container {
    /// Made of files of the system image.
    Made {
        /// Name and tag.
        name: Named,
        /// Path in the container and path in the system image.
        files: Vec<(String, String)>,
        /// What it runs.
        command: Vec<String>,
    },
    /// A `docker save` archive.
    Archive(PathBuf),
}

/// The one architecture that the modules and the firmware in [`crate`] know.
const ARCHITECTURE: &str = "arm64";
/// The component of firmware that may be passed on but not changed.
const FIRMWARE_COMPONENT: &str = "non-free-firmware";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const KEYS: &[&str] = &[
    "name",
    "suite",
    "architecture",
    "keyring",
    "packages",
    "exclude",
    "overlay",
    "ssh_keys",
    "mirrors",
    "kernel",
    "firmware",
    "container",
    "form",
];

impl Recipe {
    /// Reads a recipe's text. `file` is its path: for messages, and because paths in it are relative to it.
    ///
    /// # Errors
    /// All mistakes at once.
    pub(crate) fn parse(file: &Path, text: &str) -> Result<Self, Mistakes> {
        let mut reader = Reader::new(file, text);
        let top = reader.top(KEYS);
        let (kernel, modules, initramfs_modules) = kernel(&mut reader, &top);
        let keyring = path(&mut reader, &top, "keyring").unwrap_or_else(|| KEYRING.into());
        let suite = word(&mut reader, &top, "suite", "trixie");
        let recipe = Self {
            file: file.to_owned(),
            name: word(&mut reader, &top, "name", "fledermaus"),
            architecture: architecture(&mut reader, &top),
            mirrors: mirrors(&mut reader, &top, &suite, &keyring),
            suite,
            keyring,
            packages: reader.names(&top, "packages"),
            exclude: reader.names(&top, "exclude").into_iter().map(|named| named.name).collect(),
            kernel,
            modules,
            initramfs_modules,
            overlay: path(&mut reader, &top, "overlay"),
            ssh_keys: ssh_keys(&mut reader, &top),
            firmware: firmware(&mut reader, &top),
            containers: containers(&mut reader, &top),
            form: reader.parsed(&top, "form").unwrap_or_default(),
        };
        let own = |name: &str| recipe.packages.iter().any(|named| named.name == name);
        if !recipe.ssh_keys.is_empty() && !own("dropbear-bin") {
            let line = reader.line_of(&top, "ssh_keys");
            reader.mistake(line, "`ssh_keys` needs a server: add \"dropbear-bin\" to `packages`");
        }
        reader.finish(recipe)
    }
}

/// A word that stands in a URL or a file's name.
fn word<'a>(reader: &mut Reader<'a>, table: &Table<'a>, key: &str, default: &str) -> String {
    let Some(text) = reader.text(table, key) else { return default.to_owned() };
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_.+".contains(letter);
    if text.name.is_empty() || text.name.starts_with('.') || !text.name.chars().all(allowed) {
        let rule = "letters, digits and -_.+, not starting with a dot";
        reader.mistake(text.line, format!("`{key}` is `{}`: use {rule}", text.name));
    }
    text.name
}

fn architecture<'a>(reader: &mut Reader<'a>, table: &Table<'a>) -> String {
    let given = reader.text(table, "architecture");
    if let Some(wrong) = given.filter(|given| given.name != ARCHITECTURE) {
        let text = format!("`architecture` is `{}`: the only one so far is `{ARCHITECTURE}`", wrong.name);
        reader.mistake(wrong.line, text);
    }
    ARCHITECTURE.to_owned()
}

/// A path, made relative to the recipe's folder.
fn path<'a>(reader: &mut Reader<'a>, table: &Table<'a>, key: &str) -> Option<PathBuf> {
    let text = reader.text(table, key)?;
    if text.name.is_empty() {
        reader.mistake(text.line, format!("`{key}` is empty: write a path, or leave the key out"));
    }
    Some(reader.folder().join(text.name))
}

fn mirrors<'a>(reader: &mut Reader<'a>, top: &Table<'a>, suite: &str, keyring: &Path) -> Vec<Mirror> {
    let mut mirrors = Vec::new();
    for table in reader.tables(top, "mirrors", &["url", "keyring", "suite", "components"]) {
        let Some(url) = reader.required_text(&table, "url", "\"http://…/debian\"") else { continue };
        if !url.name.starts_with("http://") && !url.name.starts_with("https://") {
            reader.mistake(
                url.line,
                format!("`url` is `{}`: write one that starts with http:// or https://", url.name),
            );
        }
        let components = reader.names(&table, "components").into_iter().map(|named| named.name).collect();
        mirrors.push(Mirror {
            url: url.name.trim_end_matches('/').to_owned(),
            keyring: path(reader, &table, "keyring").unwrap_or_else(|| keyring.to_owned()),
            suite: word(reader, &table, "suite", suite),
            components: if table.has("components") { components } else { vec!["main".to_owned()] },
        });
    }
    mirrors
}

fn kernel<'a>(reader: &mut Reader<'a>, top: &Table<'a>) -> (Named, Vec<Named>, Vec<Named>) {
    let table = reader.table(top, "kernel", &["package", "modules", "initramfs_modules"]);
    let default = Named { name: format!("linux-image-{ARCHITECTURE}"), line: 0 };
    let package = reader.text(&table, "package").unwrap_or(default);
    (package, reader.names(&table, "modules"), reader.names(&table, "initramfs_modules"))
}

fn firmware<'a>(reader: &mut Reader<'a>, top: &Table<'a>) -> Option<Firmware> {
    if !top.has("firmware") {
        return None;
    }
    let table = reader.table(top, "firmware", &["package", "component"]);
    let package = reader.required_text(&table, "package", "\"raspi-firmware\"")?;
    Some(Firmware { package, component: word(reader, &table, "component", FIRMWARE_COMPONENT) })
}

fn ssh_keys<'a>(reader: &mut Reader<'a>, top: &Table<'a>) -> Vec<String> {
    let mut keys = Vec::new();
    for key in reader.strings(top, "ssh_keys") {
        if key.name.split_ascii_whitespace().count() < 2 || key.name.contains('\n') {
            reader.mistake(key.line, "`ssh_keys` holds lines such as \"ssh-ed25519 AAAA… name\"");
        }
        keys.push(key.name);
    }
    keys
}

fn containers<'a>(reader: &mut Reader<'a>, top: &Table<'a>) -> Vec<Container> {
    let mut containers = Vec::new();
    for table in reader.tables(top, "container", &["name", "files", "command", "archive"]) {
        containers.extend(container(reader, &table));
    }
    containers
}

fn container<'a>(reader: &mut Reader<'a>, table: &Table<'a>) -> Option<Container> {
    if table.has("archive") {
        for key in ["name", "files", "command"].into_iter().filter(|key| table.has(key)) {
            reader.mistake(
                table.line(),
                format!("a container with `archive` takes no `{key}`: the archive says it"),
            );
        }
        return path(reader, table, "archive").map(Container::Archive);
    }
    let name = reader.required_text(table, "name", "\"fledermaus/hello:1\"")?;
    let fits =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "._-/:".contains(letter);
    if !name.name.chars().all(fits) || name.name.matches(':').count() != 1 {
        reader.mistake(
            name.line,
            format!("`name` is `{}`: write a name in lower case with a tag, such as \"hello:1\"", name.name),
        );
    }
    let files = reader.text_map(table, "files");
    let command = reader.strings(table, "command").into_iter().map(|named| named.name).collect();
    if files.is_empty() {
        reader.mistake(name.line, "a container needs `files = { \"/bin/x\" = \"usr/bin/x\" }` or `archive`");
    }
    Some(Container::Made { name, files, command })
}

#[cfg(test)]
mod tests;
