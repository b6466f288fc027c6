//! An emulated machine on the room's bridge that boots from the network: its console, and what is in its memory.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::room::{Room, Started, run, wait};

/// How long a machine may take to say something. Emulated firmware is slow, and may share two cores with others.
const BOOT_LIMIT: Duration = Duration::from_secs(100);
/// The machines' memory, in MiB.
const MEMORY_MIB: u64 = 256;
/// How much of the memory is searched at a time, in bytes.
const SEARCH_BYTES: usize = 16 << 20;

/// Where Debian has the firmware.
const IPXE: &str = "/usr/lib/ipxe/qemu/efi-e1000.rom";
const UEFI_X64: &str = "/usr/share/ovmf/OVMF.fd";
const UEFI_ARM64: &str = "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd";
const U_BOOT: &str = "/usr/lib/u-boot/qemu_arm64/u-boot.bin";

/// A kind of machine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A PC with iPXE as the network card's ROM.
    Pc,
    /// UEFI on x86-64.
    UefiX64,
    /// UEFI on arm64.
    UefiArm64,
    /// U-Boot on arm64.
    UBoot,
}

/// A machine that runs until it is dropped.
pub(crate) struct Machine {
    folder: PathBuf,
    console: UnixStream,
    said: Vec<u8>,
    /// Ends the emulator.
    _emulator: Started,
}

impl Machine {
    /// Switches a machine on; it has this hardware address.
    pub(crate) fn power_on(room: &Room, kind: Kind, mac: &str, further: &[&str]) -> Self {
        kind.check();
        run("ip", "tuntap add tap0 mode tap");
        run("ip", "link set tap0 master head0 up");
        let folder = room.folder().join("machine");
        fs::create_dir_all(&folder).expect("a folder");
        let console = UnixListener::bind(folder.join("console")).expect("a socket");
        console.set_nonblocking(true).expect("a socket");
        let complaints = File::create(folder.join("complaints")).expect("a file");
        let mut emulator = kind.emulator();
        let card = kind.card();
        emulator.args(["-m", &MEMORY_MIB.to_string(), "-nodefaults", "-display", "none"]);
        emulator.args(["-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no", "-device"]);
        emulator.arg(format!("{card},netdev=net,bootindex=1,mac={mac}"));
        emulator.args(["-serial", "unix:console", "-qmp", "unix:control,server=on,wait=off"]).args(further);
        emulator.current_dir(&folder).stdout(Stdio::null()).stderr(complaints);
        let started = Started::new(&mut emulator);
        let mut accepted = None;
        wait("the emulator", || {
            accepted = console.accept().ok();
            accepted.is_some() || !complaints_in(&folder).is_empty()
        });
        let complaints = complaints_in(&folder);
        let (console, _) = accepted.unwrap_or_else(|| panic!("the emulator does not start: {complaints}"));
        console.set_nonblocking(false).expect("a socket");
        Self { folder, console, said: Vec::new(), _emulator: started }
    }

    /// Waits until the console says this, and gives all that it said.
    pub(crate) fn wait_says(&mut self, words: &str) -> String {
        let until = Instant::now() + BOOT_LIMIT;
        let mut part = [0; 4096];
        loop {
            let said = String::from_utf8_lossy(&self.said);
            if said.contains(words) {
                return said.into_owned();
            }
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.console.set_read_timeout(Some(left)).expect("a socket");
            match self.console.read(&mut part) {
                Ok(length @ 1..) => self.said.extend(&part[..length]),
                _ => panic!("no `{words}` within {BOOT_LIMIT:?}: {said}\n{}", complaints_in(&self.folder)),
            }
        }
    }

    /// Types a line at the console.
    pub(crate) fn say(&mut self, line: &str) {
        self.console.write_all(format!("{line}\n").as_bytes()).expect("a socket");
    }

    /// Whether these bytes are in the machine's memory, one after another.
    pub(crate) fn remembers(&self, bytes: &[u8]) -> bool {
        let size = MEMORY_MIB << 20;
        for (start, name) in [(0, "low"), (0x4000_0000, "high")] {
            self.order(&format!(
                r#"{{"execute":"pmemsave","arguments":{{"val":{start},"size":{size},"filename":"{name}"}}}}"#
            ));
            if holds(&self.file(name), bytes) {
                return true;
            }
        }
        false
    }

    /// Asks the emulator to do something, and waits until it is done.
    fn order(&self, order: &str) {
        let mut socket = UnixStream::connect(self.file("control")).expect("the emulator's socket");
        let mut replies = BufReader::new(socket.try_clone().expect("a socket")).lines();
        socket.write_all(br#"{"execute":"qmp_capabilities"}"#).expect("sent");
        socket.write_all(order.as_bytes()).expect("sent");
        for _done in 0..2 {
            let reply = replies.find_map(|line| {
                let line = line.expect("a reply of the emulator");
                (line.contains("\"return\"") || line.contains("\"error\"")).then_some(line)
            });
            let reply = reply.expect("a reply of the emulator");
            assert!(reply.contains("\"return\""), "{order}: {reply}");
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Kind {
    fn emulator(self) -> Command {
        let (program, arguments): (_, &[&str]) = match self {
            // Without graphics the BIOS writes to the serial console.
            Self::Pc => ("qemu-system-x86_64", &["-machine", "pc,graphics=off"]),
            Self::UefiX64 => ("qemu-system-x86_64", &["-machine", "q35", "-bios", UEFI_X64]),
            Self::UefiArm64 => {
                ("qemu-system-aarch64", &["-machine", "virt", "-cpu", "cortex-a57", "-bios", UEFI_ARM64])
            }
            Self::UBoot => {
                ("qemu-system-aarch64", &["-machine", "virt", "-cpu", "cortex-a57", "-bios", U_BOOT])
            }
        };
        let mut command = Command::new(program);
        command.args(arguments);
        command
    }

    /// The firmware has to be there.
    fn check(self) {
        let (file, package) = match self {
            Self::Pc => (IPXE, "ipxe-qemu"),
            Self::UefiX64 => (UEFI_X64, "ovmf"),
            Self::UefiArm64 => (UEFI_ARM64, "qemu-efi-aarch64"),
            Self::UBoot => (U_BOOT, "u-boot-qemu"),
        };
        assert!(
            Path::new(file).exists(),
            "there is no {file}: install the package {package}, or run scripts/install-deps"
        );
    }

    /// The network card.
    fn card(self) -> String {
        match self {
            Self::Pc => format!("e1000,romfile={IPXE}"),
            // Debian 12's reads a wrong address from virtio's.
            Self::UBoot => "e1000,romfile=".to_owned(),
            Self::UefiX64 | Self::UefiArm64 => "virtio-net-pci,romfile=".to_owned(),
        }
    }
}

/// What the emulator has to say itself.
fn complaints_in(folder: &Path) -> String {
    fs::read_to_string(folder.join("complaints")).unwrap_or_default()
}

/// Whether a file has these bytes in it. Only a beginning is looked for byte by byte.
fn holds(file: &Path, bytes: &[u8]) -> bool {
    let mut file = File::open(file).expect("a dump of the memory");
    let mut part = vec![0; SEARCH_BYTES + bytes.len()];
    let mut start = 0;
    loop {
        file.seek(SeekFrom::Start(start)).expect("a dump of the memory");
        let mut length = 0;
        while let Ok(more @ 1..) = file.read(&mut part[length..]) {
            length += more;
        }
        if part[..length].windows(bytes.len()).any(|window| window == bytes) {
            return true;
        }
        if length < part.len() {
            return false;
        }
        start += SEARCH_BYTES as u64;
    }
}
