//! A head that is a machine of its own: an emulated arm64 board with the image's kernel, a program for arm64 and a disk.
//!
//! What happens inside is [`crate::machine`]'s. The disk outlives the machine's power, and goes with the lab.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::board::{self, comma};
use crate::place::Place;
use crate::spec::Spec;
use crate::{card, configuration, machine, network, relay};

/// What the head's disk has room for, in bytes: images, and state; only what is written takes room here.
const DISK_BYTES: u64 = 2 << 30;
/// An arm64 program in ELF's words (e_machine), and where they stand.
const AARCH64: [u8; 2] = 183_u16.to_le_bytes();
const ELF_MACHINE: std::ops::Range<usize> = 18..20;
/// `norandmaps` as for nodes (`configuration`). A kernel that panics ends the machine.
const COMMAND_LINE: &str = "console=ttyAMA0 quiet panic=-1 norandmaps";

/// What the machine is made of.
pub(crate) struct Emulated {
    kernel: PathBuf,
    system: PathBuf,
    initramfs: File,
    disk: File,
    console: PathBuf,
    cores: u8,
}

impl Emulated {
    /// Fills its disk, and connects the socket in the lab's directory with the one in the machine to be.
    ///
    /// # Errors
    /// The program is none for arm64, no room, or `mke2fs` says why.
    pub(crate) fn new(spec: &Spec, program: &Path) -> anyhow::Result<Self> {
        let program = read(program)?;
        let manifest = spec.manifest()?;
        let image = |file: &str| spec.image.join(file);
        let mut initramfs = card::unnamed(&spec.cards)?;
        // Each archive of an initramfs begins at a multiple of four, as ours ends.
        initramfs
            .write_all(&image::initramfs::of_program(machine::PROGRAM, &program)?)
            .and_then(|()| std::io::copy(&mut File::open(image(&manifest.initramfs.file))?, &mut initramfs))
            .context("writing the head's initramfs")?;
        let disk = card::unnamed(&spec.cards)?;
        fill(&disk, spec)?;
        offer_socket(&spec.place)?;
        Ok(Self {
            kernel: image(&manifest.kernel.file),
            system: image(&manifest.system.file),
            initramfs,
            disk,
            console: spec.place.head_log(),
            cores: spec.cores,
        })
    }

    /// The emulator's command, ready to be started. Devices in the order in which [`crate::machine`] knows them.
    pub(crate) fn command(&self) -> Command {
        let open = |file: &File| format!("/proc/self/fd/{}", file.as_raw_fd());
        let plug = |tap, number| {
            let mac = network::HEAD_MACS[number];
            [
                ("-netdev", format!("tap,id=net{number},ifname={tap},script=no,downscript=no")),
                ("-device", format!("virtio-net-pci,netdev=net{number},romfile=,mac={mac}")),
            ]
        };
        let options = [
            ("-smp", self.cores.to_string()),
            ("-kernel", self.kernel.display().to_string()),
            ("-initrd", open(&self.initramfs)),
            ("-append", format!("rdinit=/{} {COMMAND_LINE} -- lab machine", machine::PROGRAM)),
            ("-chardev", format!("file,id=console,append=on,path={}", comma(&self.console))),
            ("-serial", "chardev:console".to_owned()),
            ("-drive", format!("if=none,id=system,readonly=on,format=raw,file={}", comma(&self.system))),
            ("-device", "virtio-blk-pci,drive=system".to_owned()),
            // What the machine was told is on its disk survives its power; nothing has to survive this machine's.
            ("-drive", format!("if=none,id=data,format=raw,cache=unsafe,file={}", open(&self.disk))),
            ("-device", "virtio-blk-pci,drive=data".to_owned()),
            ("-device", "virtio-rng-pci".to_owned()),
        ];
        let plugs = plug(network::HEAD_TAP, 0).into_iter().chain(plug(network::OPERATORS_TAP, 1));
        let mut command = Command::new(board::EMULATOR);
        command.args(board::MACHINE.split(' ')).arg("-no-reboot");
        for (option, value) in options.into_iter().chain(plugs) {
            command.arg(option).arg(value);
        }
        command
    }
}

/// Reads the head's program.
///
/// # Errors
/// It is not there, or not for arm64; the sentence says how to make one.
pub(crate) fn read(program: &Path) -> anyhow::Result<Vec<u8>> {
    let advice = "`make packages` makes a static fledermaus for arm64; --head-program names another";
    let bytes =
        std::fs::read(program).with_context(|| format!("reading {} ({advice})", program.display()))?;
    let is_arm64 = bytes.starts_with(b"\x7fELF") && bytes.get(ELF_MACHINE) == Some(AARCH64.as_slice());
    ensure!(is_arm64, "{} is no program for arm64 ({advice})", program.display());
    Ok(bytes)
}

/// Makes a file system with configuration, user data and image on it.
fn fill(disk: &File, spec: &Spec) -> anyhow::Result<()> {
    let stage = tempfile::tempdir_in(&spec.cards).context("making a folder for the head's disk")?;
    configuration::write(spec, stage.path())?;
    let mut copy = Command::new("cp");
    copy.args(["--recursive", "--dereference", "--reflink=auto"]).arg(&spec.image);
    succeed(copy.arg(stage.path().join("image")))?;
    disk.set_len(DISK_BYTES).context("making the head's disk")?;
    let mut format = Command::new(MKE2FS);
    format.args(["-q", "-F", "-t", "ext4", "-E", "root_owner=0:0,nodiscard", "-d"]).arg(stage.path());
    succeed(format.arg(format!("/proc/self/fd/{}", disk.as_raw_fd()))).context("filling the head's disk")
}

/// Of the package e2fsprogs. By its path, for who is not root has no /usr/sbin on PATH.
pub(crate) const MKE2FS: &str = "/usr/sbin/mke2fs";

fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("starting `{name}`"))?;
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// The socket is where a head without a machine has it.
fn offer_socket(place: &Place) -> anyhow::Result<()> {
    let mut private = std::fs::DirBuilder::new();
    private.mode(0o700).create(place.head_state()).context("making the folder of the head's socket")?;
    let listener = UnixListener::bind(place.head_socket()).context("making the head's socket")?;
    relay::begin(
        move || Ok(listener.accept()?.0.into()),
        || Ok(std::net::TcpStream::connect((network::OPERATED, network::OPERATORS_PORT))?.into()),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_for_another_machine_is_refused_with_advice() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut elf = b"\x7fELF".to_vec();
        elf.resize(64, 0);
        elf[18] = 62;
        std::fs::write(file.path(), &elf).unwrap();
        let refused = format!("{:#}", read(file.path()).unwrap_err());
        assert!(refused.contains("no program for arm64") && refused.contains("make packages"), "{refused}");
        elf[18] = 183;
        std::fs::write(file.path(), &elf).unwrap();
        assert_eq!(read(file.path()).unwrap(), elf);
        assert!(format!("{:#}", read(Path::new("/nowhere")).unwrap_err()).contains("make packages"));
    }
}
