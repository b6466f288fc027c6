//! A stack as it is handed over: a compose file, and the files that its `configs:` and `secrets:` name.
//!
//! The client reads the files (only it has them), the head keeps them, a manager lays them beside the compose file. What they
//! hold never reaches a log: [`Content`] prints its length.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The largest compose file, in bytes.
pub const COMPOSE_LIMIT: usize = 256 * 1024;
/// The most files of a stack.
pub const FILES_LIMIT: usize = 64;
/// All files of a stack together, in bytes: every manager has them in memory while it deploys.
pub const FILES_BYTES_LIMIT: usize = 1024 * 1024;
/// The longest key or name, in bytes: Docker's own limit for the names of configs and secrets.
pub const NAME_LIMIT: usize = 64;

/// A stack that is wished for, as `PUT /v1/stacks/{name}` takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StackWish {
    /// The compose file's text.
    pub compose: String,
    /// The compose file's own `version`. Docker merges files of one version only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The files that it names.
    #[serde(default)]
    pub files: Vec<StackFile>,
}

/// A file of a compose file's `configs:` or `secrets:`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct StackFile {
    /// What it is.
    pub kind: FileKind,
    /// Its key below `configs:` or `secrets:`.
    pub key: String,
    /// Its name in the swarm. From a client: what the compose file gives, if it does; else the head makes one that changes
    /// with the content, since Docker does not let the content of a name change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it holds, in base64.
    pub content: Content,
}

/// What a file of a stack is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// A Docker config.
    Config,
    /// A Docker secret.
    Secret,
}

impl FileKind {
    /// The section of a compose file; also the path in Docker's API.
    pub fn section(self) -> &'static str {
        match self {
            Self::Config => "configs",
            Self::Secret => "secrets",
        }
    }

    /// The largest that Docker takes, in bytes.
    pub fn bytes_limit(self) -> usize {
        match self {
            Self::Config => 1000 * 1024,
            Self::Secret => 500 * 1024,
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str(match self {
            Self::Config => "config",
            Self::Secret => "secret",
        })
    }
}

/// The bytes of a file. Base64 where it is written down for a machine, its length where for people.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Content(pub Vec<u8>);

impl fmt::Debug for Content {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(text, "{} bytes", self.0.len())
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // Without the decoder's own words: they quote a byte of it.
        STANDARD.decode(text).map(Self).map_err(|_| serde::de::Error::custom("a content is not in base64"))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Content {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Content".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "contentEncoding": "base64" })
    }
}

/// What is wrong with a wish.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidStack {
    /// No compose file, or one that is too large.
    #[error("a compose file has 1 to {COMPOSE_LIMIT} bytes")]
    Compose,
    /// The compose file's `version` is none.
    #[error("the compose file's version is none that Docker knows: write it like \"3.8\", or leave it out")]
    Version,
    /// Too many files.
    #[error("a stack has at most {FILES_LIMIT} configs and secrets")]
    Files,
    /// A key or a name that Docker would not take.
    #[error(
        "{0:?} cannot name a config or a secret: use at most {NAME_LIMIT} letters, digits, dots, dashes, underscores"
    )]
    Name(String),
    /// The same key twice.
    #[error("the {0} {1} is there twice")]
    Twice(FileKind, String),
    /// A file that is too large for Docker.
    #[error("the {0} {1} is larger than {limit} bytes", limit = .0.bytes_limit())]
    Large(FileKind, String),
    /// All are too large together.
    #[error("the stack's configs and secrets are larger than {FILES_BYTES_LIMIT} bytes together")]
    LargeTogether,
}

impl StackWish {
    /// Looks whether it can be kept and deployed.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), InvalidStack> {
        if self.compose.trim().is_empty() || self.compose.len() > COMPOSE_LIMIT {
            return Err(InvalidStack::Compose);
        }
        if !self.version.as_deref().is_none_or(is_version) {
            return Err(InvalidStack::Version);
        }
        if self.files.len() > FILES_LIMIT {
            return Err(InvalidStack::Files);
        }
        for (place, file) in self.files.iter().enumerate() {
            let mut names = std::iter::once(&file.key).chain(&file.name);
            if let Some(wrong) = names.find(|name| !is_name(name)) {
                return Err(InvalidStack::Name(wrong.chars().take(NAME_LIMIT).collect()));
            }
            if self.files[..place].iter().any(|other| (other.kind, &other.key) == (file.kind, &file.key)) {
                return Err(InvalidStack::Twice(file.kind, file.key.clone()));
            }
            if file.content.0.len() > file.kind.bytes_limit() {
                return Err(InvalidStack::Large(file.kind, file.key.clone()));
            }
        }
        let bytes: usize = self.files.iter().map(|file| file.content.0.len()).sum();
        if bytes > FILES_BYTES_LIMIT { Err(InvalidStack::LargeTogether) } else { Ok(()) }
    }
}

/// Two numbers at most: it is written into a compose file.
fn is_version(text: &str) -> bool {
    (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// Docker's own rule for the names of configs and secrets, without the dot at the beginning that a path might make much of.
fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= NAME_LIMIT
        && bytes.iter().all(|byte| inner(*byte))
        && ends(bytes.first())
        && ends(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(kind: FileKind, key: &str, bytes: usize) -> StackFile {
        StackFile { kind, key: key.to_owned(), name: None, content: Content(vec![7; bytes]) }
    }

    fn wish(files: Vec<StackFile>) -> StackWish {
        StackWish { compose: "services: {}".to_owned(), version: Some("3.8".to_owned()), files }
    }

    #[test]
    fn what_cannot_be_deployed_is_named() {
        use FileKind::{Config, Secret};
        assert_eq!(wish(vec![file(Config, "page", 9), file(Secret, "page", 9)]).check(), Ok(()));
        assert_eq!(StackWish { compose: " ".to_owned(), ..wish(vec![]) }.check(), Err(InvalidStack::Compose));
        let version = Some("3\n".to_owned());
        assert_eq!(StackWish { version, ..wish(vec![]) }.check(), Err(InvalidStack::Version));
        let twice = wish(vec![file(Config, "a", 1), file(Config, "a", 1)]);
        assert_eq!(twice.check(), Err(InvalidStack::Twice(Config, "a".to_owned())));
        for name in ["", ".a", "../a", "a/b", "a$b", "-a", &"a".repeat(65)] {
            assert!(
                matches!(wish(vec![file(Config, name, 1)]).check(), Err(InvalidStack::Name(_))),
                "{name}"
            );
        }
        assert!(matches!(wish(vec![file(Secret, "a", 512_001)]).check(), Err(InvalidStack::Large(..))));
        let large = wish(vec![file(Config, "a", 600_000), file(Config, "b", 600_000)]);
        assert_eq!(large.check(), Err(InvalidStack::LargeTogether));
        let many = (0..=FILES_LIMIT).map(|number| file(Config, &format!("k{number}"), 1)).collect();
        assert_eq!(wish(many).check(), Err(InvalidStack::Files));
    }

    #[test]
    fn a_content_is_base64_for_machines_and_a_length_for_people() {
        let file =
            StackFile { content: Content(b"tell nobody".to_vec()), ..file(FileKind::Secret, "password", 0) };
        let text = serde_json::to_string(&file).expect("JSON");
        assert!(text.contains("\"dGVsbCBub2JvZHk=\""), "{text}");
        assert_eq!(serde_json::from_str::<StackFile>(&text).expect("the same"), file);
        assert!(format!("{file:?}").contains("11 bytes"));
        let wrong = text.replace("dGVs", "d!!s");
        let error = serde_json::from_str::<StackFile>(&wrong).expect_err("not base64").to_string();
        assert!(error.contains("not in base64") && !error.contains('!'), "{error}");
    }
}
