//! What another resolver replied: checked against what it was asked, and written out for everybody who asks the
//! same. Keeps nothing; see [`super::cache`].

use super::packet::{
    CLASS_IN, Draft, HEADER_BYTES, IS_REPLY, Malformed, Place, Question, TRUNCATED, Transport, code, count,
    kind, plain_name_end, record_at, u16_at, u32_at,
};

/// The longest time that records are kept, in seconds (RFC 8767 section 4 advises at most a week, and less).
const TTL_LIMIT_SECS: u32 = 86_400;
/// The longest time that the absence of a record is kept, in seconds (RFC 2308 section 5: one to three hours).
const NEGATIVE_TTL_LIMIT_SECS: u32 = 3_600;
/// How long a failure is kept, in seconds (RFC 9520 section 3.2: one at least), so that a resolver that is away is
/// not asked by everybody again and again.
const FAILURE_SECS: u32 = 1;

/// A reply of another resolver, without its EDNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What stands behind the question. Its pointers are right only behind a question of the same length.
    records: Box<[u8]>,
    /// How many answers, authorities, additionals there are.
    counts: [u16; 3],
    /// Where in `records` a TTL stands.
    ttls: Box<[u16]>,
    response_code: u8,
    keep_secs: u32,
}

/// Why a packet is not taken for the reply to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// It has another number or question, or it cannot be read: perhaps somebody guesses.
    #[error("the packet does not answer the question")]
    Foreign,
    /// It is the reply, but without all its records: TCP has them.
    #[error("the reply is longer than a packet")]
    Truncated,
    /// The resolver does not know EDNS: it is to be asked without (RFC 6891 section 7).
    #[error("the resolver does not know EDNS")]
    NoEdns,
}

impl From<Malformed> for Mismatch {
    fn from(_: Malformed) -> Self {
        Self::Foreign
    }
}

impl Reply {
    /// Reads the reply to `asked`, a packet of [`super::Next::Ask`] as it was sent.
    ///
    /// # Errors
    /// [`Mismatch`]: what to do instead.
    pub fn parse(packet: &[u8], asked: &[u8]) -> Result<Self, Mismatch> {
        if refuses_edns(packet, asked) {
            return Err(Mismatch::NoEdns);
        }
        let end = question_end(packet, asked).ok_or(Mismatch::Foreign)?;
        if packet[2] & TRUNCATED != 0 {
            return Err(Mismatch::Truncated);
        }
        let mut reader = Reader { at: end, ttls: Vec::new(), ttl_secs: u32::MAX, soa: false, opt: None };
        let mut counts = [0; 3];
        for (section, read) in counts.iter_mut().enumerate() {
            *read = reader.section(packet, end, section + 1)?;
        }
        let response_code = match reader.opt {
            Some(opt) if packet[opt.ttl_at] != 0 => code::SERVER_FAILURE,
            _ => packet[3] & 0x0f,
        };
        let records = packet[end..reader.opt.map_or(reader.at, |opt| opt.start)].into();
        let keep_secs = keep_secs(response_code, counts[0], &reader);
        Ok(Self { records, counts, ttls: reader.ttls.into(), response_code, keep_secs })
    }

    /// What is said when no resolver answers.
    pub fn failure() -> Self {
        Self {
            records: Box::default(),
            counts: [0; 3],
            ttls: Box::default(),
            response_code: code::SERVER_FAILURE,
            keep_secs: FAILURE_SECS,
        }
    }

    /// Whether the resolver could not say. Another one may.
    pub fn is_failure(&self) -> bool {
        !matches!(self.response_code, code::NO_ERROR | code::NO_SUCH_NAME)
    }

    /// How long it may be kept, in seconds; 0 is not at all.
    pub(super) fn keep_secs(&self) -> u32 {
        self.keep_secs
    }

    /// What it takes in memory, in bytes, without what any reply takes.
    pub(super) fn bytes(&self) -> usize {
        self.records.len() + 2 * self.ttls.len()
    }

    /// Writes it out for a client that asked the same, `age_secs` after it came: that much is taken off its TTLs.
    pub(super) fn write(
        &self,
        question: &Question,
        transport: Transport,
        age_secs: u32,
        buffer: &mut Vec<u8>,
    ) {
        let mut draft = Draft::new(buffer, question, transport, self.response_code);
        let start = draft.records(&self.records, self.counts);
        let bytes = draft.bytes();
        for at in &self.ttls {
            let at = start + usize::from(*at);
            let left = ttl_at(bytes, at).saturating_sub(age_secs);
            bytes[at..at + 4].copy_from_slice(&left.to_be_bytes());
        }
        draft.finish();
    }
}

/// Whether a packet says no to a question because of its EDNS. Some such resolvers repeat no question.
fn refuses_edns(packet: &[u8], asked: &[u8]) -> bool {
    let says_no = |header: &[u8; HEADER_BYTES]| {
        let response_code = header[3] & 0x0f;
        header[..2] == asked[..2]
            && header[2] & IS_REPLY != 0
            && matches!(response_code, code::FORMAT_ERROR | code::NOT_IMPLEMENTED)
            && (count(packet, 0) == 0 || question_end(packet, asked).is_some())
    };
    count(asked, 3) > 0 && packet.first_chunk().is_some_and(says_no)
}

/// Where the question of a reply ends, if it is the one that was asked under the same number.
fn question_end(packet: &[u8], asked: &[u8]) -> Option<usize> {
    if packet.len() < HEADER_BYTES || packet[..2] != asked[..2] || packet[2] & IS_REPLY == 0 {
        return None;
    }
    let end = plain_name_end(packet)? + 4;
    let (theirs, ours) = (packet.get(HEADER_BYTES..end)?, asked.get(HEADER_BYTES..end)?);
    let name = theirs.len() - 4;
    let same = theirs[..name].eq_ignore_ascii_case(&ours[..name]) && theirs[name..] == ours[name..];
    (same && count(packet, 0) == 1 && u16_at(packet, end - 2) == CLASS_IN).then_some(end)
}

/// What is found on the way through a reply's records.
struct Reader {
    at: usize,
    ttls: Vec<u16>,
    /// The shortest time that an answer or an authority may be kept.
    ttl_secs: u32,
    /// The authorities say how long an absence may be kept.
    soa: bool,
    opt: Option<Place>,
}

impl Reader {
    /// Reads a section (1 to 3) and counts its records. What follows EDNS is left out: such are signatures of the
    /// packet, and they are not for our client.
    fn section(&mut self, packet: &[u8], from: usize, section: usize) -> Result<u16, Malformed> {
        let mut read = 0;
        for _ in 0..count(packet, section) {
            let place = record_at(packet, self.at)?;
            self.at = place.end;
            if self.opt.is_some() {
                continue;
            }
            if place.kind == kind::OPT {
                self.opt = Some(place);
                continue;
            }
            read += 1;
            self.ttls.push(u16::try_from(place.ttl_at - from).map_err(|_| Malformed)?);
            if section < 3 {
                self.ttl_secs = self.ttl_secs.min(ttl_at(packet, place.ttl_at));
            }
            if section == 2 && place.kind == kind::SOA {
                self.soa = true;
                self.ttl_secs = self.ttl_secs.min(soa_minimum(packet, place)?);
            }
        }
        Ok(read)
    }
}

/// The last number of a SOA record: how long an absence may be kept (RFC 2308 section 4).
fn soa_minimum(packet: &[u8], soa: Place) -> Result<u32, Malformed> {
    let at = soa.end - 4;
    if at < soa.ttl_at + 6 { Err(Malformed) } else { Ok(u32_at(packet, at)) }
}

/// A TTL; one with the highest bit set counts as zero (RFC 2181 section 8).
fn ttl_at(packet: &[u8], at: usize) -> u32 {
    let secs = u32_at(packet, at);
    if secs > i32::MAX as u32 { 0 } else { secs }
}

fn keep_secs(response_code: u8, answers: u16, reader: &Reader) -> u32 {
    let positive = response_code == code::NO_ERROR && answers > 0;
    match response_code {
        code::NO_ERROR if positive => reader.ttl_secs.min(TTL_LIMIT_SECS),
        // An absence without a SOA record is not kept (RFC 2308 section 5).
        code::NO_ERROR | code::NO_SUCH_NAME if reader.soa => reader.ttl_secs.min(NEGATIVE_TTL_LIMIT_SECS),
        code::NO_ERROR | code::NO_SUCH_NAME => 0,
        _ => FAILURE_SECS,
    }
}
