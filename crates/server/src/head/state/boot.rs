//! A boot begins: its token, its plan, and the files that its boot loader fetches.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use cluster::life::{Life, LifeNumber};
use cluster::phase::Step;
use cluster::plan::{NodePlan, USER_DATA_PARAMETER, Wipe, WipePolicy};
use cluster::{BootPlan, BootToken, Digest, Mac, Phase};
use netboot::dhcp::Profile;
use netboot::pxelinux::{self, Unwritable, Wanted};
use sha2::{Digest as _, Sha256};

use super::State;
use super::bearer::hash;
use crate::artefacts::{Image, ImageFile};
use crate::head::BootFile;
use crate::head::news::Topic;
use crate::head::node::{Node, Reserve};
use crate::store::Write;

/// What a client gets by TFTP.
#[derive(Debug)]
pub(in crate::head) enum Served {
    /// Made for it.
    Made(BootFile),
    /// A file of an image, which the state's task does not read; whose boot it belongs to, and which phase its transfer is.
    OfImage(Arc<ImageFile>, Option<(Mac, Phase)>),
}

impl State {
    /// A boot begins, if this is not one that goes on; a machine never seen is enrolled.
    pub(in crate::head) fn begin_boot(&mut self, mac: Mac) {
        if !self.nodes.contains_key(&mac) {
            let name = self.free_name(mac);
            self.nodes.insert(mac, Node::new(mac, name));
            self.unheard.topic(Topic::Nodes);
        }
        let Some(node) = self.nodes.get_mut(&mac) else { return };
        if node.begin_boot(self.now_ms) {
            self.take_name(mac);
            let Some(node) = self.nodes.get(&mac) else { return };
            let oldest = node.oldest_boot();
            self.writes.push(Write::Trim(mac, oldest));
            self.note(mac, self.now_ms, Phase::Address, Step::Started, String::new());
            self.remember(mac);
        }
    }

    pub(in crate::head) fn boot_file(&mut self, path: &str, client: Ipv4Addr) -> Option<Served> {
        let holder = self.dhcp.leases.holder(client, self.now_ms).map(|lease| lease.mac);
        match pxelinux::wanted(path)? {
            Wanted::Plan(mac) if holder == Some(mac) => self.plan(mac, client).map(Served::Made),
            Wanted::Plan(_) => None,
            Wanted::Kernel(digits) => self.kernel(&digits, holder),
            Wanted::Initramfs(digits) => self.initramfs(&digits, holder),
            Wanted::OneFile(digits) => {
                let file = self.images.by_digits(&digits)?.one_file.clone()?;
                Some(Served::OfImage(file, holder.map(|mac| (mac, Phase::Kernel))))
            }
        }
    }

    /// The kernel of the image whose id begins with these digits.
    pub(super) fn kernel(&self, digits: &str, holder: Option<Mac>) -> Option<Served> {
        let image = self.images.by_digits(digits)?;
        Some(Served::OfImage(image.kernel.clone(), holder.map(|mac| (mac, Phase::Kernel))))
    }

    pub(super) fn initramfs(&self, digits: &str, holder: Option<Mac>) -> Option<Served> {
        let image = self.images.by_digits(digits)?;
        Some(Served::OfImage(image.initramfs.clone(), holder.map(|mac| (mac, Phase::Initramfs))))
    }

    /// The image that a node gets when it boots next.
    pub(in crate::head) fn image_for(&self, mac: Mac) -> Option<Arc<Image>> {
        self.nodes.get(&mac).map(|node| self.images.of(node.image.as_deref()).clone())
    }

    /// The boot configuration with the boot's token.
    fn plan(&mut self, mac: Mac, client: Ipv4Addr) -> Option<BootFile> {
        self.begin_boot(mac);
        let Reserve { token, turn, .. } = self.give_reserve(mac)?;
        let image = self.image_for(mac)?;
        let plan = self.boot_plan(mac, client, &token, &image)?;
        let text = self.written(mac, pxelinux::render(&plan))?;
        let node = self.nodes.get_mut(&mac)?;
        node.open_with(Some(hash(&token)));
        node.kept.user_data_done = false;
        node.kept.image = Some(image.id);
        self.note(mac, self.now_ms, Phase::Address, Step::Done, client.to_string());
        self.note_plan(mac);
        self.remember(mac);
        let is_promise = !self.turns.is_written(turn);
        Some(BootFile { is_promise, ..BootFile::plain(Arc::new(text.into_bytes()), None) })
    }

    /// Makes the token of the boot that a boot loader begins by asking for its address. The token goes to the disk with
    /// the lease, before the ACK, so that the plan that carries it need not wait for the disk: U-Boot with lwIP waits for
    /// one second, and then asks for its address again. Nobody knows the token before the plan is fetched.
    pub(super) fn reserve_token(&mut self, mac: Mac) {
        let (now_ms, turn) = (self.now_ms, self.turns.current());
        let Some(node) = self.nodes.get_mut(&mac) else { return };
        if node.profile == Profile::System
            || node.reserve.as_ref().is_some_and(|reserve| !reserve.is_given)
            || node.has_token_on_its_way(now_ms)
        {
            return;
        }
        let Some(token) = new_token() else { return };
        node.kept.offered_hash = Some(hash(&token));
        node.reserve = Some(Reserve { token, turn, is_given: false });
        self.remember(mac);
    }

    /// The reserved token, or a new one: the node got its address from another server, or used its last token.
    pub(super) fn give_reserve(&mut self, mac: Mac) -> Option<Reserve> {
        let turn = self.turns.current();
        let reserve = &mut self.nodes.get_mut(&mac)?.reserve;
        if reserve.is_none() {
            *reserve = Some(Reserve { token: new_token()?, turn, is_given: true });
        }
        let reserve = reserve.as_mut()?;
        reserve.is_given = true;
        Some(reserve.clone())
    }

    /// What a node gets this time, with the token that opens it.
    pub(super) fn boot_plan(
        &mut self,
        mac: Mac,
        client: Ipv4Addr,
        token: &BootToken,
        image: &Image,
    ) -> Option<BootPlan> {
        let head = SocketAddrV4::new(self.dhcp.settings.server, self.settings.network.http_port);
        let wipe = self.wipe(mac)?;
        let own = format!("http://{head}/boot/{}/user-data", token.expose());
        let user_data_url = self.settings.user_data.url.clone().unwrap_or(own);
        let subnet = self.dhcp.settings.subnet_of(client)?;
        Some(BootPlan {
            kernel: pxelinux::kernel_path(&image.id),
            initramfs: pxelinux::initramfs_path(&image.id),
            one_file: image.one_file.as_ref().map(|_| pxelinux::one_file_path(&image.id)),
            kernel_parameters: self.settings.boot.kernel_parameters.clone(),
            node: NodePlan {
                name: self.nodes.get(&mac)?.kept.name.clone(),
                address: client,
                prefix: subnet.prefix,
                gateway: subnet.router,
                dns: self.dhcp.settings.dns,
                head,
                system: image.system_sha256,
                system_bytes: image.system_bytes,
                verity: image.verity,
                root: self.nodes.get(&mac)?.root.unwrap_or(self.settings.boot.root),
                wipe,
                keep: self.nodes.get(&mac)?.keep,
                user_data_url,
                user_data_secs: self.settings.user_data.limit_secs,
                token: token.clone(),
            },
        })
    }

    /// What is to happen to a node's data. Reads and renders its user data where the answer hangs on it; user data that
    /// cannot be rendered is no reason to keep anything.
    fn wipe(&mut self, mac: Mac) -> Option<Wipe> {
        let node = self.nodes.get(&mac)?;
        if node.wipe.unwrap_or(self.settings.boot.wipe) == WipePolicy::Always
            // Whoever changes user data on another server does not tell us.
            || self.settings.user_data.url.is_some()
        {
            return Some(Wipe::Always);
        }
        let wanted = self.user_data(node);
        let text = wanted.rendered();
        let Ok(text) =
            text.inspect_err(|error| tracing::error!(node = %node.kept.name, "user data: {error:#}"))
        else {
            return Some(Wipe::Always);
        };
        let number = match node.kept.life {
            Some(number) => number,
            // The caller remembers the node before it is told.
            None => *self.nodes.get_mut(&mac)?.kept.life.insert(LifeNumber(random()?)),
        };
        Some(Wipe::OnChange(Life { user_data: Digest(Sha256::digest(text.as_bytes()).into()), number }))
    }

    /// The text for a boot loader; if there is none, the timeline says why.
    pub(super) fn written(&mut self, mac: Mac, text: Result<String, Unwritable>) -> Option<String> {
        text.inspect_err(|error| self.note(mac, self.now_ms, Phase::Plan, Step::Failed, error.to_string()))
            .ok()
    }

    pub(super) fn note_plan(&mut self, mac: Mac) {
        let made = format!("boot token and {USER_DATA_PARAMETER} made");
        self.note(mac, self.now_ms, Phase::Plan, Step::Done, made);
    }

    pub(in crate::head) fn transferred(&mut self, mac: Mac, phase: Phase, step: Step) {
        if self.is_look(mac, phase, step) {
            return;
        }
        self.note(mac, self.now_ms, phase, step, String::new());
    }
}

/// A token of its own for every boot.
pub(super) fn new_token() -> Option<BootToken> {
    random().map(BootToken::new)
}

fn random() -> Option<[u8; 16]> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).inspect_err(|error| tracing::error!("no random bytes: {error}")).ok()?;
    Some(random)
}
