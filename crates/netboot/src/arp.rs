//! ARP (RFC 826) for one question: does anybody use this address? (RFC 5227 section 2.1.1 calls that a probe.)

use std::net::Ipv4Addr;

use cluster::Mac;

/// Length of a frame: Ethernet's header and ARP's packet, in bytes. The kernel pads it to Ethernet's least length.
const FRAME_BYTES: usize = 42;
const ETHERTYPE: [u8; 2] = [0x08, 0x06];
/// Ethernet, IPv4, and the lengths of their addresses.
const KIND: [u8; 6] = [0, 1, 0x08, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];

/// The Ethernet frame that asks who has an address. The sender names no address of its own, so that nobody learns a
/// wrong one (RFC 5227).
pub fn probe(own: Mac, address: Ipv4Addr) -> [u8; FRAME_BYTES] {
    let mut frame = [0; FRAME_BYTES];
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&own.0);
    frame[12..14].copy_from_slice(&ETHERTYPE);
    frame[14..20].copy_from_slice(&KIND);
    frame[20..22].copy_from_slice(&REQUEST);
    frame[22..28].copy_from_slice(&own.0);
    frame[38..42].copy_from_slice(&address.octets());
    frame
}

/// Who says in an ARP frame, question or answer, that it has which address; nothing if the frame is no such thing.
pub fn claim(frame: &[u8]) -> Option<(Ipv4Addr, Mac)> {
    let frame = frame.first_chunk::<FRAME_BYTES>()?;
    if frame[12..14] != ETHERTYPE || frame[14..20] != KIND {
        return None;
    }
    let [a, b, c, d, e, f] = frame[22..28] else { return None };
    let [g, h, i, j] = frame[28..32] else { return None };
    let address = Ipv4Addr::new(g, h, i, j);
    (!address.is_unspecified()).then_some((address, Mac([a, b, c, d, e, f])))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);

    #[test]
    fn a_probe_claims_nothing_and_its_answer_does() {
        let address = Ipv4Addr::new(10, 78, 0, 9);
        let mut frame = probe(OWN, address);
        assert_eq!(claim(&frame), None);
        // As the holder answers: the addresses change places.
        frame[20..22].copy_from_slice(&[0, 2]);
        frame[22..28].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
        frame[28..32].copy_from_slice(&address.octets());
        assert_eq!(claim(&frame), Some((address, Mac([2, 0, 0, 0, 0, 9]))));
        frame[13] = 0;
        assert_eq!(claim(&frame), None);
        assert_eq!(claim(&frame[..41]), None);
    }
}
