//! The command line of `fledermaus image`.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  fledermaus image build --recipe image.toml        make the image, of the packages in image.lock
  fledermaus image update && fledermaus image build  take what the suite has now")]
pub(crate) enum Image {
    /// Make kernel, initramfs and system image from Debian packages
    ///
    /// Takes the packages that image.lock, beside the recipe, pins by version and SHA-256. If there is no lock, takes
    /// the newest packages of the suite and writes one.
    #[command(after_help = "Example:\n  fledermaus image build --recipe image.toml --out image/")]
    Build {
        /// What goes in [default: image.toml]
        #[arg(long, value_name = "FILE")]
        recipe: Option<PathBuf>,
        /// Where the image goes [default: image in the cache directory]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Directory with the node's programs, fledermaus-init and fledermaus-agent
        #[arg(long, value_name = "DIR")]
        programs: Option<PathBuf>,
    },
    /// Move image.lock to the newest packages of the suite, and say what that changes
    ///
    /// Asks the mirrors for their signed lists. Fetches no packages and makes no image: `image build` does.
    #[command(after_help = "Example:\n  fledermaus image update --recipe image.toml")]
    Update {
        /// The recipe; its lock lies beside it [default: image.toml]
        #[arg(long, value_name = "FILE")]
        recipe: Option<PathBuf>,
    },
}
