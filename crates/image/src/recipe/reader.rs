//! Takes values out of TOML and notes what is wrong with them instead of stopping at the first mistake.
//! Knows nothing of the recipe's meaning.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Named;
use crate::mistakes::Mistakes;

/// The text with the mistakes found so far.
pub(super) struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    pub(super) mistakes: Mistakes,
}

/// One table, with the line where it begins.
#[derive(Default)]
pub(super) struct Table<'a> {
    entries: DeTable<'a>,
    pub(super) line: usize,
}

impl Table<'_> {
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str) -> Self {
        Self { file, text, mistakes: Mistakes::default() }
    }

    /// The folder that paths in the file are relative to.
    pub(super) fn folder(&self) -> &'a Path {
        self.file.parent().unwrap_or(Path::new(""))
    }

    pub(super) fn mistake(&mut self, line: usize, text: impl Into<String>) {
        self.mistakes.add(self.file, line, text);
    }

    /// The whole file, whose keys must be among `accepted`.
    pub(super) fn top(&mut self, accepted: &[&str]) -> Table<'a> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            let line = self.line(error.span().map_or(0, |span| span.start));
            self.mistake(line, error.message().replace('\n', ", "));
        }
        self.checked(table.into_inner(), 1, accepted)
    }

    /// A table inside `table`; an empty one if it is not there.
    pub(super) fn table(&mut self, table: &Table<'a>, key: &str, accepted: &[&str]) -> Table<'a> {
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
    pub(super) fn tables(&mut self, table: &Table<'a>, key: &str, accepted: &[&str]) -> Vec<Table<'a>> {
        let mut tables = Vec::new();
        for (value, line) in self.array(table, key, "tables") {
            match value {
                DeValue::Table(inner) => tables.push(self.checked(inner, line, accepted)),
                _ => self.mistake(line, format!("`{key}` must hold tables: `[[{key}]]`")),
            }
        }
        tables
    }

    pub(super) fn text(&mut self, table: &Table<'a>, key: &str) -> Option<Named> {
        let (value, line) = self.value(table, key)?;
        self.string(key, value, line)
    }

    pub(super) fn required_text(&mut self, table: &Table<'a>, key: &str, example: &str) -> Option<Named> {
        if !table.has(key) {
            self.mistake(table.line, format!("`{key}` is missing: add `{key} = {example}`"));
        }
        self.text(table, key)
    }

    pub(super) fn strings(&mut self, table: &Table<'a>, key: &str) -> Vec<Named> {
        let values = self.array(table, key, "strings");
        values.into_iter().filter_map(|(value, line)| self.string(key, value, line)).collect()
    }

    /// Names of packages or modules.
    pub(super) fn names(&mut self, table: &Table<'a>, key: &str) -> Vec<Named> {
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
    pub(super) fn text_map(&mut self, table: &Table<'a>, key: &str) -> Vec<(String, String)> {
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
