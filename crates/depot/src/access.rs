//! Where an image is and who asks for it: the URL, and what the usual AWS variables say. Parses; asks nobody.

use std::fmt;
use std::str::FromStr;

use rusty_s3::{Bucket, UrlStyle};

/// AWS's own first region; stores that know no regions take it too.
const DEFAULT_REGION: &str = "us-east-1";
/// How long a bucket's name may be (S3's naming rules).
const BUCKET_LENGTH: std::ops::RangeInclusive<usize> = 3..=63;

/// `s3://bucket/prefix`: where one image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub(crate) bucket: String,
    /// Without slashes at its ends; may be empty.
    pub(crate) prefix: String,
}

/// A URL or an endpoint that is none (exit code 2).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPlace(String);

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// The access key, which is no secret.
    pub id: String,
    /// The secret key.
    pub secret: String,
    /// The session's token, if the key is a temporary one.
    pub token: Option<String>,
}

/// Which store, and who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The store's URL; none is AWS.
    pub endpoint: Option<String>,
    /// The region; none is `us-east-1`.
    pub region: Option<String>,
    /// None asks without a signature: public buckets can be read so.
    pub key: Option<Key>,
}

impl Access {
    /// What the variables of AWS's own tools say: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`,
    /// `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, `AWS_REGION` and `AWS_DEFAULT_REGION`. Empty ones count as not set.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&str]| {
            names
                .iter()
                .filter_map(|name| variable(name))
                .map(|text| text.trim().to_owned())
                .find(|text| !text.is_empty())
        };
        let (id, secret) = (first(&["AWS_ACCESS_KEY_ID"]), first(&["AWS_SECRET_ACCESS_KEY"]));
        let key = id.zip(secret).map(|(id, secret)| Key { id, secret, token: first(&["AWS_SESSION_TOKEN"]) });
        Self {
            endpoint: first(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]),
            region: first(&["AWS_REGION", "AWS_DEFAULT_REGION"]),
            key,
        }
    }

    /// The bucket. Stores with an own endpoint get its name in the path: their certificates seldom know it as a host.
    ///
    /// # Errors
    /// The endpoint is no URL.
    pub(crate) fn bucket(&self, place: &Place) -> Result<Bucket, BadPlace> {
        let region = self.region.clone().unwrap_or_else(|| DEFAULT_REGION.to_owned());
        let (endpoint, style) = match &self.endpoint {
            Some(endpoint) => (endpoint.clone(), UrlStyle::Path),
            None => (format!("https://s3.{region}.amazonaws.com"), UrlStyle::VirtualHost),
        };
        let wrong = |why: &dyn fmt::Display| {
            BadPlace(format!(
                "the store's endpoint `{endpoint}` is no URL such as http://10.0.0.5:9000: {why}"
            ))
        };
        let url = endpoint.parse().map_err(|error| wrong(&error))?;
        Bucket::new(url, style, place.bucket.clone(), region).map_err(|error| wrong(&error))
    }

    /// The store, for messages.
    pub(crate) fn store(&self) -> &str {
        self.endpoint.as_deref().unwrap_or("AWS")
    }
}

impl FromStr for Place {
    type Err = BadPlace;

    fn from_str(text: &str) -> Result<Self, BadPlace> {
        let wrong = |why: &str| {
            BadPlace(format!("`{text}` is no place for an image: {why}; write s3://bucket/prefix"))
        };
        let rest = text.strip_prefix("s3://").ok_or_else(|| wrong("it does not start with s3://"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let fits =
            |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || ".-".contains(letter);
        if !BUCKET_LENGTH.contains(&bucket.len()) || !bucket.chars().all(fits) {
            return Err(wrong("a bucket's name has 3 to 63 lower-case letters, digits, dots and dashes"));
        }
        let prefix = prefix.trim_matches('/');
        let is_odd = |part: &str| part.is_empty() || part == "." || part == "..";
        if !prefix.is_empty() && prefix.split('/').any(is_odd) || prefix.contains(char::is_control) {
            return Err(wrong("its path has an empty part, dots alone or control characters"));
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "s3://{}", self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(formatter, "/{}", self.prefix) }
    }
}

/// Without what is secret.
impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_bucket_and_a_prefix() {
        let place: Place = "s3://images/lab/trixie/".parse().expect("a place");
        assert_eq!((place.bucket.as_str(), place.prefix.as_str()), ("images", "lab/trixie"));
        assert_eq!(place.to_string(), "s3://images/lab/trixie");
        assert_eq!("s3://images".parse::<Place>().expect("a place").to_string(), "s3://images");
        for wrong in
            ["images/lab", "s3://", "s3://Images/x", "s3://a/x", "s3://images/../x", "s3://images/a//b"]
        {
            let said = wrong.parse::<Place>().expect_err(wrong).to_string();
            assert!(said.contains(wrong) && said.contains("s3://bucket/prefix"), "{said}");
        }
    }

    #[test]
    fn the_usual_variables_are_read_and_secrets_are_not_shown() {
        let access = Access::from_variables(|name| match name {
            "AWS_ACCESS_KEY_ID" => Some("house".to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some("mellon".to_owned()),
            "AWS_ENDPOINT_URL_S3" => Some(String::new()),
            "AWS_ENDPOINT_URL" => Some("http://10.0.0.5:9000".to_owned()),
            _ => None,
        });
        assert_eq!(access.endpoint.as_deref(), Some("http://10.0.0.5:9000"));
        let shown = format!("{access:?}");
        assert!(shown.contains("house") && !shown.contains("mellon"), "{shown}");
        let place = "s3://images/lab".parse().expect("a place");
        let bucket = access.bucket(&place).expect("an endpoint");
        assert_eq!(bucket.base_url().as_str(), "http://10.0.0.5:9000/images/");
        let aws = Access::default().bucket(&place).expect("AWS");
        assert_eq!(aws.base_url().as_str(), "https://images.s3.us-east-1.amazonaws.com/");
        let wrong = Access { endpoint: Some("10.0.0.5".to_owned()), ..Access::default() };
        assert!(wrong.bucket(&place).expect_err("no URL").to_string().contains("`10.0.0.5`"));
    }
}
