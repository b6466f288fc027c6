//! What the program finds around it: directories, the editor, its own path. The only reader of the environment.

use std::path::{Path, PathBuf};

use anyhow::Context;

/// The environment, read once.
pub(crate) struct Surroundings {
    /// Where labs have their directories.
    pub(crate) labs: PathBuf,
    /// Where labs have their cards: on a disk, for they grow, and `/run` and `/tmp` may be memory.
    pub(crate) cards: PathBuf,
    /// Images and downloads that can be made again.
    pub(crate) cache: PathBuf,
    /// The head's socket from `FLEDERMAUS_SOCKET`.
    pub(crate) socket: Option<PathBuf>,
    /// The address of a head on another machine from `FLEDERMAUS_URL`.
    pub(crate) url: Option<String>,
    /// The token for it from `FLEDERMAUS_TOKEN`.
    pub(crate) token: Option<String>,
    /// The command that edits a file.
    pub(crate) editor: String,
    /// How object stores are asked: the variables of AWS's own tools.
    pub(crate) access: depot::Access,
    /// This program.
    pub(crate) program: PathBuf,
}

impl Surroundings {
    /// Reads the environment.
    ///
    /// # Errors
    /// The program's own path is unknown.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let editor = ["VISUAL", "EDITOR"].into_iter().find_map(|name| std::env::var(name).ok());
        let temporary = directory("TMPDIR").unwrap_or_else(|| PathBuf::from("/var/tmp"));
        Ok(Self {
            labs: runtime_directory().join("fledermaus-lab"),
            cards: temporary,
            cache: cache_directory().join("fledermaus"),
            socket: directory("FLEDERMAUS_SOCKET"),
            url: word("FLEDERMAUS_URL"),
            token: word("FLEDERMAUS_TOKEN"),
            editor: editor.unwrap_or_else(|| "vi".to_owned()),
            access: depot::Access::from_variables(|name| std::env::var(name).ok()),
            program: std::env::current_exe().context("finding this program's own path")?,
        })
    }

    /// Where the image is that is built when none is named.
    pub(crate) fn image(&self) -> PathBuf {
        self.cache.join("image")
    }
}

fn runtime_directory() -> PathBuf {
    let user = nix::unistd::Uid::effective();
    let own = directory("XDG_RUNTIME_DIR").filter(|path| path.is_dir());
    match own {
        Some(path) => path,
        None if user.is_root() && Path::new("/run").is_dir() => PathBuf::from("/run"),
        None => std::env::temp_dir().join(format!("fledermaus-{user}")),
    }
}

fn cache_directory() -> PathBuf {
    let home = || directory("HOME").unwrap_or_else(|| PathBuf::from("/root")).join(".cache");
    directory("XDG_CACHE_HOME").unwrap_or_else(home)
}

/// A variable that holds an absolute path. The XDG specification says to ignore others.
fn directory(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// A variable that is set to something.
fn word(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
