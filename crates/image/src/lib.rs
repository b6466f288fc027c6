//! The kitchen: Debian packages in; kernel, initramfs and system image out.
//!
//! ```text
//!   image.toml ─► recipe ─┐
//!   mirror ─► signature ─► release ─► index ─► resolve ─► image.lock     (update; the first build)
//!   image.lock ─► download ─► deb ─► tree ─► rules ─┐
//!               modules ─► initramfs, squashfs ◄────┘─► output           (build)
//! ```
//!
//! Runs nothing of what it fetches, and unpacks nothing onto the disk: a package is a stream that becomes a
//! tree in memory. The same inputs give the same bytes. Does not read flags or the environment.

mod build;
mod buildroot;
pub mod card;
mod compose;
mod container;
mod copyright;
mod crew;
mod deb;
mod download;
mod files;
mod firmware;
mod import;
mod index;
pub mod initramfs;
mod inputs;
mod lists;
mod lock;
mod mirror;
mod modules;
mod one_file;
mod output;
mod packer;
mod pantry;
mod progress;
mod recall;
mod recipe;
mod release;
mod resolve;
mod rules;
pub mod shelf;
mod shopping;
mod signature;
mod sources;
mod spdx;
mod squashfs;
mod tree;
mod update;
mod verity;
mod version;
mod wishes;

pub use build::{BuildError, BuildOptions, Built, build};
pub use buildroot::{BuildrootOptions, make};
pub use cluster::configuration::{Mistake, Mistakes};
pub use files::{FILES_FILE, FileRecord, Files};
pub use import::{ImportOptions, import};
pub use progress::{Progress, Silent};
pub use spdx::SBOM_FILE;
pub use update::{Change, ChangeKind, Side, UpdateOptions, Updated, update};
