//! Kernel and initramfs in one file that U-Boot starts: a FIT, which is a device tree with the two in it
//! (doc/usage/fit in U-Boot). Writes only; the sums in it find a broken transfer, and prove nothing.

use anyhow::{Context, Result};
use cluster::manifest::ONE_FILE_CONFIGURATION;
use libdeflater::crc32;
use vm_fdt::{FdtWriter, FdtWriterResult};

/// A FIT of a gzip kernel and an initramfs; `time` is its time stamp, in seconds since 1970.
///
/// # Errors
/// They are larger than a device tree can be, 4 GiB.
pub(crate) fn fit(kernel: &[u8], initramfs: &[u8], time: u64) -> Result<Vec<u8>> {
    let time = u32::try_from(time).context("the time stamp is too late for a FIT")?;
    write(kernel, initramfs, time).context("putting kernel and initramfs into one file")
}

fn write(kernel: &[u8], initramfs: &[u8], time: u32) -> FdtWriterResult<Vec<u8>> {
    let mut fit = FdtWriter::new()?;
    let root = fit.begin_node("")?;
    fit.property_u32("timestamp", time)?;
    fit.property_string("description", "fledermaus")?;
    fit.property_u32("#address-cells", 1)?;

    let images = fit.begin_node("images")?;
    let node = fit.begin_node("kernel")?;
    // No address to load it to: boards have their memory at different ones, so U-Boot looks for room.
    fit.property_u32("load", 0)?;
    fit.property_u32("entry", 0)?;
    part(&mut fit, "kernel_noload", "gzip", kernel)?;
    fit.end_node(node)?;
    let node = fit.begin_node("initramfs")?;
    // It is packed, but that is the kernel's business.
    part(&mut fit, "ramdisk", "none", initramfs)?;
    fit.end_node(node)?;
    fit.end_node(images)?;

    let configurations = fit.begin_node("configurations")?;
    fit.property_string("default", ONE_FILE_CONFIGURATION)?;
    let boot = fit.begin_node(ONE_FILE_CONFIGURATION)?;
    fit.property_string("kernel", "kernel")?;
    fit.property_string("ramdisk", "initramfs")?;
    fit.end_node(boot)?;
    fit.end_node(configurations)?;
    fit.end_node(root)?;
    fit.finish()
}

/// The rest of a part, after which it takes no more properties: they stand before what is below them.
fn part(fit: &mut FdtWriter, kind: &str, compression: &str, data: &[u8]) -> FdtWriterResult<()> {
    fit.property_string("type", kind)?;
    fit.property_string("arch", "arm64")?;
    fit.property_string("os", "linux")?;
    fit.property_string("compression", compression)?;
    fit.property("data", data)?;
    let hash = fit.begin_node("hash-1")?;
    fit.property_string("algo", "crc32")?;
    fit.property_u32("value", crc32(data))?;
    fit.end_node(hash)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// U-Boot's own tool looks at it as U-Boot does; `-p` takes a part out.
    #[test]
    fn dumpimage_finds_both_parts_and_takes_them_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, out) = (folder.path().join("one.itb"), folder.path().join("part"));
        let parts: [&[u8]; 2] = [&[7; 5_001], b"initramfs"];
        let whole = fit(parts[0], parts[1], 1_700_000_000).expect("made");
        assert_eq!(whole, fit(parts[0], parts[1], 1_700_000_000).expect("made"));
        std::fs::write(&file, whole).expect("written");
        let listed = Command::new("dumpimage").arg("-l").arg(&file).output().expect("dumpimage runs");
        let text = String::from_utf8_lossy(&listed.stdout);
        let lines =
            ["Kernel Image (no loading done)", "gzip compressed", "RAMDisk Image", "Init Ramdisk: initramfs"];
        for line in lines {
            assert!(text.contains(line), "no `{line}` in\n{text}");
        }
        for (number, part) in parts.iter().enumerate() {
            let mut dump = Command::new("dumpimage");
            dump.args(["-T", "flat_dt", "-p", &number.to_string(), "-o"]).arg(&out).arg(&file);
            assert!(dump.status().expect("dumpimage runs").success());
            assert!(std::fs::read(&out).expect("taken out") == *part);
        }
    }
}
