//! What is done with images that are there: list, show, verify, compare, throw away, carry away.

use std::path::Path;

use anyhow::{Context, bail};
use image::shelf::{self, Difference, Image, Share, SweepOptions};
use serde_json::json;

use super::tables::{self, megabytes};
use crate::steps::Steps;
use crate::table;

/// How many changed files a person is shown; `--json` has them all.
const FILES_SHOWN: usize = 40;

/// The images in a directory.
///
/// # Errors
/// It cannot be read.
pub(super) fn list(directory: &Path, as_json: bool) -> anyhow::Result<()> {
    let images = shelf::list(directory)?;
    if as_json {
        return table::json(&images);
    }
    if images.is_empty() {
        println!("No image in {}: `fledermaus image build` makes one.", directory.display());
        return Ok(());
    }
    table::print(&tables::images(&images))
}

/// What an image is.
///
/// # Errors
/// There is none, or it cannot be read.
pub(super) fn show(directory: &Path, as_json: bool) -> anyhow::Result<()> {
    let image = shelf::open(directory)?;
    let shares = shelf::shares(&image)?;
    if as_json {
        return table::json(&json!({ "image": image, "shares": shares }));
    }
    let Image { folder, id, bytes, manifest, .. } = &image;
    let id = id.map(|id| id.to_string()).unwrap_or_else(|| "none".to_owned());
    table::print(&format_args!(
        "{}, kernel {}, {} in {}\nid {id}\n\n{}\n",
        manifest.name,
        manifest.kernel_version,
        megabytes(*bytes),
        folder.display(),
        tables::outputs(manifest)
    ))?;
    let packed = |share: &Share| share.packed_bytes.unwrap_or(0);
    let (all, known) = (manifest.system.bytes, shares.iter().map(packed).sum::<u64>());
    if shares.iter().any(|share| share.packed_bytes.is_none()) {
        let note =
            "The image does not say what is left of them compressed: bytes are those of the installed files.";
        return table::print(&format_args!("{}\n\n{note}", tables::installed(&shares)));
    }
    let rest = all.saturating_sub(known);
    table::print(&format_args!(
        "{}\n\nIN THE IMAGE is compressed; names, rights and folders of all files are {} more.",
        tables::shares(&shares, all),
        megabytes(rest)
    ))
}

/// Whether an image is whole.
///
/// # Errors
/// It is not.
pub(super) fn verify(directory: &Path, as_json: bool) -> anyhow::Result<()> {
    let image = shelf::open(directory)?;
    let verified = shelf::verify(&image)?;
    if as_json {
        table::json(&verified)?;
    }
    for damage in verified.damages.iter().filter(|_| !as_json) {
        table::print(&format_args!("{}: {}", damage.file, damage.what))?;
    }
    match verified.damages.as_slice() {
        [] if as_json => Ok(()),
        [] => table::print(&format_args!("{} files are as they were made.", verified.files)),
        [one] => bail!("{} in {} is damaged: build the image anew", one.file, directory.display()),
        many => bail!("{} files in {} are damaged: build the image anew", many.len(), directory.display()),
    }
}

/// What is other in the second of two images.
///
/// # Errors
/// There are none, or they cannot be read.
pub(super) fn diff(one: &Path, other: &Path, as_json: bool) -> anyhow::Result<()> {
    let difference = shelf::difference(&shelf::open(one)?, &shelf::open(other)?)?;
    if as_json {
        return table::json(&difference);
    }
    if difference.is_empty() {
        return table::print(&"Both hold the same.");
    }
    let Difference { kernel, packages, files } = &difference;
    if let Some((old, new)) = kernel {
        table::print(&format_args!("Kernel {old} became {new}.\n"))?;
    }
    if !packages.is_empty() {
        table::print(&format_args!("{}\n", tables::changes(packages)))?;
    }
    if !files.is_empty() {
        table::print(&tables::files(&files[..files.len().min(FILES_SHOWN)]))?;
    }
    let rest = files.len().saturating_sub(FILES_SHOWN);
    if rest > 0 {
        table::print(&format_args!("… and {rest} more files: `--json` has them all"))?;
    }
    Ok(())
}

/// Throws away what nobody needs, or says what that would be.
///
/// # Errors
/// It is not known what is needed, or something cannot be removed.
pub(super) fn gc(options: &SweepOptions, yes: bool, as_json: bool) -> anyhow::Result<()> {
    let rubbish = shelf::rubbish(options)?;
    if as_json {
        table::json(&json!({ "removed": yes, "rubbish": rubbish }))?;
    } else if rubbish.is_empty() {
        println!("Nothing to remove: everything in {} is needed.", options.cache.display());
    } else {
        table::print(&tables::rubbish(&rubbish))?;
    }
    let bytes = rubbish.iter().map(|rubbish| rubbish.bytes).sum();
    if yes {
        let freed = shelf::sweep(&options.cache, &rubbish)?;
        if !as_json && !rubbish.is_empty() {
            println!("Removed: {} are free.", megabytes(freed));
        }
    } else if !as_json && !rubbish.is_empty() {
        println!("{} would be free: `fledermaus image gc --yes` removes it.", megabytes(bytes));
    }
    Ok(())
}

/// Writes an image to an archive.
///
/// # Errors
/// There is no image, it is damaged, or the archive cannot be written.
pub(super) fn export(directory: &Path, archive: &Path, as_json: bool) -> anyhow::Result<()> {
    let image = shelf::open(directory)?;
    let mut steps = Steps::new();
    let written = shelf::export(&image, archive, &mut steps);
    steps.end();
    let bytes = written.with_context(|| format!("exporting {}", directory.display()))?;
    if as_json {
        return table::json(&json!({ "archive": archive, "bytes": bytes, "id": image.id }));
    }
    table::print(&format_args!("{}: {}", archive.display(), megabytes(bytes)))
}
