//! What a kernel module says of itself: the section `.modinfo` of its ELF file.

use anyhow::{Context, Result};
use object::{Object, ObjectSection};

/// The parts that matter for loading it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Modinfo {
    /// Names of modules that must be loaded before, with `_` for `-`.
    pub(super) depends: Vec<String>,
    /// Patterns of devices and names that it answers to.
    pub(super) aliases: Vec<String>,
    /// `pre: a b post: c`.
    pub(super) soft: Vec<String>,
}

impl Modinfo {
    /// # Errors
    /// The file is no module.
    pub(super) fn read(module: &[u8]) -> Result<Self> {
        let file = object::File::parse(module).context("reading ELF")?;
        let section = file.section_by_name(".modinfo").context("it has no section .modinfo")?;
        Ok(Self::parse(section.data().context("reading .modinfo")?))
    }

    /// `key=value` texts that end with NUL bytes.
    pub(super) fn parse(section: &[u8]) -> Self {
        let mut info = Self::default();
        for text in section.split(|&byte| byte == 0) {
            let text = String::from_utf8_lossy(text);
            match text.split_once('=') {
                Some(("depends", names)) => {
                    let names = names.split(',').filter(|name| !name.is_empty());
                    info.depends.extend(names.map(|name| name.replace('-', "_")));
                }
                Some(("alias", pattern)) => info.aliases.push(pattern.to_owned()),
                Some(("softdep", soft)) => info.soft.push(soft.to_owned()),
                _ => {}
            }
        }
        info
    }

    /// The names in its soft dependencies.
    pub(super) fn soft_needs(&self) -> impl Iterator<Item = &str> {
        self.soft.iter().flat_map(|soft| soft.split_ascii_whitespace()).filter(|word| !word.ends_with(':'))
    }
}
