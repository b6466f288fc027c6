//! A suite's list of packages (`Packages`), read. Does not choose among them.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use cluster::Digest;

use crate::version;

/// The most packages that a list may have; trixie's `main` has 68,000.
const PACKAGES_LIMIT: usize = 500_000;

/// One package that can be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// `Pre-Depends` and `Depends`: all groups must hold, of a group any one alternative.
    pub(crate) depends: Vec<Vec<Relation>>,
    pub(crate) provides: Vec<Relation>,
    /// The architecture that it is for; `all` is every one.
    pub(crate) architecture: String,
    /// Where the `.deb` is, below the mirror's URL.
    pub(crate) pool: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: Digest,
}

/// A package's name, perhaps with a version that it must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) name: String,
    pub(crate) version: Option<(String, String)>,
}

/// The newest version of each package of all mirrors, by name.
#[derive(Debug, Default)]
pub(crate) struct Index {
    packages: HashMap<String, Package>,
    /// Names of packages that provide a name which may be no package's own, sorted.
    providers: HashMap<String, Vec<String>>,
}

impl Index {
    /// Adds what one `Packages` file lists.
    ///
    /// # Errors
    /// An entry without the fields that fetching needs, or too many of them.
    pub(crate) fn add(&mut self, text: &str) -> Result<()> {
        for stanza in text.split("\n\n").filter(|stanza| !stanza.trim().is_empty()) {
            let package = read(stanza)?;
            let newer = |old: &Package| version::compare(&package.version, &old.version).is_gt();
            if self.packages.get(&package.name).is_none_or(newer) {
                self.packages.insert(package.name.clone(), package);
            }
            ensure!(
                self.packages.len() <= PACKAGES_LIMIT,
                "the list has more than {PACKAGES_LIMIT} packages"
            );
        }
        self.find_providers();
        Ok(())
    }

    pub(crate) fn package(&self, name: &str) -> Option<&Package> {
        self.packages.get(name)
    }

    /// The packages that provide a name, sorted.
    pub(crate) fn providers(&self, name: &str) -> &[String] {
        self.providers.get(name).map_or(&[], Vec::as_slice)
    }

    fn find_providers(&mut self) {
        self.providers.clear();
        for package in self.packages.values() {
            for provided in &package.provides {
                self.providers.entry(provided.name.clone()).or_default().push(package.name.clone());
            }
        }
        self.providers.values_mut().for_each(|names| names.sort());
    }
}

fn read(stanza: &str) -> Result<Package> {
    let field = |name: &str| field(stanza, name);
    let name = field("Package").context("reading a package list: an entry has no name")?;
    let required =
        |key: &str| field(key).with_context(|| format!("reading a package list: {name} has no {key}"));
    let mut depends = relations(field("Pre-Depends").unwrap_or_default());
    depends.extend(relations(field("Depends").unwrap_or_default()));
    Ok(Package {
        name: name.to_owned(),
        version: required("Version")?.to_owned(),
        depends,
        provides: relations(field("Provides").unwrap_or_default()).into_iter().flatten().collect(),
        architecture: field("Architecture").unwrap_or("all").to_owned(),
        pool: required("Filename")?.to_owned(),
        bytes: required("Size")?.parse().with_context(|| format!("reading the size of {name}"))?,
        sha256: required("SHA256")?.parse().with_context(|| format!("reading the digest of {name}"))?,
    })
}

/// The first line of a field; those that matter here have one line only.
pub(crate) fn field<'a>(stanza: &'a str, name: &str) -> Option<&'a str> {
    stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// `a (>= 1), b | c:any` as groups of alternatives.
fn relations(text: &str) -> Vec<Vec<Relation>> {
    let groups = text.split(',').map(str::trim).filter(|group| !group.is_empty());
    groups.map(|group| group.split('|').map(|one| relation(one.trim())).collect()).collect()
}

fn relation(text: &str) -> Relation {
    let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
    let inner = rest.trim().strip_prefix('(').and_then(|rest| rest.split(')').next());
    let version = inner.and_then(|inner| inner.trim().split_once(' '));
    Relation {
        name: name.split(':').next().unwrap_or(name).to_owned(),
        version: version.map(|(operator, version)| (operator.to_owned(), version.trim().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn stanza(name: &str, version: &str, rest: &str) -> String {
        let digest = "0".repeat(64);
        format!(
            "Package: {name}\nVersion: {version}\nFilename: pool/{name}.deb\nSize: 5\nSHA256: {digest}\n{rest}\n\n"
        )
    }

    #[test]
    fn a_list_is_read_and_the_newest_version_wins() {
        let mut index = Index::default();
        let text =
            stanza("a", "1.9", "") + &stanza("a", "1.10", "Depends: b (>= 2~) | c:any, d\nProvides: v (= 1)");
        index.add(&(text + &stanza("a", "1.2", ""))).expect("readable");
        let package = index.package("a").expect("there");
        assert_eq!(package.version, "1.10");
        assert_eq!(package.pool, "pool/a.deb");
        assert_eq!(package.depends.len(), 2);
        assert_eq!(package.depends[0][0].version, Some((">=".to_owned(), "2~".to_owned())));
        assert_eq!(package.depends[0][1].name, "c");
        assert_eq!(index.providers("v"), ["a"]);
    }

    #[test]
    fn an_entry_without_a_digest_is_refused() {
        let text = stanza("a", "1", "").replace("SHA256", "MD5");
        let error = Index::default().add(&text).expect_err("refused");
        assert!(format!("{error:#}").contains("a has no SHA256"), "{error:#}");
    }
}
