//! Secrets: how they are made, and what is kept of them. Who may do what is decided in `head::access`.
//!
//! Tokens, sessions and one-time logins are 256 random bits, of which SHA-256 is kept: nobody guesses them, so that a slow
//! hash would only let strangers keep the head busy. Passwords are people's and get argon2id.

use std::net::IpAddr;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use cluster::Digest;
use cluster::view::{Scope, TokenKind, TokenView};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The lengths of a password, in bytes.
pub(crate) const PASSWORD_BYTES: std::ops::RangeInclusive<usize> = 10..=200;
/// What argon2id takes: 19 MiB, two passes, one lane (OWASP's password storage cheat sheet, 2024).
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// How a secret begins, so that scanners of sources find one that was left there.
const PREFIX: &str = "fledermaus_";

/// A secret that was made just now.
pub(crate) struct Secret(String);

impl Secret {
    /// Makes one; `None` if the system has no random bytes, which the log tells.
    pub(crate) fn new() -> Option<Self> {
        Some(Self(format!("{PREFIX}{}", hex(&random::<32>()?))))
    }

    /// The secret itself, to be told once.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub(crate) fn hash(&self) -> Digest {
        hash(&self.0)
    }
}

/// What is kept of a secret that somebody sent.
pub(crate) fn hash(secret: &str) -> Digest {
    Digest(Sha256::digest(secret.as_bytes()).into())
}

/// Random hex digits, two for each byte.
pub(crate) fn random_id() -> Option<String> {
    Some(hex(&random::<6>()?))
}

/// A salt: 128 random bits in hex.
pub(crate) fn random_salt() -> Option<String> {
    Some(hex(&random::<16>()?))
}

fn random<const BYTES: usize>() -> Option<[u8; BYTES]> {
    let mut random = [0; BYTES];
    getrandom::fill(&mut random).inspect_err(|error| tracing::error!("no random bytes: {error}")).ok()?;
    Some(random)
}

/// Bytes in hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("they are within argon2's limits");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// What is kept of a password. Takes tens of milliseconds.
pub(crate) fn hash_password(password: &str) -> Option<String> {
    let salt = SaltString::encode_b64(&random::<16>()?).ok()?;
    argon2().hash_password(password.as_bytes(), &salt).ok().map(|hash| hash.to_string())
}

/// Whether a password is the one that was kept. Without an account it takes as long: nobody learns which there are.
pub(crate) fn is_password(password: &str, kept: Option<&str>) -> bool {
    const NOBODY: &str =
        "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5$+PYcNrPLOo5DCtR9nm2MuxtL5nZQBBrPVfuvJtOZ1k4";
    let hash = kept.unwrap_or(NOBODY);
    let is_right = PasswordHash::new(hash)
        .is_ok_and(|hash| argon2().verify_password(password.as_bytes(), &hash).is_ok());
    is_right && kept.is_some()
}

/// A secret's keeper: what it opens, for whom, until when.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Credential {
    pub(crate) view: TokenView,
    pub(crate) hash: Digest,
}

impl Credential {
    /// Whether it opens anything at this time.
    pub(crate) fn is_valid(&self, kind: TokenKind, now_ms: u64) -> bool {
        self.view.kind == kind && self.view.until_ms.is_none_or(|until_ms| now_ms < until_ms)
    }
}

/// Somebody with a password.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) scope: Scope,
    pub(crate) set_ms: u64,
    /// In the PHC string format.
    pub(crate) password: String,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    pub(crate) name: String,
    pub(crate) scope: Scope,
    /// The client's address; `None` on the head's own socket.
    pub(crate) address: Option<IpAddr>,
    /// The credential that was shown.
    pub(crate) credential: Option<String>,
}

impl Principal {
    /// Whoever may open the socket of mode 0600 may do everything.
    pub(crate) fn of_socket(user: Option<u32>) -> Self {
        let name = match user {
            Some(0) => "root".to_owned(),
            Some(number) => format!("uid-{number}"),
            None => "socket".to_owned(),
        };
        Self { name, scope: Scope::Admin, address: None, credential: None }
    }

    /// From where, as the audit log has it.
    pub(crate) fn place(&self) -> String {
        self.address.map_or("socket".to_owned(), |address| address.to_canonical().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_again_by_its_hash_alone() {
        let kept = hash_password("correct horse").expect("a hash");
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && !kept.contains("horse"), "{kept}");
        assert!(is_password("correct horse", Some(&kept)));
        assert!(!is_password("correct horsf", Some(&kept)));
        assert_ne!(hash_password("correct horse"), Some(kept), "each has its own salt");
        let begin = std::time::Instant::now();
        assert!(!is_password("correct horse", None), "there is no such account");
        assert!(
            begin.elapsed().as_millis() >= 5,
            "an account that is not there takes as long as one that is"
        );
    }

    #[test]
    fn secrets_are_long_differ_and_are_kept_as_their_hash() {
        let (one, other) = (Secret::new().expect("random"), Secret::new().expect("random"));
        assert_eq!(one.expose().len(), PREFIX.len() + 64);
        assert_ne!(one.expose(), other.expose());
        assert_eq!(hash(one.expose()), one.hash());
    }
}
