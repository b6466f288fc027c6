//! One bucket: signed requests out, answers and faults back. Every request is small enough to be asked again, and is,
//! when the network or the store had a bad moment.

use std::io::Read;
use std::time::Duration;

use jiff::Timestamp;
use rusty_s3::actions::{CompleteMultipartUploadResponse, CreateMultipartUpload, S3Action};
use rusty_s3::{Bucket, Credentials};
use ureq::Body;
use ureq::http::Response;

use crate::access::{Access, BadPlace, Place};
use crate::fault::{Fault, Question, Refusal};

/// How long a signature holds: longer than the largest request takes.
const SIGNATURE: Duration = Duration::from_secs(15 * 60);
/// How often in a row a request may fail.
pub(crate) const ATTEMPTS_LIMIT: u32 = 4;
/// How long the first pause between two attempts is; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(300);
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take; a store that puts a large object together takes its time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the bytes of one request or answer may take; a part of 8 MiB then needs 28 KB/s.
const BODY_TIMEOUT: Duration = Duration::from_secs(300);
/// The most bytes of an answer that is no object.
const ANSWER_BYTES_LIMIT: u64 = 256 * 1024;

/// A bucket that can be asked.
pub(crate) struct Store {
    bucket: Bucket,
    credentials: Option<Credentials>,
    agent: ureq::Agent,
    place: Place,
    name: String,
    now: fn() -> Timestamp,
}

impl Store {
    /// Asks nobody yet. `now` is the machine's clock.
    ///
    /// # Errors
    /// The endpoint is no URL.
    pub(crate) fn new(place: &Place, access: &Access, now: fn() -> Timestamp) -> Result<Self, BadPlace> {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_send_body(Some(BODY_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .timeout_recv_body(Some(BODY_TIMEOUT))
            .build();
        let credentials = access.key.as_ref().map(|key| match &key.token {
            Some(token) => Credentials::new_with_token(&key.id, &key.secret, token),
            None => Credentials::new(&key.id, &key.secret),
        });
        Ok(Self {
            bucket: access.bucket(place)?,
            credentials,
            agent: agent.into(),
            place: place.clone(),
            name: access.store().to_owned(),
            now,
        })
    }

    /// The key of one of the image's objects.
    pub(crate) fn key(&self, name: &str) -> String {
        if self.place.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.place.prefix) }
    }

    /// What names an object among all stores and buckets.
    pub(crate) fn url(&self, name: &str) -> String {
        self.bucket.object_url(&self.key(name)).to_string()
    }

    /// The fault that means that the store cannot be had.
    pub(crate) fn unreachable(&self, error: &dyn std::fmt::Display) -> Fault {
        Fault::Unreachable { store: self.name.clone(), why: error.to_string() }
    }

    /// A small object, or none. Says which of bucket and object is missing.
    pub(crate) fn text(&self, name: &str, limit: u64) -> Result<Option<String>, Fault> {
        let read = patiently(|| {
            let mut text = String::new();
            let body = self.get(name, 0)?.into_body().into_reader().take(limit);
            { body }.read_to_string(&mut text).map_err(|error| self.unreachable(&error))?;
            Ok(text)
        });
        match read {
            Ok(text) => Ok(Some(text)),
            Err(Fault::NoObject { .. }) => self.look().map(|()| None),
            Err(fault) => Err(fault),
        }
    }

    /// Whether the bucket is there.
    fn look(&self) -> Result<(), Fault> {
        patiently(|| {
            let url = self.signed(self.bucket.head_bucket(self.credentials.as_ref()));
            let what = format!("the bucket {}", self.place.bucket);
            match self.answer(self.agent.head(&url).call(), &what) {
                Err(Fault::NoObject { .. }) => {
                    Err(Fault::NoBucket { bucket: self.place.bucket.clone(), store: self.name.clone() })
                }
                // Not everybody who may read may list.
                Err(Fault::Denied { .. }) => Ok(()),
                answer => answer.map(drop),
            }
        })
    }

    /// An object from one of its bytes on. The answer's status is 206 if the store skipped the others.
    pub(crate) fn get(&self, name: &str, from: u64) -> Result<Response<Body>, Fault> {
        let key = self.key(name);
        let url = self.signed(self.bucket.get_object(self.credentials.as_ref(), &key));
        let request = self.agent.get(&url);
        let request = if from == 0 { request } else { request.header("Range", format!("bytes={from}-")) };
        self.answer(request.call(), name)
    }

    /// How many bytes an object has, or none if it is not there.
    pub(crate) fn size_of(&self, name: &str) -> Result<Option<u64>, Fault> {
        let key = self.key(name);
        let asked = patiently(|| {
            let url = self.signed(self.bucket.head_object(self.credentials.as_ref(), &key));
            self.answer(self.agent.head(&url).call(), name)
        });
        match asked {
            Ok(response) => Ok(header(&response, "content-length").and_then(|text| text.parse().ok())),
            Err(Fault::NoObject { .. }) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Puts a small object there as a whole.
    pub(crate) fn put(&self, name: &str, content: &[u8]) -> Result<(), Fault> {
        let key = self.key(name);
        patiently(|| {
            let url = self.signed(self.bucket.put_object(self.credentials.as_ref(), &key));
            self.answer(self.agent.put(&url).send(content), name).map(drop)
        })
    }

    /// Begins a large object; the upload's name.
    pub(crate) fn begin(&self, name: &str) -> Result<String, Fault> {
        let key = self.key(name);
        let body = patiently(|| {
            let url = self.signed(self.bucket.create_multipart_upload(self.credentials.as_ref(), &key));
            self.body(self.answer(self.agent.post(&url).send_empty(), name)?)
        })?;
        let parsed = CreateMultipartUpload::parse_response(body.trim_start());
        parsed.map(|begun| begun.upload_id().to_owned()).map_err(|error| self.odd(name, &error))
    }

    /// Puts one part of a large object there, from number 1 on; what the store calls it.
    pub(crate) fn part(
        &self,
        name: &str,
        upload: &str,
        number: u16,
        content: &[u8],
    ) -> Result<String, Fault> {
        let key = self.key(name);
        patiently(|| {
            let url = self.signed(self.bucket.upload_part(self.credentials.as_ref(), &key, number, upload));
            let response = self.answer(self.agent.put(&url).send(content), name)?;
            header(&response, "etag").map(str::to_owned).ok_or_else(|| self.odd(name, &"a part got no ETag"))
        })
    }

    /// Makes the object of its parts.
    pub(crate) fn complete(&self, name: &str, upload: &str, parts: &[String]) -> Result<(), Fault> {
        let key = self.key(name);
        let action = || {
            let parts = parts.iter().map(String::as_str);
            self.bucket.complete_multipart_upload(self.credentials.as_ref(), &key, upload, parts)
        };
        let body = patiently(|| {
            let url = self.signed(action());
            self.body(self.answer(self.agent.post(&url).send(action().body()), name)?)
        })?;
        // S3 begins its answer before it knows how it ends: a failure comes with the status 200 too.
        CompleteMultipartUploadResponse::parse(body.trim_start()).map(drop).map_err(|_| {
            let mut refusal = Refusal { status: 200, ..Refusal::default() };
            refusal.read(&body);
            refusal.explain(&self.question(name))
        })
    }

    fn signed<'a>(&self, action: impl S3Action<'a>) -> String {
        action.sign_with_time(SIGNATURE, &(self.now)()).to_string()
    }

    fn question<'a>(&'a self, what: &'a str) -> Question<'a> {
        let (store, bucket) = (&self.name, &self.place.bucket);
        Question { store, bucket, what, is_signed: self.credentials.is_some(), now: (self.now)() }
    }

    /// A success, or what the failure means.
    fn answer(&self, sent: Result<Response<Body>, ureq::Error>, what: &str) -> Result<Response<Body>, Fault> {
        let response = sent.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let date = header(&response, "date").and_then(|text| jiff::fmt::rfc2822::parse(text).ok());
        let mut refusal = Refusal {
            status: response.status().as_u16(),
            date: date.map(|zoned| zoned.timestamp()),
            region: header(&response, "x-amz-bucket-region").map(str::to_owned),
            ..Refusal::default()
        };
        // Without its words the status has to do.
        refusal.read(&self.body(response).unwrap_or_default());
        Err(refusal.explain(&self.question(what)))
    }

    fn body(&self, response: Response<Body>) -> Result<String, Fault> {
        let mut text = String::new();
        let mut body = response.into_body().into_reader().take(ANSWER_BYTES_LIMIT);
        body.read_to_string(&mut text).map_err(|error| self.unreachable(&error))?;
        Ok(text)
    }

    fn odd(&self, what: &str, why: &dyn std::fmt::Display) -> Fault {
        Fault::Answer { store: self.name.clone(), status: 200, what: what.to_owned(), words: why.to_string() }
    }
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// Asks again after a pause, as long as that may help.
fn patiently<T>(ask: impl Fn() -> Result<T, Fault>) -> Result<T, Fault> {
    let mut failed = 0;
    loop {
        match ask() {
            Err(fault) if fault.is_passing() && failed + 1 < ATTEMPTS_LIMIT => pause(failed),
            answer => return answer,
        }
        failed += 1;
    }
}

/// Waits before the next attempt; `failed` is how many failed before the last.
pub(crate) fn pause(failed: u32) {
    std::thread::sleep(FIRST_PAUSE * 2u32.pow(failed));
}
