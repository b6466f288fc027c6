//! What can go wrong with a store, each with a sentence that says what to do.

use jiff::Timestamp;

/// How far this machine's clock may be from the store's, in seconds; S3 itself refuses 15 minutes.
const CLOCK_LIMIT_SECS: i64 = 5 * 60;
/// How much of a store's own words goes into a message, in letters.
const WORDS_LIMIT: usize = 200;

/// Why a store did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// There is no such bucket.
    #[error(
        "there is no bucket `{bucket}` at {store}: make it there, or correct the URL or AWS_ENDPOINT_URL"
    )]
    NoBucket {
        /// Its name.
        bucket: String,
        /// The store.
        store: String,
    },
    /// The bucket is there, the image is not.
    #[error("there is no image at {place}: `fledermaus image push --to {place}` puts one there")]
    NoImage {
        /// Where it should be.
        place: String,
    },
    /// The object is not there, or a part of an upload is not.
    #[error("{object} is not there")]
    NoObject {
        /// Its name.
        object: String,
    },
    /// The store does not know the key, or its secret is another one.
    #[error(
        "{store} refuses the credentials ({code}): AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY is wrong, or is another \
         store's"
    )]
    Credentials {
        /// The store.
        store: String,
        /// S3's word for it.
        code: String,
    },
    /// Nobody may do that, or not this key.
    #[error("{store} denies access to {what}: {advice}")]
    Denied {
        /// The store.
        store: String,
        /// What was asked for.
        what: String,
        /// What to do.
        advice: &'static str,
    },
    /// Signatures hold for the time of one clock.
    #[error(
        "this machine's clock is {seconds} seconds {direction} the clock of {store}, which refuses such requests: set it \
         (`timedatectl set-ntp true`)"
    )]
    Clock {
        /// How far, in seconds.
        seconds: u64,
        /// `ahead of` or `behind`.
        direction: &'static str,
        /// The store.
        store: String,
    },
    /// The bucket is elsewhere.
    #[error("the bucket `{bucket}` is in another region{region}: set AWS_REGION")]
    Region {
        /// Its name.
        bucket: String,
        /// The region with `, ` at its front, if the store says it.
        region: String,
    },
    /// No answer.
    #[error("{store} cannot be reached: {why}; look at the network and at AWS_ENDPOINT_URL")]
    Unreachable {
        /// The store.
        store: String,
        /// What the system says.
        why: String,
    },
    /// The store has trouble of its own.
    #[error("{store} answered {status} for {what}: {words}")]
    Answer {
        /// The store.
        store: String,
        /// HTTP's status.
        status: u16,
        /// What was asked for.
        what: String,
        /// The store's words.
        words: String,
    },
}

/// An answer that is no success, as far as it matters here.
#[derive(Debug, Default)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// S3's word for it; empty if the answer has no body.
    pub(crate) code: String,
    pub(crate) message: String,
    /// Its header `Date`.
    pub(crate) date: Option<Timestamp>,
    /// Its header `x-amz-bucket-region`.
    pub(crate) region: Option<String>,
}

/// Who asked whom for what, when.
pub(crate) struct Question<'a> {
    pub(crate) store: &'a str,
    pub(crate) bucket: &'a str,
    pub(crate) what: &'a str,
    pub(crate) is_signed: bool,
    pub(crate) now: Timestamp,
}

impl Refusal {
    /// Reads S3's error document. Two of its elements are enough; their texts are words.
    pub(crate) fn read(&mut self, body: &str) {
        let element = |name: &str| {
            let (_, rest) = body.split_once(&format!("<{name}>"))?;
            let (text, _) = rest.split_once(&format!("</{name}>"))?;
            Some(text.chars().filter(|letter| !letter.is_control()).take(WORDS_LIMIT).collect::<String>())
        };
        self.code = element("Code").unwrap_or_default();
        self.message = element("Message").unwrap_or_default();
    }

    /// What it means.
    pub(crate) fn explain(self, asked: &Question) -> Fault {
        let (store, bucket, what) = (asked.store.to_owned(), asked.bucket.to_owned(), asked.what.to_owned());
        if let (Some(clock), 400 | 401 | 403) = (self.clock(asked), self.status) {
            return clock;
        }
        match (self.status, self.code.as_str()) {
            (_, "NoSuchBucket") => Fault::NoBucket { bucket, store },
            (404, _) => Fault::NoObject { object: what },
            (
                _,
                "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "NotSignedUp"
                | "InvalidToken"
                | "ExpiredToken",
            ) => Fault::Credentials { store, code: self.code },
            (_, "PermanentRedirect" | "AuthorizationHeaderMalformed" | "TemporaryRedirect")
            | (301 | 307, _) => {
                let region = self.region.map_or(String::new(), |region| format!(", {region}"));
                Fault::Region { bucket, region }
            }
            (401 | 403, _) => {
                let advice = if asked.is_signed {
                    "the key needs s3:GetObject, s3:ListBucket and, to push, s3:PutObject there"
                } else {
                    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, nobody was named"
                };
                Fault::Denied { store, what, advice }
            }
            (status, code) => {
                Fault::Answer { store, status, what, words: format!("{code} {}", self.message) }
            }
        }
    }

    /// The clocks' difference, if it is one that matters.
    fn clock(&self, asked: &Question) -> Option<Fault> {
        let seconds = asked.now.as_second() - self.date?.as_second();
        let direction = if seconds > 0 { "ahead of" } else { "behind" };
        (seconds.abs() > CLOCK_LIMIT_SECS).then(|| Fault::Clock {
            seconds: seconds.unsigned_abs(),
            direction,
            store: asked.store.to_owned(),
        })
    }
}

impl Fault {
    /// Whether another attempt may succeed.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Answer { status: 408 | 429 | 500..=599, .. })
    }
}
