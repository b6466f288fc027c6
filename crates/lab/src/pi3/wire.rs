//! The cable between a Pi 3's Ethernet and the lab: frames as datagrams to and from QEMU, which has the tap, and the chip
//! on QEMU's emulated USB.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use cluster::Mac;

use super::lan9514::{BULK_IN, BULK_OUT, IDENTITY, Lan9514};
use super::redirection::{self, Answers, Status, Wish};

/// The longest frame that a cable carries, in bytes: 1,500 and its header with a VLAN's tag, and some.
const FRAME_LIMIT: usize = 2_048;

/// The cable of one board, which outlives its emulator.
pub(super) struct Wire {
    frames: UnixDatagram,
    directory: PathBuf,
    mac: Mac,
}

impl Wire {
    /// Makes the sockets in a directory.
    ///
    /// # Errors
    /// They cannot be made.
    pub(super) fn lay(directory: &Path, mac: Mac) -> anyhow::Result<Self> {
        let path = directory.join(CHIP);
        // Of a board whose plug was pulled.
        let _ = std::fs::remove_file(&path);
        let frames = UnixDatagram::bind(path).context("making the cable's socket")?;
        Ok(Self { frames, directory: directory.to_owned(), mac })
    }

    /// Where QEMU's end of the cable is, and the chip's.
    pub(super) fn ends(&self) -> (PathBuf, PathBuf) {
        (self.directory.join(QEMU), self.directory.join(CHIP))
    }

    /// Makes way for a new emulator, whose end of the cable must not be there.
    pub(super) fn clear(&self) {
        let _ = std::fs::remove_file(self.directory.join(QEMU));
    }

    /// Is the chip of one emulator, whose `usb-redir` is at the other end of `machine`, until that has gone.
    ///
    /// # Errors
    /// A socket fails.
    pub(super) fn serve(&self, mut machine: UnixStream) -> io::Result<()> {
        let port = Arc::new(Port {
            chip: Mutex::new(Lan9514::new(self.mac)),
            answers: Mutex::new(Answers(machine.try_clone()?)),
        });
        port.answers().plug_in(&IDENTITY)?;
        let cable = self.frames.try_clone()?;
        let inward = {
            let (port, machine) = (port.clone(), machine.try_clone()?);
            std::thread::spawn(move || port.carry(&cable, &machine))
        };
        let ended = port.attend(&mut machine, &self.frames, &self.directory.join(QEMU));
        let _ = machine.shutdown(Shutdown::Both);
        // Wakes the thread that waits for frames.
        let _ = UnixDatagram::unbound()?.send_to(&[], self.directory.join(CHIP));
        let _ = inward.join();
        match ended {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
            _ => Ok(()),
        }
    }
}

const CHIP: &str = "chip.sock";
const QEMU: &str = "qemu.sock";

/// A chip that is plugged in.
struct Port {
    chip: Mutex<Lan9514>,
    answers: Mutex<Answers<UnixStream>>,
}

impl Port {
    fn chip(&self) -> std::sync::MutexGuard<'_, Lan9514> {
        self.chip.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answers(&self) -> std::sync::MutexGuard<'_, Answers<UnixStream>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Frames from the lab to the machine, until it has gone.
    fn carry(&self, cable: &UnixDatagram, machine: &UnixStream) -> io::Result<()> {
        let mut frame = [0; FRAME_LIMIT];
        loop {
            let length = cable.recv(&mut frame)?;
            if length == 0 {
                return Ok(());
            }
            self.chip().arrived(&frame[..length]);
            if self.answer().is_err() {
                return machine.shutdown(Shutdown::Both);
            }
        }
    }

    /// What the machine wants, until it has gone.
    fn attend(&self, machine: &mut UnixStream, cable: &UnixDatagram, qemu: &Path) -> io::Result<()> {
        loop {
            let (id, wish) = redirection::hear(machine)?;
            match wish {
                Wish::Control(setup, data) => {
                    let (status, read) = self.chip().control(setup, &data);
                    self.answers().control(id, setup, status, &read)?;
                }
                Wish::Read(bytes) => self.chip().wished(id, bytes),
                Wish::Write(bytes) => {
                    let frames = self.chip().written(&bytes);
                    self.answers().wrote(id, BULK_OUT, bytes.len())?;
                    for frame in frames {
                        // As a cable: what nobody takes is lost.
                        let _ = cable.send_to(&frame, qemu);
                    }
                }
                Wish::Cancel => {
                    if self.chip().cancelled(id) {
                        self.answers().read(id, BULK_IN, Status::Cancelled, &[])?;
                    }
                }
                Wish::Reset => {}
                Wish::Formality { reply, text } => self.answers().formality(id, reply, &text)?,
            }
            self.answer()?;
        }
    }

    /// Gives the machine what it waits for. In the order of the frames: nobody else may answer meanwhile.
    fn answer(&self) -> io::Result<()> {
        let mut chip = self.chip();
        while let Some((id, frames)) = chip.answer() {
            self.answers().read(id, BULK_IN, Status::Success, &frames)?;
        }
        Ok(())
    }
}
