//! Tables about images. Numbers stand to the right.

use comfy_table::{Cell, CellAlignment, Color, Table};
use image::{Change, ChangeKind, Side};

use crate::table::table;

/// Packages that came, went or changed.
pub(super) fn changes(changes: &[Change]) -> Table {
    let mut table = table(&["PACKAGE", "", "FROM", "TO", "BYTES"]);
    for Change { name, kind, old, new } in changes {
        let version =
            |side: &Option<Side>| side.as_ref().map(|side| side.version.clone()).unwrap_or_default();
        let bytes = |side: &Option<Side>| side.as_ref().map_or(0, |side| i128::from(side.bytes));
        let (word, colour) = match kind {
            ChangeKind::Added => ("added", Color::Green),
            ChangeKind::Removed => ("removed", Color::Red),
            ChangeKind::Upgraded => ("upgraded", Color::Green),
            ChangeKind::Downgraded => ("downgraded", Color::Yellow),
            ChangeKind::Rebuilt => ("rebuilt", Color::Yellow),
        };
        let cells =
            [Cell::new(name), Cell::new(word).fg(colour), Cell::new(version(old)), Cell::new(version(new))];
        table.add_row(cells.into_iter().chain([number(format!("{:+}", bytes(new) - bytes(old)))]));
    }
    table
}

/// Bytes in megabytes with one place.
pub(super) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// A cell whose text stands to the right.
pub(super) fn number(text: impl std::fmt::Display) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}
