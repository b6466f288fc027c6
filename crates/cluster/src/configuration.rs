//! A configuration file that a person wrote: values are taken out of TOML, and everything that is wrong is
//! noted with its line instead of stopping at the first mistake.
//!
//! Text in, values out; reading the file is somebody else's. Knows nothing of what the keys mean.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file it is in.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: usize,
    /// What is wrong and what would be right: one sentence.
    pub text: String,
}

/// Everything that is wrong with a file. Never empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl Mistakes {
    /// Notes one more.
    pub fn add(&mut self, file: &Path, line: usize, text: impl Into<String>) {
        self.0.push(Mistake { file: file.to_owned(), line, text: text.into() });
    }

    /// `value`, unless there are mistakes.
    ///
    /// # Errors
    /// The mistakes, in the order of their lines.
    pub fn or<T>(mut self, value: T) -> Result<T, Self> {
        if self.0.is_empty() {
            return Ok(value);
        }
        self.0.sort_by_key(|mistake| mistake.line);
        Err(self)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, Mistake { file, line, text }) in self.0.iter().enumerate() {
            let end = if place == 0 { "" } else { "\n" };
            write!(f, "{end}{}:{line}: {text}", file.display())?;
        }
        Ok(())
    }
}

/// A text with the line where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The text.
    pub name: String,
    /// The line of the file, from 1; 0 if it is a default.
    pub line: usize,
}

/// The text with the mistakes found so far.
#[derive(Debug)]
pub struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    mistakes: Mistakes,
}

/// One table, with the line where it begins.
#[derive(Clone, Debug, Default)]
pub struct Table<'a> {
    entries: DeTable<'a>,
    line: usize,
}

impl Table<'_> {
    /// The line where the table begins, from 1; 0 if it is not there.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Whether the table has the key.
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }
}

impl<'a> Reader<'a> {
    /// Begins with a file's text; `file` is for the mistakes.
    pub fn new(file: &'a Path, text: &'a str) -> Self {
        Self { file, text, mistakes: Mistakes::default() }
    }

    /// The folder that paths in the file are relative to.
    pub fn folder(&self) -> &'a Path {
        self.file.parent().unwrap_or(Path::new(""))
    }

    /// Notes a mistake.
    pub fn mistake(&mut self, line: usize, text: impl Into<String>) {
        self.mistakes.add(self.file, line, text);
    }

    /// The whole file, whose keys must be among `accepted`.
    pub fn top(&mut self, accepted: &[&str]) -> Table<'a> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            let line = self.line(error.span().map_or(0, |span| span.start));
            self.mistake(line, error.message().replace('\n', ", "));
        }
        self.checked(table.into_inner(), 1, accepted)
    }

    /// A table inside `table`; an empty one if it is not there.
    pub fn table(&mut self, table: &Table<'a>, key: &str, accepted: &[&str]) -> Table<'a> {
        match self.value(table, key) {
            None => Table::default(),
            Some((DeValue::Table(inner), line)) => self.checked(inner, line, accepted),
            Some((_, line)) => {
                self.mistake(line, format!("`{key}` must be a table: `[{key}]`"));
                Table::default()
            }
        }
    }

    /// An array of tables.
    pub fn tables(&mut self, table: &Table<'a>, key: &str, accepted: &[&str]) -> Vec<Table<'a>> {
        let mut tables = Vec::new();
        for (value, line) in self.array(table, key, "tables") {
            match value {
                DeValue::Table(inner) => tables.push(self.checked(inner, line, accepted)),
                _ => self.mistake(line, format!("`{key}` must hold tables: `[[{key}]]`")),
            }
        }
        tables
    }

    /// The line where a key's value stands, from 1; the table's own if the key is not there.
    pub fn line_of(&self, table: &Table<'a>, key: &str) -> usize {
        self.value(table, key).map_or(table.line, |(_, line)| line)
    }

    /// A string.
    pub fn text(&mut self, table: &Table<'a>, key: &str) -> Option<Named> {
        let (value, line) = self.value(table, key)?;
        self.string(key, value, line)
    }

    /// A string that has to be there; `example` is TOML.
    pub fn required_text(&mut self, table: &Table<'a>, key: &str, example: &str) -> Option<Named> {
        if !table.has(key) {
            self.mistake(table.line, format!("`{key}` is missing: add `{key} = {example}`"));
        }
        self.text(table, key)
    }

    /// A list of strings.
    pub fn strings(&mut self, table: &Table<'a>, key: &str) -> Vec<Named> {
        let values = self.array(table, key, "strings");
        values.into_iter().filter_map(|(value, line)| self.string(key, value, line)).collect()
    }

    /// Names of packages or modules.
    pub fn names(&mut self, table: &Table<'a>, key: &str) -> Vec<Named> {
        let names = self.strings(table, key);
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_.+".contains(letter);
        for Named { name, line } in &names {
            if name.is_empty() || !name.chars().all(allowed) {
                self.mistake(
                    *line,
                    format!("`{name}` in `{key}` cannot be a name: use letters, digits and -_.+"),
                );
            }
        }
        names
    }

    /// A table of strings, in the order of its keys.
    pub fn text_map(&mut self, table: &Table<'a>, key: &str) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        match self.value(table, key) {
            None => {}
            Some((DeValue::Table(inner), _)) => {
                for (name, value) in inner {
                    let line = self.line(value.span().start);
                    let text = self.string(name.get_ref(), value.into_inner(), line);
                    pairs.extend(text.map(|text| (name.into_inner().into_owned(), text.name)));
                }
            }
            Some((_, line)) => {
                self.mistake(line, format!("`{key}` must be a table of strings: {{ \"a\" = \"b\" }}"))
            }
        }
        pairs
    }

    /// A string that is parsed; what is wrong with it is noted with the type's own sentence.
    pub fn parsed<T: std::str::FromStr<Err: fmt::Display>>(
        &mut self,
        table: &Table<'a>,
        key: &str,
    ) -> Option<T> {
        let Named { name, line } = self.text(table, key)?;
        match name.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.mistake(line, format!("`{key}`: {error}"));
                None
            }
        }
    }

    /// A whole number within a range.
    pub fn number(
        &mut self,
        table: &Table<'a>,
        key: &str,
        range: std::ops::RangeInclusive<u32>,
    ) -> Option<u32> {
        let (value, line) = self.value(table, key)?;
        let number = match &value {
            DeValue::Integer(text) => u32::from_str_radix(text.as_str(), text.radix()).ok(),
            _ => None,
        };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            self.mistake(
                line,
                format!("`{key}` takes a whole number from {} to {}", range.start(), range.end()),
            );
        }
        number
    }

    /// `value`, unless there are mistakes.
    ///
    /// # Errors
    /// The mistakes, in the order of their lines.
    pub fn finish<T>(self, value: T) -> Result<T, Mistakes> {
        self.mistakes.or(value)
    }

    fn string(&mut self, key: &str, value: DeValue<'a>, line: usize) -> Option<Named> {
        if let DeValue::String(text) = value {
            return Some(Named { name: text.into_owned(), line });
        }
        self.mistake(
            line,
            format!("`{key}` takes a string in quotes, not a value of type {}", value.type_str()),
        );
        None
    }

    fn array(&mut self, table: &Table<'a>, key: &str, of: &str) -> Vec<(DeValue<'a>, usize)> {
        match self.value(table, key) {
            None => Vec::new(),
            Some((DeValue::Array(values), _)) => {
                let values = values.into_iter();
                values.map(|value| (value.get_ref().clone(), self.line(value.span().start))).collect()
            }
            Some((other, line)) => {
                self.mistake(
                    line,
                    format!("`{key}` takes a list of {of}: [ … ], not a value of type {}", other.type_str()),
                );
                Vec::new()
            }
        }
    }

    fn value(&self, table: &Table<'a>, key: &str) -> Option<(DeValue<'a>, usize)> {
        let value: &Spanned<DeValue> = table.entries.get(key)?;
        Some((value.get_ref().clone(), self.line(value.span().start)))
    }

    fn checked(&mut self, entries: DeTable<'a>, line: usize, accepted: &[&str]) -> Table<'a> {
        for key in entries.keys().filter(|key| !accepted.contains(&key.get_ref().as_ref())) {
            let line = self.line(key.span().start);
            let text = format!("`{}` is no key here: write one of {}", key.get_ref(), accepted.join(", "));
            self.mistakes.add(self.file, line, text);
        }
        Table { entries, line }
    }

    /// The line of a place in the text, from 1.
    fn line(&self, place: usize) -> usize {
        let before = &self.text.as_bytes()[..place.min(self.text.len())];
        1 + before.iter().filter(|&&byte| byte == b'\n').count()
    }
}
