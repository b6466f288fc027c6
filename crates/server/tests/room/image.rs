//! An image that can be served, though nothing would boot from it.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// A file of the image.
pub(crate) struct File {
    name: &'static str,
    bytes: usize,
}

/// Ends with an empty block where blocks have 512 or 1428 bytes.
pub(crate) const KERNEL: File = File { name: "kernel", bytes: 512 * 357 * 16 };
/// Small: a file that loses packets takes seconds for each.
pub(crate) const INITRAMFS: File = File { name: "initramfs", bytes: 10_001 };
pub(crate) const SYSTEM: File = File { name: "system", bytes: 100_000 };

impl File {
    /// What is in it.
    pub(crate) fn content(&self) -> Vec<u8> {
        noise(self.name, self.bytes)
    }

    /// How it is asked for by HTTP, if it is the system image.
    pub(crate) fn url(&self) -> String {
        format!("http://{}:8080/system/{}", super::HEAD, hash(&self.content()))
    }

    /// How it is asked for by TFTP.
    pub(crate) fn path(&self) -> String {
        format!("image/{}/{}", &hash(manifest().as_bytes())[..16], self.name)
    }
}

/// Bytes that are found nowhere else, the same in each run.
pub(crate) fn noise(seed: &str, bytes: usize) -> Vec<u8> {
    let mut state =
        seed.bytes().fold(0x9e37_79b9_7f4a_7c15_u64, |state, byte| (state ^ u64::from(byte)) << 3 | 1);
    let words = std::iter::repeat_with(|| {
        // Xorshift64.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(bytes).collect()
}

/// Writes it, and gives its directory.
pub(crate) fn write(folder: &Path) -> PathBuf {
    let folder = folder.join("image");
    std::fs::create_dir(&folder).expect("a folder");
    for file in [&KERNEL, &INITRAMFS, &SYSTEM] {
        std::fs::write(folder.join(file.name), file.content()).expect("a file");
    }
    std::fs::write(folder.join("manifest.json"), manifest()).expect("a file");
    // As the kitchen leaves it; a store wants it.
    let line = |name: &str, content: &[u8]| format!("{}  {name}\n", hash(content));
    let mut sums = line("manifest.json", manifest().as_bytes());
    sums.extend([&KERNEL, &INITRAMFS, &SYSTEM].map(|file| line(file.name, &file.content())));
    std::fs::write(folder.join("SHA256SUMS"), sums).expect("a file");
    folder
}

/// What the image says of itself; its hash is the image's name.
fn manifest() -> String {
    let artefact = |file: &File| {
        let content = file.content();
        serde_json::json!({ "file": file.name, "bytes": content.len(), "sha256": hash(&content) })
    };
    let manifest = serde_json::json!({
        "name": "none", "kernel_version": "0", "packages": [],
        "kernel": artefact(&KERNEL), "initramfs": artefact(&INITRAMFS), "system": artefact(&SYSTEM),
    });
    manifest.to_string()
}

fn hash(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}
