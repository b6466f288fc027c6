//! `fledermaus image push` and `pull`: images in an object store.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use depot::Place;
use image::{Progress, shelf};
use serde_json::json;

use super::tables::megabytes;
use crate::exit::BadInput;
use crate::steps::Steps;
use crate::surroundings::Surroundings;
use crate::table;

/// The folder in the cache that remembers how far uploads are.
const UPLOADS: &str = "uploads";

/// Puts an image into a store.
///
/// # Errors
/// There is no image, it is damaged, or the store says no.
pub(super) fn push(
    directory: &Path,
    to: &Place,
    surroundings: &Surroundings,
    as_json: bool,
) -> anyhow::Result<()> {
    let image = shelf::open(directory)?;
    // What is damaged here would be refused by everybody who fetches it.
    if let Some(damage) = shelf::verify(&image)?.damages.first() {
        bail!("{} in {} {}: build the image anew", damage.file, directory.display(), damage.what);
    }
    let mut steps = Steps::new();
    steps.step("push");
    let records = surroundings.cache.join(UPLOADS);
    let pushed = depot::push(directory, to, &surroundings.access, &records, &mut |done, total| {
        steps.bytes(done, total)
    });
    steps.end();
    let pushed = pushed.with_context(|| format!("pushing {} to {to}", directory.display()))?;
    if as_json {
        return table::json(&json!({ "to": to.to_string(), "pushed": pushed }));
    }
    table::print(&format_args!(
        "{to}: {} sent, {} were there; id {}",
        megabytes(pushed.sent_bytes),
        megabytes(pushed.kept_bytes),
        pushed.id
    ))
}

/// Fetches an image. It gets its name when it is whole.
///
/// # Errors
/// The directory is there, the store says no, or what it has is not what it should be.
pub(super) fn pull(
    from: &Place,
    out: &Path,
    surroundings: &Surroundings,
    as_json: bool,
) -> anyhow::Result<()> {
    if out.exists() {
        return Err(BadInput(format!(
            "{} is there already: name another directory with --out",
            out.display()
        ))
        .into());
    }
    let Some(name) = out.file_name() else {
        return Err(BadInput(format!("{} is no name for a directory", out.display())).into());
    };
    let mut half = PathBuf::from(out).with_file_name(name).into_os_string();
    half.push(".part");
    let half = PathBuf::from(half);
    let mut steps = Steps::new();
    steps.step("pull");
    let pulled = depot::pull(from, &surroundings.access, &half, &mut |done, total| steps.bytes(done, total));
    steps.end();
    let id = pulled.with_context(|| format!("fetching {from}"))?;
    std::fs::rename(&half, out).with_context(|| format!("moving the image to {}", out.display()))?;
    if as_json {
        return table::json(&json!({ "from": from.to_string(), "directory": out, "id": id }));
    }
    table::print(&format_args!("{}: id {id}", out.display()))
}
