//! Where the head's image comes from: a directory of this machine, or an object store, of which a verified copy is kept.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use depot::{Access, Place};

use super::Image;

/// The folder in the state directory with copies of stores' images.
const COPIES: &str = "images";
/// How often the log says how far a fetch is.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Where the image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Directory(PathBuf),
    Store {
        place: Place,
        /// The configuration's; else that of the environment.
        endpoint: Option<String>,
        region: Option<String>,
    },
}

impl Source {
    /// Opens and verifies the image. One of a store is fetched first, as far as it is not here yet: that can take minutes.
    ///
    /// # Errors
    /// There is none, it is damaged, or the store says no.
    pub(crate) fn open(&self, access: &Access, state_dir: &Path) -> anyhow::Result<Image> {
        let (place, access) = match self {
            Self::Directory(directory) => return Image::open(directory),
            Self::Store { place, .. } => (place, self.access(access)),
        };
        let mut last = Instant::now();
        let told = &mut |done: u64, total: u64| {
            if last.elapsed() >= TELL_EVERY {
                last = Instant::now();
                tracing::info!("fetching {place}: {} of {} MB", done / 1_000_000, total / 1_000_000);
            }
        };
        let cached = depot::cached(place, &access, &state_dir.join(COPIES), told)
            .with_context(|| format!("fetching the image {place}"))?;
        if let Some(fault) = &cached.stale {
            tracing::warn!("serving the copy of {place} that was fetched last: {fault}");
        }
        Image::open(&cached.folder)
    }

    /// What the configuration says goes before what the environment says.
    pub(crate) fn access(&self, environment: &Access) -> Access {
        let Self::Store { endpoint, region, .. } = self else { return environment.clone() };
        Access {
            endpoint: endpoint.clone().or_else(|| environment.endpoint.clone()),
            region: region.clone().or_else(|| environment.region.clone()),
            key: environment.key.clone(),
        }
    }
}
