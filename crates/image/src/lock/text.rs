//! A lock as TOML: one table per package, sorted by name, so that a change of one package is a change of a few lines.

use std::fmt::Write as _;
use std::path::Path;

use cluster::configuration::{Mistakes, Reader, Table};

use crate::lock::{ADVICE, Lock, Part, Pinned};
use crate::wishes::Wishes;

/// The format of the file; raised when an older program could not read it.
const FORMAT: u32 = 1;
/// The most packages that an image may have.
const PACKAGES_LIMIT: usize = 10_000;
const KEYS: [&str; 6] = ["format", "suite", "architecture", "time", "wanted", "package"];
const PACKAGE_KEYS: [&str; 7] = ["name", "version", "architecture", "bytes", "sha256", "pool", "part"];

impl Lock {
    /// Reads a lock's text; `file` is for the mistakes.
    ///
    /// # Errors
    /// All mistakes at once.
    pub(crate) fn parse(file: &Path, text: &str) -> Result<Self, Mistakes> {
        let mut reader = Reader::new(file, text);
        let top = reader.top(&KEYS);
        reader.number(&top, "format", FORMAT..=FORMAT);
        let lock = Self {
            suite: word(&mut reader, &top, "suite"),
            architecture: word(&mut reader, &top, "architecture"),
            time: number(&mut reader, &top, "time"),
            wishes: wishes(&mut reader, &top),
            packages: packages(&mut reader, &top),
        };
        for (part, count) in
            [(Part::Kernel, 1..=1), (Part::Lab, 0..=1), (Part::Firmware, 0..=1), (Part::Card, 0..=1)]
        {
            if !count.contains(&lock.of(part).count()) {
                reader.mistake(
                    1,
                    format!("it has too few or too many packages of part \"{}\": {ADVICE}", part.name()),
                );
            }
        }
        for name in &lock.wishes.packages {
            let has = lock.packages.iter().any(|package| package.name == *name);
            if !has && !lock.wishes.exclude.contains(name) {
                reader.mistake(1, format!("it says to have `{name}` and has not: {ADVICE}"));
            }
        }
        reader.finish(lock)
    }

    /// The text of the file.
    pub(crate) fn to_text(&self) -> String {
        let mut text = "# The packages of an image, exactly. Written by `fledermaus image build` and \
                        `fledermaus image update`.\n# Keep it beside the recipe, in git: the same lock gives the same \
                        image.\n"
            .to_owned();
        let _ = writeln!(text, "format = {FORMAT}");
        let _ =
            writeln!(text, "suite = {}\narchitecture = {}", quoted(&self.suite), quoted(&self.architecture));
        let _ = writeln!(
            text,
            "# The suite's Release is of this second since 1970; so is every file of the image."
        );
        let _ = writeln!(text, "time = {}", self.time);
        let Wishes { packages, exclude, kernel, firmware } = &self.wishes;
        let _ = writeln!(text, "\n[wanted]\npackages = {}\nexclude = {}", list(packages), list(exclude));
        let _ = writeln!(text, "kernel = {}", quoted(kernel));
        if let Some(firmware) = firmware {
            let _ = writeln!(text, "firmware = {}", quoted(firmware));
        }
        for package in &self.packages {
            let Pinned { name, version, architecture, bytes, sha256, pool, part } = package;
            let _ = writeln!(text, "\n[[package]]\nname = {}\nversion = {}", quoted(name), quoted(version));
            let _ = writeln!(
                text,
                "architecture = {}\nbytes = {bytes}\nsha256 = \"{sha256}\"",
                quoted(architecture)
            );
            let _ = writeln!(text, "pool = {}\npart = \"{}\"", quoted(pool), part.name());
        }
        text
    }
}

fn list(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    format!("[{}]", names.join(", "))
}

/// A basic string of TOML. What lists of packages hold is printable, but whoever wrote them decides.
fn quoted(text: &str) -> String {
    let escaped = text.chars().map(|letter| match letter {
        '"' | '\\' => format!("\\{letter}"),
        letter if letter.is_control() => format!("\\u{:04X}", u32::from(letter)),
        letter => letter.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

fn word<'a>(reader: &mut Reader<'a>, table: &Table<'a>, key: &str) -> String {
    reader.required_text(table, key, "\"…\"").map(|named| named.name).unwrap_or_default()
}

fn number<'a>(reader: &mut Reader<'a>, table: &Table<'a>, key: &str) -> u64 {
    if !table.has(key) {
        reader.mistake(table.line(), format!("`{key}` is missing: {ADVICE}"));
    }
    reader.number(table, key, 0..=u32::MAX).map_or(0, u64::from)
}

fn wishes<'a>(reader: &mut Reader<'a>, top: &Table<'a>) -> Wishes {
    let table = reader.table(top, "wanted", &["packages", "exclude", "kernel", "firmware"]);
    let names =
        |named: Vec<cluster::configuration::Named>| named.into_iter().map(|named| named.name).collect();
    Wishes {
        packages: names(reader.names(&table, "packages")),
        exclude: names(reader.names(&table, "exclude")),
        kernel: word(reader, &table, "kernel"),
        firmware: reader.text(&table, "firmware").map(|named| named.name),
    }
}

fn packages<'a>(reader: &mut Reader<'a>, top: &Table<'a>) -> Vec<Pinned> {
    let mut packages: Vec<Pinned> = Vec::new();
    for table in reader.tables(top, "package", &PACKAGE_KEYS) {
        let line = table.line();
        if packages.len() >= PACKAGES_LIMIT {
            reader.mistake(line, format!("it has more than {PACKAGES_LIMIT} packages"));
            break;
        }
        let Some(package) = package(reader, &table) else { continue };
        // Two versions of one package, as a careless merge leaves them, could not both be meant.
        if packages.iter().any(|known| known.name == package.name) {
            reader.mistake(line, format!("the package `{}` is there twice: {ADVICE}", package.name));
        }
        packages.push(package);
    }
    packages.sort_by(|one, other| one.name.cmp(&other.name));
    packages
}

fn package<'a>(reader: &mut Reader<'a>, table: &Table<'a>) -> Option<Pinned> {
    let (name, version) = (word(reader, table, "name"), word(reader, table, "version"));
    let architecture = word(reader, table, "architecture");
    let bytes = number(reader, table, "bytes");
    reader.required_text(table, "sha256", "\"…\"")?;
    let sha256 = reader.parsed(table, "sha256")?;
    let pool = word(reader, table, "pool");
    if pool.split('/').any(|part| part == "..") {
        reader.mistake(table.line(), format!("the pool's path `{pool}` leads out of the mirror"));
    }
    let wanted = reader.required_text(table, "part", "\"system\"")?;
    let part = Part::ALL.iter().find(|(name, _)| *name == wanted.name).map(|(_, part)| *part);
    if part.is_none() {
        let names: Vec<&str> = Part::ALL.iter().map(|(name, _)| *name).collect();
        reader
            .mistake(wanted.line, format!("`part` is `{}`: write one of {}", wanted.name, names.join(", ")));
    }
    Some(Pinned { name, version, architecture, bytes, sha256, pool, part: part? })
}
