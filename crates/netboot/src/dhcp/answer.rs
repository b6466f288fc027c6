//! What a DHCP client is told.
//!
//! ```text
//!   DISCOVER ────────────────► OFFER (the address is held for a minute; what the client has stays its own)
//!   REQUEST  selecting ──────► ACK, or silence if another server was chosen
//!            init-reboot ────► ACK, or NAK if the address is not this node's
//!            renewing, rebinding ──► ACK, or NAK
//!   DECLINE, RELEASE ────────► noted        INFORM ──► ACK without an address
//! ```
//!
//! All of that can be forged by any host on the wire. The head tells us which machines it has heard, by something that only
//! they know ([`Leases::hear`]): such a one runs, and no DISCOVER, DECLINE or RELEASE in its name takes its address away.

use std::net::{Ipv4Addr, SocketAddrV4};

use cluster::Mac;

use super::describe::{describe, describe_pxe};
use super::leases::{Granted, Lease, Leases};
use super::pace::Pace;
use super::packet::{Kind, Request, option};
use super::reply::{Reply, ReplyKind};
use super::settings::{Mode, Settings, Subnet};

/// The port DHCP clients listen on.
const CLIENT_PORT: u16 = 68;
/// The port relays listen on (RFC 2131 section 4.1).
const RELAY_PORT: u16 = 67;
/// How long an offered address is held for its client, in milliseconds.
const OFFER_HELD_MS: u64 = 60_000;
/// How long a lease runs that was taken without a REQUEST, in milliseconds. The node's first report, minutes later, makes
/// it a full one ([`Leases::renew`]); of one packet that anybody can send, nothing is left then.
const TAKEN_OFFER_MS: u64 = 10 * 60 * 1_000;

/// Who asks, as the head knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing<'a> {
    /// A node.
    Node {
        /// Its address from the configuration, if it has one.
        fixed: Option<Ipv4Addr>,
        /// Its name without the domain; empty if it has none yet.
        name: &'a str,
    },
    /// Not a node.
    Stranger,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What has to be on disk before anything is sent.
    pub change: Option<Change>,
    /// What to send, or why nothing.
    pub reply: Result<Packet, Why>,
}

/// A change of the leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A machine has this lease now, and another may have lost its own.
    Lease(Granted),
    /// A machine has none.
    NoLease(Mac),
}

/// A packet to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Where to; 255.255.255.255 is a broadcast on the cluster's interface.
    pub to: SocketAddrV4,
    /// How long to wait before it is sent, in milliseconds.
    pub delay_ms: u64,
    /// An address on the cluster's own wire that nobody may be using: to be asked for by ARP first (RFC 2131 section
    /// 3.1, step 2). If somebody answers, nothing is sent, and [`Server::in_use`] is told.
    pub probe: Option<Ipv4Addr>,
}

/// Why nothing is sent.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Why {
    /// The machine is no node.
    #[error("not a node")]
    Stranger,
    /// It came through a relay from a network that is not the cluster's.
    #[error("came from the relay {0}, whose network no [[subnet]] names")]
    UnknownRelay(Ipv4Addr),
    /// The client talks to another server.
    #[error("the client chose the server {0}")]
    OtherServer(Ipv4Addr),
    /// There is no address left.
    #[error("no address is left in the pool: make [network] pool larger")]
    PoolExhausted,
    /// The client found this address in use; it gets another.
    #[error("the client found {0} in use by another machine")]
    Declined(Ipv4Addr),
    /// The client gave its address back.
    #[error("released")]
    Released,
    /// It runs at this address: it cannot have sent that, or did so before its reboot was over.
    #[error("it was heard from {0} a moment ago: forged, or its turn comes when it asks again")]
    Runs(Ipv4Addr),
    /// So many of its kind ask that its turn comes with its next try.
    #[error("its turn comes when it asks again")]
    NotYet,
    /// Another server gives the addresses, and this is none of our business.
    #[error("another server answers that")]
    NotOurs,
    /// The request contradicts itself or comes from outside the network.
    #[error("makes no sense")]
    Senseless,
}

/// The decisions, with what they rest on.
#[derive(Clone, Debug)]
pub struct Server {
    /// What is told of the networks.
    pub settings: Settings,
    /// Who has which address.
    pub leases: Leases,
    pace: Pace,
}

impl Server {
    /// A server that begins with these leases.
    pub fn new(settings: Settings, leases: Leases) -> Self {
        Self { settings, leases, pace: Pace::default() }
    }

    /// Decides on one request that came to port 67. `now_ms` is on the same clock as the leases.
    pub fn answer(&mut self, request: &Request, standing: Standing, now_ms: u64) -> Answer {
        self.decide(request, standing, now_ms).unwrap_or_else(|why| Answer { change: None, reply: Err(why) })
    }

    /// Decides on one request that came to port 4011, from this address: a client that has its address from another
    /// server, and asks what to boot (PXE specification 2.1, section 2.2.4).
    pub fn answer_pxe(&mut self, request: &Request, standing: Standing, from: SocketAddrV4) -> Answer {
        let asks = matches!(request.kind, Kind::Request | Kind::Inform) && request.profile.speaks_pxe();
        let known = standing != Standing::Stranger;
        let inside = self.settings.subnet_of(*from.ip()).is_some();
        let reply = match (known, asks && inside) {
            (false, _) => Err(Why::Stranger),
            (_, false) => Err(Why::Senseless),
            _ => Ok(Packet { to: from, ..self.proxied(request, ReplyKind::Ack, 0) }),
        };
        Answer { change: None, reply }
    }

    /// That machine answers at an address that was about to be offered to another: nobody gets it for a while. If it is
    /// the node whose lease it is, that runs there still and keeps it.
    pub fn in_use(&mut self, address: Ipv4Addr, by: Mac, now_ms: u64) -> Option<Change> {
        if self.leases.of(by).is_some_and(|lease| lease.address == address) {
            self.leases.hear(by, now_ms);
            return None;
        }
        // A ROM has its lease with the OFFER, before anybody was asked.
        if let Some(lost) = self.leases.lost_by(by, address, now_ms) {
            let granted = self.leases.grant(lost, now_ms);
            self.leases.hear(by, now_ms);
            return granted.map(Change::Lease);
        }
        self.leases.avoid(address, now_ms).map(Change::NoLease)
    }

    fn decide(&mut self, request: &Request, standing: Standing, now_ms: u64) -> Result<Answer, Why> {
        let Standing::Node { fixed, name } = standing else { return Err(Why::Stranger) };
        let link = request.link();
        let subnet = match link.or(request.current) {
            Some(address) => self.settings.subnet_of(address),
            None => self.settings.subnets.first(),
        };
        let subnet = match (subnet, link) {
            (Some(subnet), _) => subnet.clone(),
            (None, Some(relay)) => return Err(Why::UnknownRelay(relay)),
            // An address of another network, on our wire: what the client has is wrong, and it is told so.
            (None, None) => self.settings.subnets.first().ok_or(Why::Senseless)?.clone(),
        };
        if let Some(server) = request.server.filter(|server| *server != self.settings.server) {
            return Err(Why::OtherServer(server));
        }
        if self.settings.mode == Mode::Proxy {
            return self.beside_another(request, now_ms);
        }
        // Behind a relay a node has an address of that network, whatever the configuration says of its own.
        let fixed = fixed.filter(|address| subnet.contains(*address));
        let Self { settings, leases, pace } = self;
        let mut desk = Desk { request, fixed, name, subnet: &subnet, settings, leases, pace, now_ms };
        match request.kind {
            Kind::Discover => desk.offer(),
            Kind::Request => desk.confirm(),
            Kind::Inform => desk.inform(),
            Kind::Decline => desk.decline(),
            Kind::Release => desk.release(),
        }
    }

    /// Adds to another server's OFFER what is needed to boot.
    fn beside_another(&mut self, request: &Request, now_ms: u64) -> Result<Answer, Why> {
        if request.kind != Kind::Discover || !request.profile.speaks_pxe() {
            return Err(Why::NotOurs);
        }
        let delay_ms = self.pace.delay(request.mac, request.profile, now_ms).ok_or(Why::NotYet)?;
        Ok(Answer { change: None, reply: Ok(self.proxied(request, ReplyKind::Offer, delay_ms)) })
    }

    /// A reply without an address.
    fn proxied(&self, request: &Request, kind: ReplyKind, delay_ms: u64) -> Packet {
        let mut reply = Reply::new(request, kind, self.settings.server);
        describe_pxe(&mut reply, request, &self.settings);
        let to = destination(request, None);
        Packet { bytes: reply.finish(request), to, delay_ms, probe: None }
    }
}

/// One request with all that is needed to decide on it.
struct Desk<'a> {
    request: &'a Request,
    fixed: Option<Ipv4Addr>,
    name: &'a str,
    subnet: &'a Subnet,
    settings: &'a Settings,
    leases: &'a mut Leases,
    pace: &'a mut Pace,
    now_ms: u64,
}

impl Desk<'_> {
    fn offer(&mut self) -> Result<Answer, Why> {
        let address = self.address().ok_or(Why::PoolExhausted)?;
        let is_taken = self.request.profile.takes_offer_for_ack();
        // A ROM asks five times, and by then its node is not heard any more.
        if let Some(runs_at) = self.runs_at().filter(|runs_at| is_taken && *runs_at != address) {
            return Err(Why::Runs(runs_at));
        }
        let (mac, profile) = (self.request.mac, self.request.profile);
        let delay_ms = self.pace.delay(mac, profile, self.now_ms).ok_or(Why::NotYet)?;
        // What has just been offered was asked for already, unless the answer is still awaited; the pump knows.
        let is_new = !self.has(address);
        let probe = (is_new && self.request.relay.is_none()).then_some(address);
        let bytes = self.addressed(ReplyKind::Offer, address);
        let packet = Packet { delay_ms, probe, ..self.packet(bytes) };
        let change = if is_taken {
            Some(self.grant(address, TAKEN_OFFER_MS.max(self.left_ms(address)))?)
        } else {
            self.hold(address)?;
            None
        };
        Ok(Answer { change, reply: Ok(packet) })
    }

    fn confirm(&mut self) -> Result<Answer, Why> {
        // Selecting and init-reboot name the address in option 50, renewing and rebinding in `ciaddr` (RFC 2131
        // section 4.3.2). What else they say of it is the same: it is this node's, or it is not.
        let wanted = self.request.requested.or(self.request.current).ok_or(Why::Senseless)?;
        // What we offered a moment ago is meant still.
        let offer = self.leases.offer_to(self.request.mac, self.now_ms);
        let is_agreed = offer == Some(wanted) && self.subnet.contains(wanted);
        if !is_agreed && self.address() != Some(wanted) {
            return Ok(self.refuse());
        }
        let change = self.grant(wanted, self.lease_ms())?;
        let bytes = self.addressed(ReplyKind::Ack, wanted);
        Ok(Answer { change: Some(change), reply: Ok(self.packet(bytes)) })
    }

    fn inform(&self) -> Result<Answer, Why> {
        let current = self.request.current.filter(|address| self.subnet.contains(*address));
        let mut reply = Reply::new(self.request, ReplyKind::Ack, self.settings.server);
        reply.current(current.ok_or(Why::Senseless)?);
        describe(&mut reply, self.request, self.settings, self.subnet, self.name);
        Ok(Answer { change: None, reply: Ok(self.packet(reply.finish(self.request))) })
    }

    /// The address is avoided only if it was the client's: otherwise one client could empty the pool.
    fn decline(&mut self) -> Result<Answer, Why> {
        let (mac, declined) = (self.request.mac, self.request.requested);
        let lease = self.leases.of(mac).map(|lease| lease.address);
        let offer = self.leases.offer_to(mac, self.now_ms);
        let address = lease.into_iter().chain(offer).find(|own| declined == Some(*own));
        let address = address.ok_or(Why::Senseless)?;
        // A client finds its address in use before it speaks from there (RFC 2131 section 3.1, step 5).
        if let Some(runs_at) = self.runs_at() {
            return Err(Why::Runs(runs_at));
        }
        let change = self.leases.avoid(address, self.now_ms).map(Change::NoLease);
        Ok(Answer { change, reply: Err(Why::Declined(address)) })
    }

    fn release(&mut self) -> Result<Answer, Why> {
        let held = self.leases.of(self.request.mac).map(|lease| lease.address);
        if held.is_none() || held != self.request.current {
            return Err(Why::Senseless);
        }
        if let Some(runs_at) = self.runs_at() {
            return Err(Why::Runs(runs_at));
        }
        let change = self.leases.release(self.request.mac, self.now_ms).map(Change::Lease);
        Ok(Answer { change, reply: Err(Why::Released) })
    }

    /// The address of this node: the fixed one, the one it had, the one it asks for, or any. Not the fixed one while
    /// somebody else runs there, who keeps it until it boots next: with one address for two neither would be heard.
    fn address(&self) -> Option<Ipv4Addr> {
        let (mac, now_ms) = (self.request.mac, self.now_ms);
        if let Some(fixed) = self.fixed.filter(|fixed| self.leases.is_vacant_for(mac, *fixed, now_ms)) {
            return Some(fixed);
        }
        let had = self.leases.of(self.request.mac).map(|lease| lease.address);
        let good = |address: &Ipv4Addr| {
            self.subnet.pool.contains(address)
                && self.settings.is_usable(self.subnet, *address)
                && self.leases.is_free_for(self.request.mac, *address, self.now_ms)
        };
        had.filter(good)
            .or(self.leases.offer_to(self.request.mac, self.now_ms).filter(good))
            .or(self.request.requested.filter(good))
            .or(self.request.current.filter(good))
            .or_else(|| {
                let usable = |address| self.settings.is_usable(self.subnet, address);
                self.leases.pick(self.request.mac, &self.subnet.pool, self.now_ms, usable)
            })
    }

    /// Keeps an offered address for its client for a while, unless it has it anyway.
    fn hold(&mut self, address: Ipv4Addr) -> Result<(), Why> {
        let mac = self.request.mac;
        if self.has(address) {
            self.leases.cut(mac, self.now_ms.saturating_add(self.lease_ms()));
            return Ok(());
        }
        let until_ms = self.now_ms.saturating_add(OFFER_HELD_MS);
        self.leases.offer(Lease { mac, address, until_ms }, self.now_ms).ok_or(Why::PoolExhausted)
    }

    /// Whether the client's lease of that address runs.
    fn has(&self, address: Ipv4Addr) -> bool {
        self.leases.holder(address, self.now_ms).is_some_and(|lease| lease.mac == self.request.mac)
    }

    /// How long the client's lease of that address runs on.
    fn left_ms(&self, address: Ipv4Addr) -> u64 {
        let lease = self.leases.of(self.request.mac).filter(|lease| lease.address == address);
        lease.map_or(0, |lease| lease.until_ms.saturating_sub(self.now_ms))
    }

    fn runs_at(&self) -> Option<Ipv4Addr> {
        self.leases.runs_at(self.request.mac, self.now_ms)
    }

    /// Notes a lease that runs so long from now. One that runs longer comes from a clock that was wrong: it is cut.
    fn grant(&mut self, address: Ipv4Addr, for_ms: u64) -> Result<Change, Why> {
        let until_ms = self.now_ms.saturating_add(for_ms.min(self.lease_ms()));
        let granted = self.leases.grant(Lease { mac: self.request.mac, address, until_ms }, self.now_ms);
        granted.map(Change::Lease).ok_or(Why::PoolExhausted)
    }

    fn lease_ms(&self) -> u64 {
        u64::from(self.settings.lease_secs) * 1_000
    }

    fn addressed(&self, kind: ReplyKind, address: Ipv4Addr) -> Vec<u8> {
        let mut reply = Reply::new(self.request, kind, self.settings.server);
        reply.your(address);
        if let (ReplyKind::Ack, Some(current)) = (kind, self.request.current) {
            reply.current(current);
        }
        reply.option(option::LEASE_TIME, &self.settings.lease_secs.to_be_bytes());
        describe(&mut reply, self.request, self.settings, self.subnet, self.name);
        reply.finish(self.request)
    }

    fn packet(&self, bytes: Vec<u8>) -> Packet {
        let current = self.request.current.filter(|address| self.settings.subnet_of(*address).is_some());
        Packet { bytes, to: destination(self.request, current), delay_ms: 0, probe: None }
    }

    /// A NAK is a broadcast (RFC 2131 section 4.1): the client's address is what is wrong.
    fn refuse(&self) -> Answer {
        let bytes = Reply::new(self.request, ReplyKind::Nak, self.settings.server).finish(self.request);
        let to = destination(self.request, None);
        Answer { change: None, reply: Ok(Packet { bytes, to, delay_ms: 0, probe: None }) }
    }
}

/// Where a reply goes: to the relay, to the address that the client uses, or to all. A client without an address cannot
/// be reached by unicast from an ordinary socket: the kernel would ask for it by ARP, and it could not answer.
fn destination(request: &Request, current: Option<Ipv4Addr>) -> SocketAddrV4 {
    match request.relay {
        Some(relay) => SocketAddrV4::new(relay, RELAY_PORT),
        None => SocketAddrV4::new(current.unwrap_or(Ipv4Addr::BROADCAST), CLIENT_PORT),
    }
}

#[cfg(test)]
mod tests;
