//! Tables about images. Numbers stand to the right.

use cluster::manifest::{FIRMWARE_FOLDER, Manifest};
use comfy_table::{Cell, CellAlignment, Color, Table};
use image::shelf::{FileChange, Image, Rubbish, Share};
use image::{Change, ChangeKind, Side};

use crate::table::{now_ms, table};

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

/// Images in their folders.
pub(super) fn images(images: &[Image]) -> Table {
    let mut table = table(&["IMAGE", "NAME", "KERNEL", "PACKAGES", "SIZE", "MADE", "ID"]);
    for Image { folder, id, made, bytes, manifest } in images {
        let file = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let age = (now_ms() / 1_000).saturating_sub(*made);
        table.add_row([
            Cell::new(file),
            Cell::new(&manifest.name),
            Cell::new(&manifest.kernel_version),
            number(manifest.packages.len()),
            number(megabytes(*bytes)),
            Cell::new(ago(age)),
            Cell::new(id.map(|id| id.to_string()[..12].to_owned()).unwrap_or_default()),
        ]);
    }
    table
}

/// The files that an image consists of.
pub(super) fn outputs(manifest: &Manifest) -> Table {
    let mut table = table(&["FILE", "SIZE", "SHA-256"]);
    for artefact in manifest.own_files() {
        let digest = artefact.sha256.to_string()[..16].to_owned();
        table.add_row([Cell::new(&artefact.file), number(megabytes(artefact.bytes)), Cell::new(digest)]);
    }
    if !manifest.firmware.is_empty() {
        let bytes = manifest.firmware.iter().map(|artefact| artefact.bytes).sum();
        let files = format!("{} files", manifest.firmware.len());
        table.add_row([Cell::new(FIRMWARE_FOLDER), number(megabytes(bytes)), Cell::new(files)]);
    }
    table
}

/// Where the bytes of a system image go, compressed, of `all`.
pub(super) fn shares(shares: &[Share], all: u64) -> Table {
    let mut table = table(&["PACKAGE", "VERSION", "FILES", "INSTALLED", "IN THE IMAGE", "%"]);
    for share in shares {
        let packed = share.packed_bytes.unwrap_or(0);
        let percent = 100.0 * packed as f64 / all.max(1) as f64;
        let own = row(share).into_iter();
        table.add_row(own.chain([number(kilobytes(packed)), number(format!("{percent:.1}"))]));
    }
    table
}

/// Where the bytes go, as installed.
pub(super) fn installed(shares: &[Share]) -> Table {
    let mut table = table(&["PACKAGE", "VERSION", "FILES", "INSTALLED"]);
    for share in shares {
        table.add_row(row(share));
    }
    table
}

fn row(share: &Share) -> [Cell; 4] {
    [
        Cell::new(share.package.as_deref().unwrap_or("(fledermaus, recipe)")),
        Cell::new(share.version.as_deref().unwrap_or_default()),
        number(share.files),
        number(kilobytes(share.installed_bytes)),
    ]
}

/// Files that came, went or changed.
pub(super) fn files(files: &[FileChange]) -> Table {
    let mut table = table(&["FILE", "", "PACKAGE", "BYTES"]);
    for FileChange { tree, path, package, old_bytes, new_bytes } in files {
        let (word, colour) = match (old_bytes, new_bytes) {
            (None, _) => ("added", Color::Green),
            (_, None) => ("removed", Color::Red),
            _ => ("changed", Color::Yellow),
        };
        let path = if *tree == "system" { format!("/{path}") } else { format!("{tree}:/{path}") };
        let bytes = i128::from(new_bytes.unwrap_or(0)) - i128::from(old_bytes.unwrap_or(0));
        table.add_row([
            Cell::new(path),
            Cell::new(word).fg(colour),
            Cell::new(package.as_deref().unwrap_or_default()),
            number(format!("{bytes:+}")),
        ]);
    }
    table
}

/// What nobody needs.
pub(super) fn rubbish(rubbish: &[Rubbish]) -> Table {
    let mut table = table(&["WHAT", "SIZE", "WHERE"]);
    for Rubbish { path, bytes, why } in rubbish {
        table.add_row([Cell::new(why), number(megabytes(*bytes)), Cell::new(path.display())]);
    }
    table
}

fn ago(secs: u64) -> String {
    match secs {
        0..120 => format!("{secs} s ago"),
        120..7_200 => format!("{} min ago", secs / 60),
        7_200..172_800 => format!("{} h ago", secs / 3_600),
        _ => format!("{} days ago", secs / 86_400),
    }
}

/// Bytes in kilobytes.
fn kilobytes(bytes: u64) -> String {
    format!("{} kB", bytes.div_ceil(1_000))
}

/// Bytes in megabytes with one place.
pub(super) fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// A cell whose text stands to the right.
pub(super) fn number(text: impl std::fmt::Display) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}
