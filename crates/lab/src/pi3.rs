//! The process that is an emulated Pi 3: plays its ROM and firmware over the lab's network, hands what they fetched to
//! QEMU's `raspi3b`, and begins anew when the machine resets.
//!
//! QEMU has no Ethernet that boot programs could use there, and no boot ROM; its kernel finds the network at USB. So the
//! conversation is [`firmware`]'s, from the ROM's first DISCOVER on, and everything from the kernel's first instruction is
//! the node's own. A process of its own, so that pulling the plug is one signal whatever it does.

mod lan9514;
mod redirection;
mod wire;

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use cluster::manifest::{MANIFEST_FILE, Manifest};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use serde::{Deserialize, Serialize};

use crate::board::{EMULATOR, comma};
use crate::dhcp::Post;
use crate::firmware::{self, PI_3_DEVICE_TREE, Setback, Started, Sums};
use crate::{cable, network};

use self::wire::Wire;

/// How long `bootcode.bin` may ask for an address before the board starts over; a real one asks for ever.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long the firmware waits before it starts over.
const PAUSE: Duration = Duration::from_secs(2);
/// What the manifest calls them, and so the shelf.
const KERNEL: &str = "kernel";
const INITRAMFS: &str = "initramfs";

/// A board's process, as JSON in its arguments.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Pi3 {
    /// The board's number, from 1.
    pub(crate) number: u8,
    /// The image's directory: what is fetched is compared with its manifest.
    pub(crate) image: PathBuf,
    /// Where what was fetched lies until the next boot.
    pub(crate) shelf: PathBuf,
    /// The file that its console is written to.
    pub(crate) console: PathBuf,
    /// The socket over which QEMU is told things.
    pub(crate) machine_socket: PathBuf,
    /// The card as QEMU's `-drive` has it, by descriptors that this process inherits; a board may have none.
    pub(crate) drive: Option<String>,
}

/// The process itself; ends when QEMU fails. `text` is a [`Pi3`] as JSON. Has to be called before there are threads.
///
/// # Errors
/// The image or the network is not as it should be, or QEMU failed.
pub fn run(text: &str) -> anyhow::Result<()> {
    let pi: Pi3 = serde_json::from_str(text).context("reading the board's specification")?;
    let manifest = std::fs::read(pi.image.join(MANIFEST_FILE)).context("reading the image's manifest")?;
    let manifest: Manifest = serde_json::from_slice(&manifest).context("reading the image's manifest")?;
    let sums = Sums::new(&manifest);
    std::fs::create_dir_all(&pi.shelf).with_context(|| format!("making {}", pi.shelf.display()))?;
    let plug = format!("pi{}", pi.number);
    cable::leave(&plug, Some(network::mac(pi.number)))?;
    network::ip(&format!("route add {}/{} dev {}\n", network::BASE, network::PREFIX, cable::OWN))?;
    let post = Post::open(cable::OWN)?;
    let wire = Wire::lay(&pi.shelf, network::mac(pi.number))?;
    loop {
        cable::connect(&plug)?;
        let started = pi.load(&post, &sums)?;
        // The address is the kernel's from here on.
        cable::disconnect(&plug)?;
        wire.clear();
        let (usb, theirs) = UnixStream::pair().context("making the emulated USB's socket")?;
        let mut emulator = pi.emulate(&started.command_line, &wire, theirs)?;
        wire.serve(usb).context("being the Ethernet chip")?;
        let ended = emulator.wait().with_context(|| format!("waiting for {EMULATOR}"))?;
        anyhow::ensure!(ended.success(), "{EMULATOR} of node{} ended with {ended}", pi.number);
    }
}

impl Pi3 {
    /// Plays the firmware until it has a kernel to start. A ROM that fell silent stays so until this process is killed.
    fn load(&self, post: &Post, sums: &Sums) -> anyhow::Result<Started> {
        let mac = network::mac(self.number);
        loop {
            let began = Instant::now();
            self.say(&format!("firmware: {mac} asks for an address"))?;
            match firmware::pi_3(post, mac, sums, Some(&self.shelf), began + PATIENCE) {
                Ok(started) => {
                    let Started { address, bytes, .. } = started;
                    let seconds = began.elapsed().as_secs_f64();
                    self.say(&format!(
                        "firmware: {address}, {bytes} bytes in {seconds:.1} s; the kernel starts"
                    ))?;
                    return Ok(started);
                }
                Err(Setback::Again(why)) => self.say(&format!("firmware: {why}; starting over"))?,
                Err(Setback::Asleep(why)) => self.fall_silent(&why)?,
                Err(Setback::LockedUp) => self.fall_silent("the ROM was answered too soon")?,
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn fall_silent(&self, why: &str) -> anyhow::Result<()> {
        self.say(&format!("firmware: {why}; silent until the power is cut"))?;
        loop {
            std::thread::park();
        }
    }

    /// A real board says nothing here, or shows it on its screen.
    fn say(&self, line: &str) -> anyhow::Result<()> {
        let console = File::options().append(true).create(true).open(&self.console);
        let mut console = console.with_context(|| format!("opening {}", self.console.display()))?;
        writeln!(console, "{line}").context("writing to the console")
    }

    /// Starts the machine in the lab's network, where its tap is.
    fn emulate(&self, command_line: &str, wire: &Wire, usb: UnixStream) -> anyhow::Result<Child> {
        fcntl(&usb, FcntlArg::F_SETFD(FdFlag::empty())).context("handing the emulated USB on")?;
        let mut emulator = Command::new(EMULATOR);
        emulator.args(self.arguments(command_line, wire, usb.as_raw_fd())).stdin(Stdio::null());
        cable::in_lab(move || emulator.spawn().with_context(|| format!("starting {EMULATOR}")))
    }

    /// `-no-reboot`: after a reset the ROM has its turn. The console is the second UART, as on every Pi 3. The card as on
    /// the other boards ([`crate::board`]). QEMU only carries frames between the tap and the chip ([`lan9514`]): its own `usb-net`
    /// would move 64 bytes each 250 us, because its host controller takes small transfers so (hw/usb/hcd-dwc2.c).
    fn arguments(&self, command_line: &str, wire: &Wire, usb: i32) -> Vec<String> {
        let file = |name: &str| self.shelf.join(name).display().to_string();
        let (tap, (qemu, chip)) = (network::tap(self.number), wire.ends());
        let options = [
            ("-kernel", file(KERNEL)),
            ("-initrd", file(INITRAMFS)),
            ("-dtb", file(PI_3_DEVICE_TREE)),
            ("-append", command_line.to_owned()),
            ("-serial", "null".to_owned()),
            ("-chardev", format!("file,id=console,append=on,path={}", comma(&self.console))),
            ("-serial", "chardev:console".to_owned()),
            ("-qmp", format!("unix:{},server=on,wait=off", comma(&self.machine_socket))),
            ("-netdev", format!("tap,id=net,ifname={tap},script=no,downscript=no")),
            ("-netdev", "hubport,id=plug,hubid=0,netdev=net".to_owned()),
            (
                "-netdev",
                format!(
                    "dgram,id=wire,local.type=unix,local.path={},remote.type=unix,remote.path={}",
                    comma(&qemu),
                    comma(&chip)
                ),
            ),
            ("-netdev", "hubport,id=socket,hubid=0,netdev=wire".to_owned()),
            ("-chardev", format!("socket,id=usb,fd={usb}")),
            ("-device", "usb-redir,chardev=usb".to_owned()),
        ];
        let card = self.drive.iter().map(|drive| ("-drive", format!("if=sd,{drive}")));
        let machine = MACHINE.split(' ').map(str::to_owned);
        machine
            .chain(options.into_iter().chain(card).flat_map(|(option, value)| [option.to_owned(), value]))
            .collect()
    }
}

/// It has four cores and 1 GiB; no other numbers are possible.
const MACHINE: &str = "-M raspi3b -accel tcg,thread=single -nodefaults -display none -no-reboot";

/// Where a board keeps what it fetched.
pub(crate) fn shelf(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.fetched"))
}
