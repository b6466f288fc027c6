//! The configuration of the lab's head: nodes with fixed addresses, and one user data for all.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;

use crate::network;
use crate::spec::{Machine, Spec};

/// The file's name.
pub(crate) const FILE: &str = "cluster.toml";

/// Writes `cluster.toml` and the user data into a folder.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn write(spec: &Spec, folder: &Path) -> anyhow::Result<()> {
    let user_data = folder.join("user-data");
    std::fs::create_dir_all(&user_data).context("making the directory for user data")?;
    std::fs::write(user_data.join("default.sh"), &spec.user_data).context("writing the user data")?;
    std::fs::write(folder.join(FILE), text(spec)).context("writing the head's configuration")
}

/// `panic=5`: a node that fails starts over by itself, as the head expects of it. `norandmaps`: QEMU up to 7.2
/// finds translated code by its virtual address, so that with random addresses each process of a program is
/// translated anew (`docs/measurements.md`); a real board has no such loss and keeps them.
fn text(spec: &Spec) -> String {
    let board = match spec.machine {
        Machine::Virt => "console=ttyAMA0",
        Machine::Pi3 => "console=ttyS1,115200 fledermaus.watchdog=off",
    };
    let mut text = format!(
        "[swarm]\nmanagers = {}\n\n[network]\nhttp_port = 8080\n\n[boot]\nkernel_parameters = \"{board} panic=5 quiet norandmaps\"\nroot = \"{}\"\nwipe = \"{}\"\n\n[user_data]\ndir = \"user-data\"\n",
        spec.managers,
        spec.root.word(),
        spec.wipe.word()
    );
    for number in 1..=spec.nodes {
        let (mac, address) = (network::mac(number), network::address(number));
        let node = format!("\n[[node]]\nname = \"node{number}\"\nmac = \"{mac}\"\naddress = \"{address}\"\n");
        let _ = text.write_str(&node);
    }
    text
}
