//! The kitchen: Debian packages in; kernel, initramfs and system image out.
//!
//! ```text
//!   image.toml ─► recipe ─┐
//!   mirror ─► signature ─► release ─► index ─► resolve ─► download ─► deb ─► tree ─► rules ─┐
//!                                                       modules ─► initramfs, squashfs ◄────┘─► output
//! ```
//!
//! Runs nothing of what it fetches, and unpacks nothing onto the disk: a package is a stream that becomes a
//! tree in memory. The same inputs give the same bytes. Does not read flags or the environment.

mod build;
pub mod card;
mod container;
mod deb;
mod download;
mod firmware;
mod index;
mod initramfs;
mod inputs;
mod lists;
mod mirror;
mod modules;
mod output;
mod progress;
mod recipe;
mod release;
mod resolve;
mod rules;
mod shopping;
mod signature;
mod sources;
mod squashfs;
mod tree;
mod version;

pub use build::{BuildError, BuildOptions, Built, build};
pub use cluster::configuration::{Mistake, Mistakes};
pub use progress::{Progress, Silent};
