//! User data: a template per node or one for all; where they are, and how they are read and written.

pub(crate) mod diff;
mod render;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use cluster::{Mac, NodeName};

pub(crate) use self::render::{expression, render};

/// The largest user data, template or rendered, in bytes.
pub(crate) const BYTES_LIMIT: usize = 10 * 1024 * 1024;

/// What a template can name.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) name: NodeName,
    pub(crate) mac: Mac,
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) role: &'static str,
    pub(crate) cluster: String,
    pub(crate) domain: String,
    pub(crate) head: Ipv4Addr,
}

/// Where the templates are.
#[derive(Clone, Debug)]
pub(crate) struct Library {
    pub(crate) directory: PathBuf,
    pub(crate) default: String,
    /// Another server that has the user data of all nodes. Ours then serves none.
    pub(crate) url: Option<String>,
    /// How long it may run on a node.
    pub(crate) limit_secs: u32,
    /// Where the configuration names them.
    pub(crate) line: usize,
}

impl Library {
    /// The file of a node: its own, else the one the configuration names, else the default.
    pub(crate) fn file(&self, node: &NodeName, named: Option<&str>) -> PathBuf {
        let own = self.own(node);
        if own.is_file() { own } else { self.directory.join(named.unwrap_or(&self.default)) }
    }

    /// The file that is the node's alone.
    pub(crate) fn own(&self, node: &NodeName) -> PathBuf {
        self.directory.join(format!("{node}.sh"))
    }
}

/// Reads a template.
pub(crate) fn read(file: &Path) -> anyhow::Result<String> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("reading the user data {}", file.display()))?;
    if text.len() > BYTES_LIMIT {
        bail!("the user data {} is larger than {BYTES_LIMIT} bytes", file.display());
    }
    if text.contains('\0') {
        bail!("the user data {} has a NUL in it: it has to be text, as every script", file.display());
    }
    Ok(text)
}

/// Replaces a file in one step: there is never half a script.
pub(crate) fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    let directory = file.parent().unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(directory)
        .with_context(|| format!("writing into the user data directory {}", directory.display()))?;
    std::io::Write::write_all(&mut temporary, text.as_bytes()).context("writing the user data")?;
    temporary.as_file().sync_all().context("writing the user data")?;
    temporary.persist(file).with_context(|| format!("replacing {}", file.display()))?;
    Ok(())
}
