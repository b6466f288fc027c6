//! `fledermaus image …`: the kitchen, with a bar.

use std::path::Path;

use crate::arguments::Image;
use crate::surroundings::Surroundings;

/// Makes an image.
///
/// # Errors
/// What the kitchen says.
pub(crate) fn run(command: &Image, _surroundings: &Surroundings) -> anyhow::Result<()> {
    let Image::Build { .. } = command;
    anyhow::bail!("not yet")
}

/// Makes the image that the demo boots, if there is none.
///
/// # Errors
/// What the kitchen says.
pub(crate) fn ensure(_directory: Option<&Path>, _surroundings: &Surroundings) -> anyhow::Result<()> {
    Ok(())
}
