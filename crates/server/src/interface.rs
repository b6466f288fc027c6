//! The cluster's interface: waited for when the machine starts, and watched while the head serves.
//!
//! Sockets are bound to an interface by its number. One that is unplugged and plugged in again, or a bridge that is made
//! anew, has another, and all sockets are deaf without an error. So the head ends then, and whoever keeps it running starts
//! it again.

use std::time::Duration;

use anyhow::Context;
use nix::net::if_::if_nametoindex;

use crate::{Options, config};

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Waits until the interface that the configuration names is there and has its address, and says what it waits for.
/// After a power cut a switch takes a minute to have a carrier. A configuration that is wrong otherwise is not waited for:
/// [`crate::serve`] says what is wrong.
pub async fn wait(options: &Options) {
    let mut told = String::new();
    while let Some(lack) = config::lack(&options.config, options.interface.as_deref()) {
        if lack != told {
            tracing::warn!("waiting for the cluster's interface: {lack}");
            told = lack;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// An interface as it is when the head starts.
pub(crate) struct Watched {
    name: String,
    number: u32,
}

impl Watched {
    /// Before the first socket is bound to it.
    pub(crate) fn new(name: &str) -> anyhow::Result<Self> {
        let number = if_nametoindex(name).with_context(|| format!("looking for the interface `{name}`"))?;
        Ok(Self { name: name.to_owned(), number })
    }

    /// Waits until it is another one, or gone; the sentence that says so.
    pub(crate) async fn gone(&self) -> anyhow::Error {
        let Self { name, number } = self;
        loop {
            match if_nametoindex(name.as_str()) {
                Ok(now) if now == *number => tokio::time::sleep(LOOK_EVERY).await,
                Ok(_) => {
                    return anyhow::anyhow!(
                        "{name} was made anew: nothing is heard there before the head starts again"
                    );
                }
                Err(_) => return anyhow::anyhow!("{name} is gone: plug it in, and start the head again"),
            }
        }
    }
}
