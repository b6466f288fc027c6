//! The command line of `fledermaus image`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  fledermaus image build --recipe image.toml        make the image, of the packages in image.lock
  fledermaus image update && fledermaus image build
                                                    take what the suite has now
  fledermaus image diff ~/.cache/fledermaus/image.previous ~/.cache/fledermaus/image
                                                    what that changed")]
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
        /// Directory with the node's programs, fledermaus-init and fledermaus-agent [default: where `make build` puts them,
        /// seen from here, else /usr/lib/fledermaus/node]
        #[arg(long, value_name = "DIR")]
        programs: Option<PathBuf>,
        #[command(flatten)]
        kitchen: Kitchen,
    },
    /// Make an image of what Buildroot has made
    ///
    /// Takes Image, rootfs.tar (and rootfs.squashfs, if there is one), device trees and rpi-firmware; makes the initramfs itself.
    /// docs/buildroot.md says more.
    #[command(after_help = "Example:
  fledermaus image import ~/buildroot/output/images --out image/ --card card.img")]
    Import {
        /// Buildroot's output/images
        #[arg(value_name = "DIR")]
        images: PathBuf,
        /// Where the image goes [default: image in the cache directory]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        #[command(flatten)]
        extras: ImportExtras,
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
    /// List images: name, kernel, size, when they were made
    List {
        /// Directory of images, or of one [default: the cache directory]
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
    /// List the images that the head serves, and how many nodes were last told to boot which
    Served,
    /// Show what an image is, and where its bytes go by package
    Show {
        #[command(flatten)]
        image: ImageChoice,
    },
    /// Read all files of an image and compare their digests; ends with 1 if one differs
    Verify {
        #[command(flatten)]
        image: ImageChoice,
    },
    /// Show what is other in an image than in another: packages and files
    #[command(
        after_help = "Example:\n  fledermaus image diff ~/.cache/fledermaus/image.previous ~/.cache/fledermaus/image"
    )]
    Diff {
        /// Directory of the one image
        #[arg(value_name = "A")]
        one: PathBuf,
        /// Directory of the other
        #[arg(value_name = "B")]
        other: PathBuf,
    },
    /// Remove images that were replaced, and cached packages that no lock and no image names
    ///
    /// Only says what it would remove, unless it is told --yes. Knows the locks and images of all builds that used this
    /// cache, as long as they are where they were.
    #[command(after_help = "Example:\n  fledermaus image gc && fledermaus image gc --yes")]
    Gc {
        /// Remove it
        #[arg(long)]
        yes: bool,
        /// A recipe whose lock's packages are kept too [default: image.toml]
        #[arg(long, value_name = "FILE")]
        recipe: Option<PathBuf>,
    },
    /// Put an image into an object store that speaks S3
    ///
    /// Credentials and store are those of the usual variables: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
    /// AWS_SESSION_TOKEN, AWS_ENDPOINT_URL, AWS_REGION. What is there already is not sent again, and a push that was
    /// broken off goes on where it was.
    #[command(
        after_help = "Example:\n  AWS_ENDPOINT_URL=http://10.0.0.5:9000 fledermaus image push --to s3://images/lab"
    )]
    Push {
        #[command(flatten)]
        image: ImageChoice,
        /// Where it goes: s3://bucket/prefix. One prefix is one image; the head takes it by `url` in [image]
        #[arg(long, value_name = "URL")]
        to: depot::Place,
    },
    /// Fetch an image from an object store, verified by its digests
    ///
    /// Takes the same variables as `image push`. One that was broken off goes on where it was.
    #[command(after_help = "Example:\n  fledermaus image pull s3://images/lab --out image/")]
    Pull {
        /// Where it is: s3://bucket/prefix
        #[arg(value_name = "URL")]
        from: depot::Place,
        /// Directory of the image; must not be there yet
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Write all files of an image to one tar archive
    #[command(after_help = "Example:\n  fledermaus image export --out image.tar && tar -tf image.tar")]
    Export {
        #[command(flatten)]
        image: ImageChoice,
        /// The archive; must not be there yet
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// What makes an image.
#[derive(Debug, Args)]
pub(crate) struct Kitchen {
    /// What makes it: debian, from signed packages, in seconds; buildroot, from source, in an hour or more
    #[arg(long, value_enum, default_value_t = Backend::Debian)]
    pub(crate) backend: Backend,
    /// Checkout of Buildroot (with --backend buildroot)
    #[arg(long, value_name = "DIR", required_if_eq("backend", "buildroot"))]
    pub(crate) buildroot: Option<PathBuf>,
    /// Configuration in the folder `buildroot/` of this project
    #[arg(long, value_name = "NAME", default_value = "fledermausland_pi_defconfig")]
    pub(crate) configuration: String,
    /// This project's folder for Buildroot [default: buildroot]
    #[arg(long, value_name = "DIR")]
    pub(crate) external: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) extras: ImportExtras,
}

/// What does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// The kitchen, with packages of Debian's.
    Debian,
    /// Buildroot.
    Buildroot,
}

/// What an image of Buildroot's can have beside what its folder says.
#[derive(Debug, Args)]
pub(crate) struct ImportExtras {
    /// Name of the image (of Buildroot's) in its manifest
    #[arg(long, default_value = "buildroot")]
    pub(crate) name: String,
    /// Also make a card's image of Buildroot's firmware and U-Boot
    #[arg(long, value_name = "FILE")]
    pub(crate) card: Option<PathBuf>,
    /// U-Boot with which the lab's emulated boards start, such as /usr/lib/u-boot/qemu_arm64/u-boot.bin of Debian's u-boot-qemu
    #[arg(long, value_name = "FILE")]
    pub(crate) lab_uboot: Option<PathBuf>,
}

/// Which image to look at.
#[derive(Args, Debug)]
pub(crate) struct ImageChoice {
    /// Directory of the image [default: image in the cache directory]
    #[arg(value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}
