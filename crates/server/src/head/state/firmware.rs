//! A boot without a card: what the board's own firmware is given, and when its boot counts.
//!
//! Firmware opens files only to see whether they are there, asks for some twice, and starts over when a packet was lost;
//! and any host on the wire can send a request in another's name, whose answer it does not see. So nothing that is merely
//! asked for ends the life of a node that runs:
//!
//! ```text
//!   an address is asked for by firmware ─────► a token is made, and is on disk before the address is told
//!   cmdline.txt, kernel or initramfs asked ──► a boot begins on the timeline; the token is offered in cmdline.txt, the
//!                                              same one however often it is asked
//!   the offered token is used (report, user  ► the boot is the node's: its last token, its facts and its orders
//!   data), from the node's address             are gone
//!   neither within ten minutes ──────────────► the next request begins another boot with another token
//! ```
//!
//! Who asks is the holder of the address's lease; what a board writes before a file's name proves nothing, but an address
//! of another board there is refused.

use std::net::Ipv4Addr;
use std::sync::Arc;

use cluster::phase::Step;
use cluster::{Mac, Phase};
use netboot::firmware::{self, Asked, File, Prefix};
use netboot::pxelinux;

use super::bearer::hash;
use super::{Served, State};
use crate::artefacts::Image;
use crate::head::BootFile;
use crate::head::node::{CommandLine, Reserve};
use crate::store::Write;

impl State {
    pub(in crate::head) fn firmware_file(&mut self, asked: Asked, client: Ipv4Addr) -> Option<Served> {
        let mac = self.dhcp.leases.holder(client, self.now_ms)?.mac;
        if matches!(asked.prefix, Prefix::Address(other) if other != mac) {
            return None;
        }
        let image = self.image_for(mac).unwrap_or_else(|| self.images.of(None).clone());
        if image.firmware.is_empty() {
            self.say_what_lacks(mac, client);
            return None;
        }
        let file = match asked.file {
            File::Firmware(name) => {
                return image.firmware.get(&name).map(|file| Served::OfImage(file.clone(), None));
            }
            File::Configuration => Served::Made(self.configuration(mac, &image)?),
            File::CommandLine => Served::Made(self.command_line(mac, client, &image)?),
            File::Kernel(digits) => {
                let kernel = self.kernel(&digits, Some(mac))?;
                self.begin_firmware_boot(mac, client);
                kernel
            }
            File::Initramfs(digits) => {
                let initramfs = self.initramfs(&digits, Some(mac))?;
                self.begin_firmware_boot(mac, client);
                initramfs
            }
        };
        Some(file)
    }

    fn configuration(&mut self, mac: Mac, image: &Image) -> Option<BootFile> {
        let (kernel, initramfs) = (pxelinux::kernel_path(&image.id), pxelinux::initramfs_path(&image.id));
        let text = firmware::configuration(&kernel, &initramfs);
        let text = self.written(mac, text)?;
        Some(BootFile::plain(Arc::new(text.into_bytes()), None))
    }

    /// `cmdline.txt` of the boot that is under way, with the token that is offered.
    fn command_line(&mut self, mac: Mac, client: Ipv4Addr, image: &Image) -> Option<BootFile> {
        self.begin_firmware_boot(mac, client);
        let under_way = self.nodes.get(&mac)?.firmware.as_ref()?;
        if let Some(CommandLine { bytes, turn, .. }) = under_way.command_line.clone() {
            let is_promise = !self.turns.is_written(turn);
            return Some(BootFile { is_promise, ..BootFile::plain(bytes, None) });
        }
        let Reserve { token, turn, .. } = self.give_reserve(mac)?;
        let plan = self.boot_plan(mac, client, &token, image)?;
        let text = self.written(mac, firmware::command_line(&plan))?;
        let bytes = Arc::new(text.into_bytes());
        let node = self.nodes.get_mut(&mac)?;
        // The text itself is kept for whoever asks again.
        node.reserve = None;
        node.kept.offered_hash = Some(hash(&token));
        node.firmware.as_mut()?.command_line =
            Some(CommandLine { bytes: bytes.clone(), turn, image: image.id });
        self.note_plan(mac);
        self.remember(mac);
        let is_promise = !self.turns.is_written(turn);
        Some(BootFile { is_promise, ..BootFile::plain(bytes, None) })
    }

    fn begin_firmware_boot(&mut self, mac: Mac, client: Ipv4Addr) {
        let Some(node) = self.nodes.get_mut(&mac) else { return };
        if node.begin_firmware_boot(self.now_ms) {
            let oldest = node.oldest_boot();
            self.writes.push(Write::Trim(mac, oldest));
            self.note(mac, self.now_ms, Phase::Address, Step::Done, client.to_string());
            self.remember(mac);
        }
    }

    /// Once for each boot: a board asks for a dozen files, and starts over for ever.
    fn say_what_lacks(&mut self, mac: Mac, client: Ipv4Addr) {
        self.begin_firmware_boot(mac, client);
        let said = self.nodes.get(&mac).and_then(|node| node.latest.as_ref());
        if !matches!(said, Some((Phase::Plan, Step::Failed, _))) {
            let advice = "it boots without a card, and the image has no firmware for that: name the package in \
                          image.toml, as [firmware] with a line package = \"raspi-firmware\", and build the image anew";
            self.note(mac, self.now_ms, Phase::Plan, Step::Failed, advice.to_owned());
        }
    }

    /// Whether a transfer is no step of a boot: firmware opens kernel and initramfs to see whether they are there, breaks
    /// the transfer off and comes again.
    pub(super) fn is_look(&self, mac: Mac, phase: Phase, step: Step) -> bool {
        let Some(node) = self.nodes.get(&mac).filter(|node| node.firmware.is_some()) else { return false };
        let known = node.latest.as_ref().is_some_and(|(latest, ..)| *latest == phase);
        step == Step::Failed || (step == Step::Started && known)
    }
}

#[cfg(test)]
mod tests;
