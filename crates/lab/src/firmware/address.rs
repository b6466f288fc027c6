//! How a board without a card comes to its address: the ROM and `bootcode.bin` of a Pi 3 take an OFFER for an answer and
//! send no REQUEST (raspberrypi/firmware#1699); the EEPROM of a Pi 4 does as RFC 2131 says.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use cluster::Mac;

use super::Setback;
use crate::dhcp::{ACK, DISCOVER, Lease, OFFER, Post, REQUEST, Reply, frame, hear};

/// The transaction of every Pi 3: 653460281 in all logs. Boards tell their answers apart by their address.
const ROM_XID: u32 = 0x26f3_0339;
/// Five tries, 5 s apart, then nothing until the power is cut (network boot documentation, "Known problems").
const ROM_TRIES: u32 = 5;
const ROM_WAIT: Duration = Duration::from_secs(5);
/// An answer that comes sooner can lock the ROM up (raspberrypi/firmware#764, #934): here it always does.
const ROM_SLOWNESS: Duration = Duration::from_secs(1);
/// `DHCP_REQ_TIMEOUT` and `DHCP_TIMEOUT` of the EEPROM's configuration.
const EEPROM_WAIT: Duration = Duration::from_secs(4);
const EEPROM_LIMIT: Duration = Duration::from_secs(45);

/// The options of a DISCOVER: vendor class, client architecture 0, UNDI 2.1, and a client's identifier of 17 bytes.
fn options(identifier: [u8; 16]) -> Vec<u8> {
    let mut options = vec![93, 2, 0, 0, 94, 3, 1, 2, 1, 97, 17, 0];
    options.extend(identifier);
    options.extend([60, 32]);
    options.extend(b"PXEClient:Arch:00000:UNDI:002001");
    options
}

/// The ROM of a Pi 3B, whose identifier is the same on every board.
///
/// # Errors
/// It gave up or locked up; it is silent from then on.
pub(super) fn rom(post: &Post, mac: Mac, limit: Instant) -> Result<Lease, Setback> {
    let replies = post.listen(mac);
    for _ in 0..ROM_TRIES {
        let asked = Instant::now();
        if let Some(offer) = discover(post, mac, &replies, ROM_WAIT)? {
            let too_soon = asked.elapsed() < ROM_SLOWNESS;
            return if too_soon { Err(Setback::LockedUp) } else { Ok(offer.lease.taken()?) };
        }
        if Instant::now() >= limit {
            break;
        }
    }
    Err(Setback::Asleep("no DHCP server answered the ROM".to_owned()))
}

/// `bootcode.bin`, which asks again and does not give up.
///
/// # Errors
/// Nobody answered before `limit`.
pub(super) fn bootcode(post: &Post, mac: Mac, limit: Instant) -> Result<Lease, String> {
    let replies = post.listen(mac);
    while Instant::now() < limit {
        if let Some(offer) = discover(post, mac, &replies, ROM_WAIT)? {
            return offer.lease.taken();
        }
    }
    Err("no DHCP server answered bootcode.bin".to_owned())
}

/// Sends a DISCOVER and waits so long for an OFFER with the words that a Pi 3 looks for. The wait counts from when it is
/// sent: a thousand clients on one machine have to wait for the processor too.
fn discover(
    post: &Post,
    mac: Mac,
    replies: &Receiver<Reply>,
    wait: Duration,
) -> Result<Option<Reply>, String> {
    post.send(&frame(DISCOVER, ROM_XID, mac, &options([0x44; 16])))?;
    let until = Instant::now() + wait;
    while let Some(offer) = hear(replies, OFFER, until) {
        if offer.pi_boot {
            return Ok(Some(offer));
        }
    }
    Ok(None)
}

/// The EEPROM of a Pi 4; its REQUEST has no vendor class.
///
/// # Errors
/// There was no lease within its time; it tries the next way to boot, which is this one again.
pub(super) fn eeprom(post: &Post, mac: Mac, limit: Instant) -> Result<Lease, String> {
    let replies = post.listen(mac);
    let limit = limit.min(Instant::now() + EEPROM_LIMIT);
    let xid = u32::from_be_bytes([mac.0[2], mac.0[3], mac.0[4], mac.0[5]]);
    let identifier = *b"RPi4\x11\x31\xc0\0serial4.";
    while Instant::now() < limit {
        post.send(&frame(DISCOVER, xid, mac, &options(identifier)))?;
        let Some(offer) = hear(&replies, OFFER, Instant::now() + EEPROM_WAIT) else { continue };
        let mut chosen = vec![50, 4];
        chosen.extend(offer.lease.address.octets());
        chosen.extend([54, 4]);
        chosen.extend(offer.server_id);
        post.send(&frame(REQUEST, xid, mac, &chosen))?;
        if let Some(ack) = hear(&replies, ACK, Instant::now() + EEPROM_WAIT) {
            return ack.lease.taken();
        }
    }
    Err("no DHCP server answered the EEPROM".to_owned())
}
