//! The running transfers of one thread, from one socket.

use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::sync::Arc;

use cluster::phase::Step;
use cluster::{Mac, Phase};
use netboot::tftp::{Code, Mode, Outcome, Pace, Request, Send, Transfer, error_packet, to_netascii};

use super::outbox::Outbox;
use super::place::{Place, line_up};
use crate::files::Missing;
use crate::head::BootFile;

/// The most transfers at a time. A request over it takes the place of the oldest transfer of which nothing was ever heard,
/// as requests with forged addresses leave them behind, or is met by silence, and the client asks again. As many as a hall of
/// boards has: U-Boot with lwIP waits 1 s for its boot configuration, which must not stand behind others' kernels.
const TRANSFERS_LIMIT: usize = 1_024;
/// The most transfers at a time to one address: firmware probes files and leaves transfers behind.
const TRANSFERS_PER_CLIENT_LIMIT: usize = 8;
/// The most bytes of files that are in memory for one transfer each, of each thread: boot configurations and texts. Of an
/// image's files and the operator's there is one copy.
const BYTES_LIMIT: usize = 64 * 1024 * 1024;
/// The longest file that is translated to netascii: a text, in bytes.
const TEXT_LIMIT: usize = 4 * 1024 * 1024;
/// A file of so many bytes is there at once and never stands in line: a boot configuration, a device tree.
const SMALL_BYTES: usize = 64 * 1024;
/// The least time between two progress reports of a transfer, in milliseconds.
const PROGRESS_PAUSE_MS: u64 = 250;

/// Tells the head how a transfer goes.
pub(super) type Tell = Box<dyn Fn(Mac, Phase, Step) + std::marker::Send>;

/// See the module.
pub(super) struct Desk {
    running: HashMap<SocketAddrV4, Running>,
    /// The requests whose file is being looked for.
    asked: HashMap<SocketAddrV4, Request>,
    tell: Tell,
}

struct Running {
    request: Request,
    transfer: Transfer,
    bytes: Arc<Vec<u8>>,
    /// How many bytes are in memory for this transfer alone.
    own_bytes: usize,
    node: Option<(Mac, Phase)>,
    /// Its place in the line of all large files.
    place: Option<Place>,
    /// When it began, milliseconds.
    began_ms: u64,
    /// Whether the client has said anything since: it is there.
    is_heard: bool,
    told_ms: u64,
    told_bytes: u64,
}

/// What is to be done about a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Find out what the file is, then [`Desk::begin`].
    Find,
    /// Nothing more.
    Done,
}

impl Desk {
    pub(super) fn new(tell: Tell) -> Self {
        Self { running: HashMap::new(), asked: HashMap::new(), tell }
    }

    /// Takes a request. One that is repeated before its answer was acknowledged has its answer repeated; otherwise a
    /// client that uses its port again has forgotten the transfer before.
    pub(super) fn request(
        &mut self,
        client: SocketAddrV4,
        request: Request,
        now_ms: u64,
        outbox: &mut Outbox,
    ) -> Next {
        if self.asked.get(&client) == Some(&request) {
            return Next::Done;
        }
        if let Some(running) = self.running.get_mut(&client) {
            if running.request == request
                && let Some(send) = running.transfer.repeat(now_ms)
            {
                running.send(send, client, outbox);
                return Next::Done;
            }
            let step = if running.transfer.is_all_sent() { Step::Done } else { Step::Failed };
            self.end(client, step);
        }
        let others = self.running.keys().chain(self.asked.keys());
        let own = others.filter(|other| other.ip() == client.ip()).count();
        let is_full = self.running.len() + self.asked.len() >= TRANSFERS_LIMIT;
        if own >= TRANSFERS_PER_CLIENT_LIMIT || (is_full && !self.make_place()) {
            tracing::debug!(
                "TFTP request of {client} for {} left unanswered: too many are running",
                request.path
            );
            return Next::Done;
        }
        self.asked.insert(client, request);
        Next::Find
    }

    /// The file of a request was found, or there is none: an ERROR to send instead. Nothing, if the client has asked for
    /// something else since.
    pub(super) fn begin(
        &mut self,
        client: SocketAddrV4,
        request: Request,
        found: Result<(BootFile, Pace), Missing>,
        now_ms: u64,
        outbox: &mut Outbox,
    ) -> Option<Vec<u8>> {
        if self.asked.get(&client) != Some(&request) {
            return None;
        }
        self.asked.remove(&client);
        let (BootFile { bytes, node, is_shared, .. }, pace) = match found {
            Ok(found) => found,
            Err(Missing::NoFile) => {
                tracing::debug!("{client} asked for {}, which is not served", request.path);
                return Some(error_packet(Code::FileNotFound, "no such file"));
            }
            Err(Missing::NoRoom) => {
                tracing::debug!("no room for {}, which {client} asked for", request.path);
                return Some(error_packet(Code::NotDefined, "no room for this file now: ask again"));
            }
        };
        let (bytes, is_shared) = match request.mode {
            Mode::Octet => (bytes, is_shared),
            Mode::Netascii if bytes.len() > TEXT_LIMIT => {
                return Some(error_packet(Code::NotDefined, "too long for netascii: ask for octet"));
            }
            Mode::Netascii => (Arc::new(to_netascii(&bytes)), false),
        };
        let own_bytes = if is_shared { 0 } else { bytes.len() };
        if self.memory() + own_bytes > BYTES_LIMIT {
            tracing::warn!("{client} has to wait for {}: transfers hold {BYTES_LIMIT} bytes", request.path);
            return None;
        }
        let (transfer, first) = Transfer::new(&request, bytes.len() as u64, pace, now_ms);
        let place = (bytes.len() > SMALL_BYTES).then(|| Place::new(pace, now_ms));
        let mut running = Running {
            request,
            transfer,
            bytes,
            own_bytes,
            node,
            place,
            began_ms: now_ms,
            is_heard: false,
            told_ms: now_ms,
            told_bytes: 0,
        };
        running.send(first, client, outbox);
        self.running.insert(client, running);
        self.tell(node, Step::Started);
        None
    }

    /// Takes a client's packet. One that belongs to no transfer is met by silence and not by ERROR 5, which RFC 1350
    /// suggests: lwIP asks for all its files from one port, and a late ACK of the last one would end the next.
    pub(super) fn packet(&mut self, client: SocketAddrV4, packet: &[u8], now_ms: u64, outbox: &mut Outbox) {
        let Some(running) = self.running.get_mut(&client) else { return };
        running.is_heard = true;
        if !running.place.as_mut().is_some_and(|place| place.holds(packet, now_ms)) {
            let send = running.transfer.handle(packet, now_ms);
            running.send(send, client, outbox);
            self.settle(client);
        }
    }

    /// The clients who have waited long enough for what they acknowledged to be answered, or whose timer rang.
    pub(super) fn overdue(&mut self, now_ms: u64) -> Vec<SocketAddrV4> {
        line_up(self.running.values_mut().filter_map(|running| running.place.as_mut()), now_ms);
        let due = |running: &Running| match &running.place {
            Some(place) if place.is_holding() => place.is_due(now_ms),
            _ => running.transfer.poll_at().is_some_and(|at_ms| at_ms <= now_ms),
        };
        self.running.iter().filter(|(_, running)| due(running)).map(|(client, _)| *client).collect()
    }

    /// Sends a client what is overdue, or gives it up.
    pub(super) fn poll(&mut self, client: SocketAddrV4, now_ms: u64, outbox: &mut Outbox) {
        if let Some(running) = self.running.get_mut(&client) {
            let send = match running.place.as_mut().and_then(|place| place.release(now_ms)) {
                Some(ack) => running.transfer.handle(&ack, now_ms),
                None => running.transfer.poll(now_ms),
            };
            running.send(send, client, outbox);
            self.settle(client);
        }
    }

    /// Tells how far the transfers are.
    pub(super) fn progress(&mut self, now_ms: u64) {
        for running in self.running.values_mut() {
            let (done, total) = running.transfer.progress();
            if now_ms >= running.told_ms + PROGRESS_PAUSE_MS && done > running.told_bytes {
                (running.told_ms, running.told_bytes) = (now_ms, done);
                if let Some((mac, phase)) = running.node {
                    (self.tell)(mac, phase, Step::Progress { done, total });
                }
            }
        }
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Ends a transfer that is over.
    fn settle(&mut self, client: SocketAddrV4) {
        let Some(running) = self.running.get(&client) else { return };
        let path = &running.request.path;
        let step = match running.transfer.outcome() {
            None => return,
            Some(Outcome::Complete | Outcome::Unconfirmed) => {
                tracing::debug!("{client} has {path}");
                Step::Done
            }
            Some(Outcome::Aborted { code, message }) => {
                tracing::debug!("{client} ended {path} with error {code}: {message}");
                Step::Failed
            }
            Some(Outcome::TimedOut) => {
                tracing::warn!("{client} fell silent while it fetched {path}");
                Step::Failed
            }
        };
        self.end(client, step);
    }

    /// Ends the oldest transfer of which nothing was ever heard: true if there was one.
    fn make_place(&mut self) -> bool {
        let unheard = self.running.iter().filter(|(_, running)| !running.is_heard);
        let oldest = unheard.min_by_key(|(_, running)| running.began_ms).map(|(client, _)| *client);
        if let Some(client) = oldest {
            tracing::debug!("{client} was never heard: another has its place");
            self.end(client, Step::Failed);
        }
        oldest.is_some()
    }

    fn end(&mut self, client: SocketAddrV4, step: Step) {
        if let Some(running) = self.running.remove(&client) {
            self.tell(running.node, step);
        }
    }

    fn tell(&self, node: Option<(Mac, Phase)>, step: Step) {
        if let Some((mac, phase)) = node {
            (self.tell)(mac, phase, step);
        }
    }

    fn memory(&self) -> usize {
        self.running.values().map(|running| running.own_bytes).sum()
    }
}

impl Running {
    fn send(&mut self, send: Send, client: SocketAddrV4, outbox: &mut Outbox) {
        let size = self.transfer.packet_bytes();
        match send {
            Send::Nothing => {}
            Send::Oack(packet) => outbox.buffer(client, size.max(packet.len())).extend(packet),
            Send::Blocks(blocks) => {
                let mut next = blocks.start;
                while next < blocks.end {
                    let end = blocks.end.min(next + Outbox::room(size));
                    let buffer = outbox.buffer(client, size);
                    (next..end).for_each(|block| self.transfer.write_block(block, &self.bytes, buffer));
                    next = end;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const ACK_1: [u8; 4] = [0, 4, 0, 1];
    /// More than are served at once.
    const CLIENTS: u16 = 40;

    fn client(number: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, number as u8), 2_000)
    }

    /// A desk where each client began to fetch a file of so many bytes a millisecond after the one before, from 0 on.
    fn desk(bytes: usize) -> Desk {
        let mut desk = Desk::new(Box::new(|_, _, _| ()));
        let bytes = Arc::new(vec![0; bytes]);
        for number in 0..CLIENTS {
            let request = Request::parse(b"\0\x01kernel\0octet\0").expect("a request");
            let (now_ms, mut outbox) = (number.into(), Outbox::new());
            assert_eq!(desk.request(client(number), request.clone(), now_ms, &mut outbox), Next::Find);
            let found = Ok((BootFile::plain(bytes.clone(), None), Pace::Quick));
            assert_eq!(desk.begin(client(number), request, found, now_ms, &mut outbox), None);
        }
        desk.overdue(50);
        desk
    }

    /// Whether the client's ACK of its first block has it sent the next one.
    fn is_answered(desk: &mut Desk, number: u16, now_ms: u64) -> bool {
        let mut outbox = Outbox::new();
        desk.packet(client(number), &ACK_1, now_ms, &mut outbox);
        // A single packet is sent at once.
        outbox.is_due()
    }

    #[test]
    fn who_came_late_waits_for_its_next_block_and_has_it_before_it_gives_up() {
        let mut desk = desk(SMALL_BYTES + 1);
        let late = CLIENTS - 1;
        assert!(is_answered(&mut desk, 0, 60));
        assert!(!is_answered(&mut desk, late, 60));
        // Its timer, which would send the first block again, does not ring meanwhile.
        desk.overdue(300);
        assert!(!desk.overdue(309).contains(&client(late)));
        assert!(desk.overdue(310).contains(&client(late)));
        let mut outbox = Outbox::new();
        desk.poll(client(late), 310, &mut outbox);
        assert!(outbox.is_due());
        assert_eq!(desk.running[&client(late)].transfer.progress().0, 512);
    }

    /// As a kernel and its initramfs in one file: nobody else has it.
    #[test]
    fn a_file_of_an_image_may_be_longer_than_what_transfers_may_have_for_themselves() {
        let begins = |is_shared| {
            let mut desk = Desk::new(Box::new(|_, _, _| ()));
            let mut outbox = Outbox::new();
            let request = Request::parse(b"\0\x01kernel\0octet\0").expect("a request");
            desk.request(client(1), request.clone(), 0, &mut outbox);
            let file = BootFile::plain(Arc::new(vec![0; BYTES_LIMIT + 1]), None);
            let found = Ok((BootFile { is_shared, ..file }, Pace::Quick));
            desk.begin(client(1), request, found, 0, &mut outbox);
            !desk.is_idle()
        };
        assert!(begins(true));
        assert!(!begins(false));
    }

    /// Twenty-seven forged requests a second once filled all places, and every board met silence.
    #[test]
    fn transfers_of_which_nothing_was_heard_make_place_for_others() {
        let mut desk = desk(SMALL_BYTES);
        for number in 0..CLIENTS {
            assert!(is_answered(&mut desk, number, 60));
        }
        let request = Request::parse(b"\0\x01kernel\0octet\0").expect("a request");
        let forged = |number: usize| SocketAddrV4::new(Ipv4Addr::from_bits(number as u32), 2_000);
        let begin = |desk: &mut Desk, client: SocketAddrV4, now_ms| {
            let mut outbox = Outbox::new();
            let next = desk.request(client, request.clone(), now_ms, &mut outbox);
            let found = Ok((BootFile::plain(Arc::new(vec![0; 1_000]), None), Pace::Quick));
            desk.begin(client, request.clone(), found, now_ms, &mut outbox);
            next
        };
        for number in 0..2 * TRANSFERS_LIMIT {
            assert_eq!(begin(&mut desk, forged(number), 100 + number as u64), Next::Find);
        }
        assert_eq!(desk.running.len(), TRANSFERS_LIMIT);
        let there = |desk: &Desk, client: SocketAddrV4| desk.running.contains_key(&client);
        assert!((0..CLIENTS).all(|number| there(&desk, client(number))), "who was heard stays");
        assert!(!there(&desk, forged(0)) && there(&desk, forged(2 * TRANSFERS_LIMIT - 1)));
        let clients: Vec<SocketAddrV4> = desk.running.keys().copied().collect();
        for client in clients {
            desk.packet(client, b"\0\x04\0\0", 5_000, &mut Outbox::new());
        }
        assert_eq!(begin(&mut desk, client(CLIENTS), 5_000), Next::Done, "all are there: it asks again");
    }

    #[test]
    fn a_small_file_never_waits() {
        let mut desk = desk(SMALL_BYTES);
        assert!(is_answered(&mut desk, CLIENTS - 1, 60));
    }
}
