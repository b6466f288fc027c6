//! Images in an object store that speaks S3: a folder goes up, a verified folder comes down. Both resume.
//!
//! ```text
//!   s3://bucket/prefix/objects/<sha256>   every file of an image, once, whichever images it belongs to
//!   s3://bucket/prefix/SHA256SUMS         the files of the image, with their digests; written last, and all at once
//! ```
//!
//! So whoever reads sees the image of before or the one of now, a file that did not change is not sent again, and what
//! comes down is compared with the digest that it is named by. Removes nothing from a bucket. Reads no environment.

mod access;
mod fault;
mod index;
mod pull;
mod push;
mod store;

pub use access::{Access, BadPlace, Key, Place};
pub use fault::Fault;
pub use pull::{Cached, cached, look, pull};
pub use push::{Pushed, push};

/// How much of how much is done, in bytes.
pub type Told<'a> = &'a mut dyn FnMut(u64, u64);

/// The name of the object that has a file's content.
fn object(sha256: cluster::Digest) -> String {
    format!("objects/{sha256}")
}

#[cfg(test)]
mod tests;
