//! One emulated board: its card, its emulator, its power switch.
//!
//! A `virt` board boots by itself from U-Boot on, a Pi 3 in a process of its own ([`pi3`]); nothing here knows what they do.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use cluster::Mac;
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::card::{self, Card, CardDeed, CardKind, CardView};
use crate::pi3::{self, Pi3};
use crate::spec::{Machine, Spec};
use crate::{network, qmp};

/// The emulator, from Debian's package `qemu-system-arm`.
pub(crate) const EMULATOR: &str = "qemu-system-aarch64";

/// What starts a board.
enum Kind {
    /// QEMU with this U-Boot.
    Virt { uboot: PathBuf },
    /// [`pi3::run`] in a process of this program, with the image that its firmware fetches and where it keeps that.
    Pi3 { program: PathBuf, image: PathBuf, shelf: PathBuf },
}

/// A board, on or off.
pub(crate) struct Board {
    pub(crate) name: String,
    pub(crate) number: u8,
    pub(crate) mac: Mac,
    cores: u8,
    pub(crate) console: PathBuf,
    machine_socket: PathBuf,
    kind: Kind,
    log: File,
    card: Card,
    emulator: Option<Child>,
}

impl Board {
    /// A board that is off, with a blank card.
    ///
    /// # Errors
    /// No room for the card, or no U-Boot in the image.
    pub(crate) fn new(spec: &Spec, number: u8) -> anyhow::Result<Self> {
        let place = &spec.place;
        let name = format!("node{number}");
        let card = Card::new(spec, number)?;
        let log =
            File::options().append(true).create(true).open(place.lab_log()).context("opening lab.log")?;
        let kind = match spec.machine {
            Machine::Virt => Kind::Virt { uboot: spec.uboot()? },
            Machine::Pi3 => Kind::Pi3 {
                program: spec.program.clone(),
                image: spec.image.clone(),
                shelf: pi3::shelf(&place.directory(), &name),
            },
        };
        Ok(Self {
            kind,
            console: place.console(&name),
            machine_socket: place.machine_socket(&name),
            name,
            number,
            mac: network::mac(number),
            cores: spec.cores,
            log,
            card,
            emulator: None,
        })
    }

    /// Switches the board on. Nothing happens if it is.
    ///
    /// # Errors
    /// The emulator cannot be started.
    pub(crate) fn power_on(&mut self) -> anyhow::Result<()> {
        if self.is_on() {
            return Ok(());
        }
        self.card.power_on()?;
        let mut command = self.command()?;
        // A group of its own: a Pi 3 is two processes.
        command.process_group(0).stdin(Stdio::null());
        command.stdout(self.log.try_clone()?).stderr(self.log.try_clone()?);
        let emulator = command.spawn().with_context(|| format!("starting {}", self.name))?;
        self.emulator = Some(emulator);
        Ok(())
    }

    /// Pulls the plug: the emulator is killed in the middle of whatever it does. Nothing happens if it is off.
    ///
    /// # Errors
    /// The emulator cannot be killed.
    pub(crate) fn power_cut(&mut self) -> anyhow::Result<()> {
        let Some(mut emulator) = self.emulator.take() else { return Ok(()) };
        let group = Pid::from_raw(emulator.id().cast_signed());
        match killpg(group, Signal::SIGKILL) {
            // It ended by itself.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error).with_context(|| format!("stopping {}", self.name)),
        }
        emulator.wait().with_context(|| format!("waiting for the end of {}", self.name))?;
        self.card.power_lost()
    }

    /// Presses the reset button.
    ///
    /// # Errors
    /// The board is off, or the emulator does not answer.
    pub(crate) fn reset(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(self.is_on(), "{} is off: switch it on first", self.name);
        qmp::reset(&self.machine_socket)
    }

    /// Does something with its card, and says what is on it then.
    ///
    /// # Errors
    /// The power switch is not where it has to be for that, or the board cannot have such a card.
    pub(crate) fn card(&mut self, deed: CardDeed) -> anyhow::Result<CardView> {
        deed.check(self.is_on(), &self.name)?;
        match deed {
            CardDeed::Look => {}
            CardDeed::Insert(kind) => {
                self.check_card(kind)?;
                self.card.insert(kind)?;
            }
            CardDeed::Flip => self.card.flip()?,
            CardDeed::Pull => qmp::remove_drive(&self.machine_socket, card::DRIVE)?,
        }
        let written_bytes = match self.is_on() {
            true => qmp::written_bytes(&self.machine_socket, card::DRIVE)?,
            false => None,
        };
        Ok(CardView { written_bytes, ..self.card.look()? })
    }

    /// What the emulated boards do not do with cards.
    fn check_card(&self, kind: CardKind) -> anyhow::Result<()> {
        let is_virt = matches!(self.kind, Kind::Virt { .. });
        match kind {
            CardKind::Foreign | CardKind::None => anyhow::ensure!(
                !is_virt,
                "{} boots by what is on its card: take a board that boots without one (`--board pi3`)",
                self.name
            ),
            CardKind::Protected => {
                anyhow::ensure!(is_virt, "QEMU's SD card cannot be write-protected: take `--board virt`");
            }
            CardKind::Blank | CardKind::Garbage | CardKind::Small => {}
        }
        Ok(())
    }

    /// Becomes another board of the same make: another hardware address, a blank card.
    ///
    /// # Errors
    /// The board is on, or a Pi 3, whose address hangs on its number.
    pub(crate) fn replace(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.is_on(), "{} is on: pull its plug first", self.name);
        let Kind::Virt { .. } = self.kind else {
            anyhow::bail!("{} cannot be replaced: only boards of the kind virt can", self.name);
        };
        self.card.insert(CardKind::Blank)?;
        let Mac([.., lot, _]) = &mut self.mac;
        *lot += 1;
        Ok(())
    }

    /// Whether the emulator runs.
    pub(crate) fn is_on(&mut self) -> bool {
        self.emulator.as_mut().is_some_and(|emulator| matches!(emulator.try_wait(), Ok(None)))
    }

    /// Whether the emulator ended though nobody pulled the plug.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.emulator.is_some() && !self.is_on()
    }

    fn command(&self) -> anyhow::Result<Command> {
        let (program, arguments) = match &self.kind {
            Kind::Virt { uboot } => (Path::new(EMULATOR), self.virt(uboot)),
            Kind::Pi3 { program, image, shelf } => {
                let pi = Pi3 {
                    number: self.number,
                    image: image.clone(),
                    shelf: shelf.clone(),
                    console: self.console.clone(),
                    machine_socket: self.machine_socket.clone(),
                    drive: self.card.drive(),
                };
                let pi = serde_json::to_string(&pi)?;
                (program.as_path(), ["lab", "pi3", &pi].map(str::to_owned).to_vec())
            }
        };
        let mut command = Command::new(program);
        command.args(arguments);
        Ok(command)
    }

    /// `romfile=` because QEMU 7.2 wants a file that another package has; `werror=report` because a node shall see a full
    /// disk, not stand still.
    fn virt(&self, uboot: &Path) -> Vec<String> {
        let (tap, mac) = (network::tap(self.number), self.mac);
        let card = self.card.drive().into_iter().flat_map(|drive| {
            [
                ("-drive", format!("if=none,werror=report,{drive}")),
                ("-device", format!("virtio-blk-pci,drive={}", card::DRIVE)),
            ]
        });
        let options = [
            ("-smp", self.cores.to_string()),
            ("-bios", uboot.display().to_string()),
            ("-chardev", format!("file,id=console,append=on,path={}", comma(&self.console))),
            ("-serial", "chardev:console".to_owned()),
            ("-qmp", format!("unix:{},server=on,wait=off", comma(&self.machine_socket))),
            ("-netdev", format!("tap,id=net,ifname={tap},script=no,downscript=no")),
            ("-device", format!("virtio-net-pci,netdev=net,romfile=,mac={mac}")),
            ("-device", "virtio-rng-pci".to_owned()),
        ];
        let machine = MACHINE.split(' ').map(str::to_owned);
        machine
            .chain(options.into_iter().chain(card).flat_map(|(option, value)| [option.to_owned(), value]))
            .collect()
    }
}

/// A Pi 3's processor and memory on QEMU's `virt` board.
pub(crate) const MACHINE: &str =
    "-M virt -cpu cortex-a53 -m 1024 -accel tcg,thread=multi -nodefaults -display none";

/// A path inside one of QEMU's comma-separated arguments.
pub(crate) fn comma(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}
