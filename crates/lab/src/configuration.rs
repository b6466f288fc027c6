//! The configuration of the lab's head: nodes with fixed addresses, and one user data for all.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Context;

use crate::network;
use crate::spec::Spec;

/// Writes `cluster.toml` and the user data into the lab's directory.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn write(spec: &Spec) -> anyhow::Result<PathBuf> {
    let file = spec.place.configuration();
    let user_data = spec.place.directory().join("user-data");
    std::fs::create_dir_all(&user_data).context("making the directory for user data")?;
    std::fs::write(user_data.join("default.sh"), &spec.user_data).context("writing the user data")?;
    std::fs::write(&file, text(spec.nodes)).context("writing the head's configuration")?;
    Ok(file)
}

/// `panic=5`: a node that fails starts over by itself, as the head expects of it. `norandmaps`: QEMU up to 7.2
/// finds translated code by its virtual address, so that with random addresses each process of a program is
/// translated anew (`docs/measurements.md`); a real board has no such loss and keeps them.
fn text(nodes: u8) -> String {
    let mut text = String::from(
        "[network]\nhttp_port = 8080\n\n[boot]\nkernel_parameters = \"console=ttyAMA0 panic=5 quiet norandmaps\"\n\n[user_data]\ndir = \"user-data\"\n",
    );
    for number in 1..=nodes {
        let (mac, address) = (network::mac(number), network::address(number));
        let node = format!("\n[[node]]\nname = \"node{number}\"\nmac = \"{mac}\"\naddress = \"{address}\"\n");
        let _ = text.write_str(&node);
    }
    text
}
