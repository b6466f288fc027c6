//! DNS packets: a query's bytes to types, and the parts of a reply to bytes (RFC 1035 section 4, RFC 6891).
//! Knows no names.

/// Length of a DNS header in bytes.
pub(super) const HEADER_BYTES: usize = 12;
/// The longest name in bytes, with its length bytes (RFC 1035 section 2.3.4).
pub(super) const NAME_BYTES_LIMIT: usize = 255;
/// The longest label in bytes (RFC 1035 section 2.3.4); a larger length byte is a pointer.
const LABEL_BYTES_LIMIT: u8 = 63;
/// The longest UDP reply without EDNS, in bytes (RFC 1035 section 4.2.1).
const UDP_LIMIT: u16 = 512;
/// The longest UDP packet that is offered and sent, in bytes: fits every path without fragments (RFC 9715).
pub(super) const UDP_EDNS_LIMIT: u16 = 1_232;
/// Length of an OPT record without options, in bytes.
pub(super) const OPT_BYTES: usize = 11;

// Bits of a header's third and fourth byte.
pub(super) const IS_REPLY: u8 = 0x80;
const OPCODE: u8 = 0x78;
const AUTHORITATIVE: u8 = 0x04;
pub(super) const TRUNCATED: u8 = 0x02;
const RECURSION_DESIRED: u8 = 0x01;
const RECURSION_AVAILABLE: u8 = 0x80;
const CHECKING_DISABLED: u8 = 0x10;

/// Response codes (RFC 1035 section 4.1.1; BADVERS: RFC 6891 section 9).
pub(super) mod code {
    pub(in crate::dns) const NO_ERROR: u8 = 0;
    pub(in crate::dns) const FORMAT_ERROR: u8 = 1;
    pub(in crate::dns) const SERVER_FAILURE: u8 = 2;
    pub(in crate::dns) const NO_SUCH_NAME: u8 = 3;
    pub(in crate::dns) const NOT_IMPLEMENTED: u8 = 4;
    pub(in crate::dns) const REFUSED: u8 = 5;
    pub(in crate::dns) const BAD_VERSION: u8 = 16;
}

/// Types of records that something is done with.
pub(super) mod kind {
    pub(in crate::dns) const A: u16 = 1;
    pub(in crate::dns) const NS: u16 = 2;
    pub(in crate::dns) const SOA: u16 = 6;
    pub(in crate::dns) const PTR: u16 = 12;
    pub(in crate::dns) const HINFO: u16 = 13;
    pub(in crate::dns) const SRV: u16 = 33;
    /// EDNS, no record of a name (RFC 6891).
    pub(in crate::dns) const OPT: u16 = 41;
    pub(in crate::dns) const ANY: u16 = 255;
    /// TKEY, TSIG, IXFR and AXFR: what a server of copied or signed zones does.
    pub(in crate::dns) const TRANSFERS: std::ops::RangeInclusive<u16> = 249..=252;
}

/// The class of the Internet.
pub(super) const CLASS_IN: u16 = 1;

/// How a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In one UDP packet: the reply has to fit in what the client takes, else it is marked as truncated.
    Udp,
    /// By TCP, without the two bytes of length before it.
    Tcp,
}

/// A query whose one question can be looked up. Borrows the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    packet: &'a [u8],
    /// Where the question section ends.
    end: usize,
    edns: Option<Edns>,
}

/// What an OPT record says (RFC 6891 section 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Edns {
    /// The longest UDP packet that the client takes, in bytes.
    payload: u16,
    version: u8,
    /// The client wants signatures (RFC 3225). We have none; a resolver behind us may.
    dnssec: bool,
}

/// Why a packet has no [`Question`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit<'a> {
    /// Not a query: no answer, for two servers could go on for ever.
    NotQuery,
    /// Nothing of it can be repeated: the header goes back with this code.
    Unreadable(u8),
    /// The question goes back with this code.
    Refused(Question<'a>, u8),
}

impl<'a> Question<'a> {
    /// Reads a query.
    pub(super) fn parse(packet: &'a [u8]) -> Result<Self, Unfit<'a>> {
        if packet.len() < HEADER_BYTES || packet[2] & IS_REPLY != 0 {
            return Err(Unfit::NotQuery);
        }
        if packet[2] & OPCODE != 0 {
            return Err(Unfit::Unreadable(code::NOT_IMPLEMENTED));
        }
        let malformed = Unfit::Unreadable(code::FORMAT_ERROR);
        // One question, neither more nor less: RFC 9619.
        if count(packet, 0) != 1 {
            return Err(malformed);
        }
        let end = plain_name_end(packet).map(|end| end + 4).filter(|end| *end <= packet.len());
        let mut question = Self { packet, end: end.ok_or(malformed)?, edns: None };
        question.edns = edns(packet, question.end).map_err(|Malformed| malformed)?;
        match question.refusal() {
            None => Ok(question),
            Some(code) => Err(Unfit::Refused(question, code)),
        }
    }

    fn refusal(&self) -> Option<u8> {
        if self.edns.is_some_and(|edns| edns.version != 0) {
            return Some(code::BAD_VERSION);
        }
        match (self.kind(), self.class()) {
            (kind::OPT, _) => Some(code::FORMAT_ERROR),
            (kind, CLASS_IN) if !kind::TRANSFERS.contains(&kind) => None,
            _ => Some(code::REFUSED),
        }
    }

    /// The name that is asked for, as on the wire: length bytes, letters in the client's case, the root's zero.
    pub(super) fn name(&self) -> &'a [u8] {
        &self.packet[HEADER_BYTES..self.end - 4]
    }

    /// The type of the records that are asked for.
    pub(super) fn kind(&self) -> u16 {
        u16_at(self.packet, self.end - 4)
    }

    fn class(&self) -> u16 {
        u16_at(self.packet, self.end - 2)
    }

    /// The question section.
    pub(super) fn section(&self) -> &'a [u8] {
        &self.packet[HEADER_BYTES..self.end]
    }

    pub(super) fn id(&self) -> u16 {
        u16_at(self.packet, 0)
    }

    pub(super) fn wants_recursion(&self) -> bool {
        self.packet[2] & RECURSION_DESIRED != 0
    }

    pub(super) fn wants_dnssec(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec)
    }

    /// Whether the client checks signatures by itself (RFC 4035 section 3.2.2).
    pub(super) fn checks(&self) -> bool {
        self.packet[3] & CHECKING_DISABLED != 0
    }

    /// The whole packet.
    pub(super) fn packet(&self) -> &'a [u8] {
        self.packet
    }

    fn reply_limit(&self, transport: Transport) -> usize {
        let payload = self.edns.map_or(UDP_LIMIT, |edns| edns.payload.clamp(UDP_LIMIT, UDP_EDNS_LIMIT));
        usize::from(if transport == Transport::Tcp { u16::MAX } else { payload })
    }
}

/// A reply while it is written: into a buffer of the caller, which is emptied first.
pub(super) struct Draft<'a> {
    bytes: &'a mut Vec<u8>,
    /// Answers, authorities, additionals.
    counts: [u16; 3],
    question_end: usize,
    /// The longest reply without its OPT record.
    limit: usize,
    /// What goes into the OPT record: the upper bits of the code.
    code_high: Option<u8>,
}

impl<'a> Draft<'a> {
    /// Begins the reply to a question.
    pub(super) fn new(
        bytes: &'a mut Vec<u8>,
        question: &Question,
        transport: Transport,
        response_code: u8,
    ) -> Self {
        header(bytes, question.packet, response_code & 0x0f);
        bytes[5] = 1;
        bytes.extend_from_slice(question.section());
        let with_edns = question.edns.is_some();
        Self {
            counts: [0; 3],
            question_end: bytes.len(),
            limit: question.reply_limit(transport) - if with_edns { OPT_BYTES } else { 0 },
            code_high: with_edns.then_some(response_code >> 4),
            bytes,
        }
    }

    /// Marks the reply as one of the zone's own server.
    pub(super) fn authoritative(&mut self) {
        self.bytes[2] |= AUTHORITATIVE;
    }

    /// Adds a record; `section` is 0 for an answer, 1 for the authorities. The owner is the end of the question's
    /// name from the byte `owner` on; `data` writes what the record says.
    pub(super) fn record(
        &mut self,
        section: usize,
        owner: usize,
        kind: u16,
        ttl_secs: u32,
        data: impl FnOnce(&mut Vec<u8>),
    ) {
        self.bytes.extend_from_slice(&pointer(owner));
        self.bytes.extend_from_slice(&kind.to_be_bytes());
        self.bytes.extend_from_slice(&CLASS_IN.to_be_bytes());
        self.bytes.extend_from_slice(&ttl_secs.to_be_bytes());
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        data(self.bytes);
        let length = u16::try_from(self.bytes.len() - at - 2).unwrap_or(u16::MAX);
        self.bytes[at..at + 2].copy_from_slice(&length.to_be_bytes());
        self.counts[section] = self.counts[section].saturating_add(1);
    }

    /// Whether there is room for so many more bytes.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.bytes.len() + bytes <= self.limit
    }

    /// Adds all records of another server's reply, and gives back where they begin.
    pub(super) fn records(&mut self, records: &[u8], counts: [u16; 3]) -> usize {
        self.bytes.extend_from_slice(records);
        self.counts = counts;
        self.question_end
    }

    /// The bytes so far, to change what [`Draft::records`] added.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        self.bytes
    }

    /// Ends the reply. One that is too long loses all its records: a client that sees the mark asks by TCP
    /// (RFC 2181 section 9).
    pub(super) fn finish(mut self) {
        if self.bytes.len() > self.limit {
            self.bytes.truncate(self.question_end);
            self.bytes[2] |= TRUNCATED;
            self.counts = [0; 3];
        }
        if let Some(code_high) = self.code_high {
            opt(self.bytes, code_high, false);
            self.counts[2] = self.counts[2].saturating_add(1);
        }
        for (index, count) in self.counts.iter().enumerate() {
            let at = 6 + 2 * index;
            self.bytes[at..at + 2].copy_from_slice(&count.to_be_bytes());
        }
    }
}

/// A reply of a header alone, to a query of which nothing can be repeated.
pub(super) fn bare(bytes: &mut Vec<u8>, query: &[u8], response_code: u8) {
    header(bytes, query, response_code);
}

fn header(bytes: &mut Vec<u8>, query: &[u8], response_code: u8) {
    bytes.clear();
    bytes.extend_from_slice(&query[..2]);
    bytes.push(IS_REPLY | query[2] & (OPCODE | RECURSION_DESIRED));
    bytes.push(RECURSION_AVAILABLE | query[3] & CHECKING_DISABLED | response_code);
    bytes.extend_from_slice(&[0; 8]);
}

/// A question as it is put to another resolver, with EDNS and the number 0, which the caller replaces.
pub(super) fn query(question: &Question) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[2] = RECURSION_DESIRED;
    bytes[3] = question.packet[3] & CHECKING_DISABLED;
    bytes[5] = 1;
    bytes[11] = 1;
    bytes.extend_from_slice(question.section());
    opt(&mut bytes, 0, question.wants_dnssec());
    bytes
}

fn opt(bytes: &mut Vec<u8>, code_high: u8, dnssec: bool) {
    bytes.push(0);
    bytes.extend_from_slice(&kind::OPT.to_be_bytes());
    bytes.extend_from_slice(&UDP_EDNS_LIMIT.to_be_bytes());
    bytes.extend_from_slice(&[code_high, 0, if dnssec { 0x80 } else { 0 }, 0, 0, 0]);
}

/// A name that is the end of the question's, from its byte `at` on (RFC 1035 section 4.1.4).
pub(super) fn pointer(at: usize) -> [u8; 2] {
    let at = u16::try_from(HEADER_BYTES + at).unwrap_or(0) & 0x3fff;
    (0xc000 | at).to_be_bytes()
}

/// A packet is not what its counts and lengths say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// One record of a packet: where it lies, and what is the same for all types.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) start: usize,
    pub(super) kind: u16,
    pub(super) class: u16,
    /// Where the four bytes of its TTL are; its data begins six bytes on.
    pub(super) ttl_at: usize,
    pub(super) end: usize,
}

/// The record that begins at `start`.
pub(super) fn record_at(packet: &[u8], start: usize) -> Result<Place, Malformed> {
    let fixed = name_end(packet, start)?;
    let data = fixed + 10;
    if data > packet.len() {
        return Err(Malformed);
    }
    let end = data + usize::from(u16_at(packet, fixed + 8));
    if end > packet.len() {
        return Err(Malformed);
    }
    let (kind, class) = (u16_at(packet, fixed), u16_at(packet, fixed + 2));
    Ok(Place { start, kind, class, ttl_at: fixed + 4, end })
}

/// The header's count of one section: questions, answers, authorities, additionals. The packet has a header.
pub(super) fn count(packet: &[u8], section: usize) -> u16 {
    u16_at(packet, 4 + 2 * section)
}

pub(super) fn u16_at(packet: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([packet[at], packet[at + 1]])
}

pub(super) fn u32_at(packet: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]])
}

/// Where the question's name ends. It is written out: there is nothing before it to point to.
pub(super) fn plain_name_end(packet: &[u8]) -> Option<usize> {
    let mut at = HEADER_BYTES;
    loop {
        match *packet.get(at)? {
            0 => return (at + 1 - HEADER_BYTES <= NAME_BYTES_LIMIT).then_some(at + 1),
            length if length <= LABEL_BYTES_LIMIT => at += 1 + usize::from(length),
            _ => return None,
        }
    }
}

/// Where a name ends that may end in a pointer.
fn name_end(packet: &[u8], mut at: usize) -> Result<usize, Malformed> {
    loop {
        match *packet.get(at).ok_or(Malformed)? {
            0 => return Ok(at + 1),
            length if length <= LABEL_BYTES_LIMIT => at += 1 + usize::from(length),
            length if length >= 0xc0 => return Ok(at + 2),
            _ => return Err(Malformed),
        }
    }
}

/// The query's OPT record, if it has one. Two are an error, and one that is not the root's (RFC 6891 6.1.1).
fn edns(packet: &[u8], mut at: usize) -> Result<Option<Edns>, Malformed> {
    let others = u32::from(count(packet, 1)) + u32::from(count(packet, 2));
    let mut found = None;
    for index in 0..others + u32::from(count(packet, 3)) {
        let place = record_at(packet, at)?;
        at = place.end;
        if place.kind != kind::OPT || index < others {
            continue;
        }
        if found.is_some() || packet[place.start] != 0 {
            return Err(Malformed);
        }
        let ttl = place.ttl_at;
        let (version, dnssec) = (packet[ttl + 1], packet[ttl + 2] & 0x80 != 0);
        found = Some(Edns { payload: place.class, version, dnssec });
    }
    Ok(found)
}
