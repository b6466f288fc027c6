//! What a DHCP client is told.
//!
//! ```text
//!   DISCOVER ────────────────► OFFER (the address is held for a minute)
//!   REQUEST  selecting ──────► ACK, or silence if another server was chosen
//!            init-reboot ────► ACK, or NAK if the address is not this node's
//!            renewing, rebinding ──► ACK, or NAK
//!   DECLINE, RELEASE ────────► noted        INFORM ──► ACK without an address
//! ```

use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;

use cluster::plan::netmask;

use super::leases::{Lease, Leases};
use super::packet::{Kind, Profile, Reply, ReplyKind, Request};

/// The port DHCP clients listen on.
const CLIENT_PORT: u16 = 68;
/// How long an offered address is held for its client, in milliseconds.
const OFFER_HELD_MS: u64 = 60_000;
/// How long a reply to the Pi's ROM waits, in milliseconds: it can lock up when it is answered at once
/// (raspberrypi/firmware#764, #934), and asks again after 5 s.
const PI_ROM_DELAY_MS: u64 = 1_000;
/// `file`. Without a slash, because U-Boot puts the directory of this name before every name it asks for;
/// not empty, because some firmware does not boot without one. Nobody is meant to fetch it.
const BOOT_FILE: &str = "pxelinux.0";

const SUBNET_MASK: u8 = 1;
const ROUTER: u8 = 3;
const DNS_SERVER: u8 = 6;
const DOMAIN_NAME: u8 = 15;
const BROADCAST_ADDRESS: u8 = 28;
const VENDOR_OPTIONS: u8 = 43;
const LEASE_TIME: u8 = 51;
const VENDOR_CLASS: u8 = 60;

/// Option 43 for the Pi's ROM, without which it does not go on: PXE discovery control 3 (sub-option 6), a
/// menu prompt "PXE" (10) and a menu with the entry that the ROM looks for (9).
const PI_ROM_OPTIONS: &[u8] = b"\x06\x01\x03\x0a\x04\x00PXE\x09\x14\x00\x00\x11Raspberry Pi Boot\xff";

/// What the replies say of the network. All addresses are on the cluster's network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The head's own address: DHCP server, TFTP server.
    pub server: Ipv4Addr,
    /// Length of the network's prefix, 0 to 32.
    pub prefix: u8,
    /// The router, if there is one.
    pub router: Option<Ipv4Addr>,
    /// The resolver.
    pub dns: Ipv4Addr,
    /// The nodes' domain.
    pub domain: String,
    /// How long a lease runs, in seconds.
    pub lease_secs: u32,
    /// The addresses for nodes without a fixed one. Fixed addresses lie outside.
    pub pool: RangeInclusive<Ipv4Addr>,
}

/// Who asks, as the head knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A node.
    Node {
        /// Its address from the configuration, if it has one.
        fixed: Option<Ipv4Addr>,
    },
    /// Not a node.
    Stranger,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Send this.
    Reply {
        /// The packet.
        bytes: Vec<u8>,
        /// Where to; 255.255.255.255 is a broadcast on the cluster's interface.
        to: SocketAddrV4,
        /// A lease that has to be on disk before the packet is sent.
        lease: Option<Lease>,
        /// How long to wait before it is sent, in milliseconds.
        delay_ms: u64,
    },
    /// Send nothing.
    Ignore(Why),
}

/// Why nothing is sent.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Why {
    /// The machine is no node.
    #[error("not a node")]
    Stranger,
    /// The packet came through a relay: it is not of the cluster's network.
    #[error("came through a relay")]
    Relayed,
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
    /// The request contradicts itself or comes from outside the network.
    #[error("makes no sense")]
    Senseless,
}

/// Decides on one request. `now_ms` is on the same clock as the leases.
pub fn answer(
    request: &Request,
    standing: Standing,
    settings: &Settings,
    leases: &mut Leases,
    now_ms: u64,
) -> Answer {
    let Standing::Node { fixed } = standing else { return Answer::Ignore(Why::Stranger) };
    if request.relayed {
        return Answer::Ignore(Why::Relayed);
    }
    if let Some(server) = request.server.filter(|server| *server != settings.server) {
        return Answer::Ignore(Why::OtherServer(server));
    }
    let mut desk = Desk { request, fixed, settings, leases, now_ms };
    let answered = match request.kind {
        Kind::Discover => desk.offer(),
        Kind::Request => desk.confirm(),
        Kind::Inform => desk.inform(),
        Kind::Decline => Err(desk.decline()),
        Kind::Release => Err(desk.release()),
    };
    answered.unwrap_or_else(Answer::Ignore)
}

/// One request with all that is needed to decide on it.
struct Desk<'a> {
    request: &'a Request,
    fixed: Option<Ipv4Addr>,
    settings: &'a Settings,
    leases: &'a mut Leases,
    now_ms: u64,
}

impl Desk<'_> {
    fn offer(&mut self) -> Result<Answer, Why> {
        let address = self.address().ok_or(Why::PoolExhausted)?;
        // The Pi 3's ROM never sends a REQUEST: it takes the OFFER for an ACK, so a lease begins here.
        if self.request.profile == Profile::PiRom {
            let lease = self.grant(address, self.lease_ms())?;
            return Ok(self.reply(self.addressed(ReplyKind::Offer, address), Some(lease)));
        }
        self.grant(address, OFFER_HELD_MS)?;
        Ok(self.reply(self.addressed(ReplyKind::Offer, address), None))
    }

    fn confirm(&mut self) -> Result<Answer, Why> {
        // Selecting and init-reboot name the address in option 50, renewing and rebinding in `ciaddr`
        // (RFC 2131 section 4.3.2).
        let wanted = self.request.requested.or(self.request.current).ok_or(Why::Senseless)?;
        if self.address() != Some(wanted) {
            return Ok(self.refuse());
        }
        let lease = self.grant(wanted, self.lease_ms())?;
        Ok(self.reply(self.addressed(ReplyKind::Ack, wanted), Some(lease)))
    }

    fn inform(&self) -> Result<Answer, Why> {
        let current = self.request.current.filter(|address| self.settings.contains(*address));
        let current = current.ok_or(Why::Senseless)?;
        let mut reply = Reply::new(self.request, ReplyKind::Ack, self.settings.server);
        reply.current(current);
        self.describe_network(&mut reply);
        Ok(self.reply(reply, None))
    }

    /// The address is avoided only if it was the client's: otherwise one client could empty the pool.
    fn decline(&mut self) -> Why {
        let held = self.leases.of(self.request.mac).map(|lease| lease.address);
        match held {
            Some(address) if self.request.requested == held => {
                self.leases.decline(self.request.mac, self.now_ms);
                Why::Declined(address)
            }
            _ => Why::Senseless,
        }
    }

    fn release(&mut self) -> Why {
        let held = self.leases.of(self.request.mac).map(|lease| lease.address);
        if held.is_none() || held != self.request.current {
            return Why::Senseless;
        }
        self.leases.release(self.request.mac, self.now_ms);
        Why::Released
    }

    /// The address of this node: the fixed one, the one it had, the one it asks for, or any.
    fn address(&self) -> Option<Ipv4Addr> {
        if self.fixed.is_some() {
            return self.fixed;
        }
        let had = self.leases.of(self.request.mac).map(|lease| lease.address);
        let good = |address: &Ipv4Addr| {
            self.settings.pool.contains(address)
                && self.settings.is_usable(*address)
                && self.leases.is_free_for(self.request.mac, *address, self.now_ms)
        };
        had.filter(good)
            .or(self.request.requested.filter(good))
            .or(self.request.current.filter(good))
            .or_else(|| {
                let usable = |address| self.settings.is_usable(address);
                self.leases.pick(self.request.mac, &self.settings.pool, self.now_ms, usable)
            })
    }

    /// Notes a lease that runs so long from now, or longer if the node's own does already.
    fn grant(&mut self, address: Ipv4Addr, for_ms: u64) -> Result<Lease, Why> {
        let mac = self.request.mac;
        let running = self.leases.of(mac).filter(|lease| lease.address == address);
        let until_ms = self.now_ms.saturating_add(for_ms);
        // A lease longer than a full one comes from a clock that was wrong: it is cut.
        let longest = self.now_ms.saturating_add(self.lease_ms().max(OFFER_HELD_MS));
        let until_ms = running.map_or(until_ms, |lease| lease.until_ms.clamp(until_ms, longest));
        let granted = self.leases.grant(Lease { mac, address, until_ms }, self.now_ms);
        granted.ok_or(Why::PoolExhausted)
    }

    fn lease_ms(&self) -> u64 {
        u64::from(self.settings.lease_secs) * 1_000
    }

    fn addressed(&self, kind: ReplyKind, address: Ipv4Addr) -> Reply {
        let mut reply = Reply::new(self.request, kind, self.settings.server);
        reply.your(address);
        if let (ReplyKind::Ack, Some(current)) = (kind, self.request.current) {
            reply.current(current);
        }
        reply.option(LEASE_TIME, &self.settings.lease_secs.to_be_bytes());
        self.describe_network(&mut reply);
        reply
    }

    fn describe_network(&self, reply: &mut Reply) {
        let settings = self.settings;
        reply.boot(settings.server, BOOT_FILE);
        reply.option(SUBNET_MASK, &netmask(settings.prefix).octets());
        if let Some(router) = settings.router {
            reply.option(ROUTER, &router.octets());
        }
        reply.option(DNS_SERVER, &settings.dns.octets());
        // Before the domain: the ROM does not boot without them.
        if self.request.profile == Profile::PiRom {
            reply.option(VENDOR_CLASS, b"PXEClient");
            reply.option(VENDOR_OPTIONS, PI_ROM_OPTIONS);
        }
        reply.option(BROADCAST_ADDRESS, &settings.broadcast().octets());
        if !settings.domain.is_empty() {
            reply.option(DOMAIN_NAME, settings.domain.as_bytes());
        }
    }

    fn reply(&self, reply: Reply, lease: Option<Lease>) -> Answer {
        // A client without an address cannot be reached by unicast from an ordinary socket: the kernel would
        // ask for it by ARP, and it could not answer.
        let to = self.request.current.filter(|address| self.settings.contains(*address));
        let to = SocketAddrV4::new(to.unwrap_or(Ipv4Addr::BROADCAST), CLIENT_PORT);
        let delay_ms = if self.request.profile == Profile::PiRom { PI_ROM_DELAY_MS } else { 0 };
        Answer::Reply { bytes: reply.finish(self.request), to, lease, delay_ms }
    }

    /// A NAK is always a broadcast (RFC 2131 section 4.1): the client's address is what is wrong.
    fn refuse(&self) -> Answer {
        let bytes = Reply::new(self.request, ReplyKind::Nak, self.settings.server).finish(self.request);
        let to = SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT);
        Answer::Reply { bytes, to, lease: None, delay_ms: 0 }
    }
}

impl Settings {
    fn network(&self) -> u32 {
        self.server.to_bits() & netmask(self.prefix).to_bits()
    }

    fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network() | !netmask(self.prefix).to_bits())
    }

    fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & netmask(self.prefix).to_bits() == self.network()
    }

    /// Whether a node can have the address: on the network, and nobody's by role.
    fn is_usable(&self, address: Ipv4Addr) -> bool {
        let taken = [self.server, self.dns, self.broadcast(), Ipv4Addr::from_bits(self.network())];
        self.contains(address) && !taken.contains(&address) && self.router != Some(address)
    }
}

#[cfg(test)]
mod tests;
