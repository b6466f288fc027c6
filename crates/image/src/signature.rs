//! Whether a mirror's `InRelease` was signed by a key of the keyring. Decides; fetches nothing.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use pgp::composed::{CleartextSignedMessage, Deserializable, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::types::KeyDetails;

/// The text that a valid signature covers; nothing else of the message may be believed.
///
/// # Errors
/// The message is none, or no key of the keyring that may sign and has not expired made a signature of it.
pub(crate) fn signed_text(message: &str, keyring: &[u8], now: SystemTime) -> Result<String> {
    let now = now.duration_since(UNIX_EPOCH).context("reading the clock")?.as_secs();
    let (message, _) = CleartextSignedMessage::from_string(message).context("reading the signature")?;
    let text = message.signed_text();
    let mut reasons = Vec::new();
    for key in SignedPublicKey::from_bytes_many(keyring).context("reading the keyring")? {
        // A key of a kind that this reader does not know cannot vouch for anything.
        let Ok(key) = key else { continue };
        for signature in message.signatures() {
            match made_by(&key, signature, text.as_bytes(), now) {
                None => {}
                Some(Ok(())) => return Ok(text.replace("\r\n", "\n")),
                Some(Err(reason)) => reasons.push(format!("{reason:#}")),
            }
        }
    }
    if reasons.is_empty() {
        bail!("no key of the keyring made the signature");
    }
    bail!("{}", reasons.join("; "))
}

/// `None` if another key made the signature.
fn made_by(key: &SignedPublicKey, signature: &Signature, text: &[u8], now: u64) -> Option<Result<()>> {
    if signature.verify(&key.primary_key, text).is_ok() {
        let result = fresh(signature, now).and_then(|()| primary_may_sign(key, now));
        return Some(result.with_context(|| format!("key {}", key.fingerprint())));
    }
    let subkey = key.public_subkeys.iter().find(|subkey| signature.verify(&subkey.key, text).is_ok())?;
    let result = fresh(signature, now)
        .and_then(|()| primary_valid(key, now).map(|_| ()))
        .and_then(|()| subkey_may_sign(key, subkey, now));
    Some(result.with_context(|| format!("key {}", subkey.key.fingerprint())))
}

/// The signature itself: a modern hash, made before now, not expired.
fn fresh(signature: &Signature, now: u64) -> Result<()> {
    let strong = [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512];
    if !signature.hash_alg().is_some_and(|hash| strong.contains(&hash)) {
        bail!("the signature uses a hash that is not safe any more");
    }
    let Some(created) = signature.created().map(|time| u64::from(time.as_secs())) else {
        bail!("the signature does not say when it was made");
    };
    if created > now + CLOCK_TOLERANCE_SECS {
        bail!("the signature was made in the future: check this machine's clock");
    }
    match signature.signature_expiration_time().map(|time| u64::from(time.as_secs())) {
        Some(lasts) if lasts > 0 && created + lasts < now => bail!("the signature has expired"),
        _ => Ok(()),
    }
}

/// How far this machine's clock may be behind the signer's, in seconds.
const CLOCK_TOLERANCE_SECS: u64 = 24 * 60 * 60;

fn primary_may_sign(key: &SignedPublicKey, now: u64) -> Result<()> {
    let own = primary_valid(key, now)?;
    if own.key_flags().sign() { Ok(()) } else { bail!("it may not sign data") }
}

/// The newest statement of the primary key about itself, if the key is neither revoked nor expired.
fn primary_valid(key: &SignedPublicKey, now: u64) -> Result<&Signature> {
    if key.details.revocation_signatures.iter().any(|revoked| revoked.verify_key(&key.primary_key).is_ok()) {
        bail!("it was revoked");
    }
    let users = key.details.users.iter().flat_map(|user| {
        let own = |signature: &&Signature| {
            signature.is_certification()
                && signature.verify_certification(&key.primary_key, pgp::types::Tag::UserId, &user.id).is_ok()
        };
        user.signatures.iter().filter(own)
    });
    let direct = key.details.direct_signatures.iter();
    let direct = direct.filter(|signature| signature.verify_key(&key.primary_key).is_ok());
    let Some(newest) =
        users.chain(direct).max_by_key(|signature| signature.created().map(|time| time.as_secs()))
    else {
        bail!("it does not vouch for itself");
    };
    not_expired(key.primary_key.created_at().as_secs(), newest, now)?;
    Ok(newest)
}

fn subkey_may_sign(key: &SignedPublicKey, subkey: &SignedPublicSubKey, now: u64) -> Result<()> {
    let valid =
        |signature: &&Signature| signature.verify_subkey_binding(&key.primary_key, &subkey.key).is_ok();
    let of = |kind| subkey.signatures.iter().filter(move |signature| signature.typ() == Some(kind));
    if of(SignatureType::SubkeyRevocation).any(|signature| valid(&signature)) {
        bail!("it was revoked");
    }
    let bindings = of(SignatureType::SubkeyBinding).filter(valid);
    let Some(newest) = bindings.max_by_key(|signature| signature.created().map(|time| time.as_secs())) else {
        bail!("its primary key does not vouch for it");
    };
    let back = newest.embedded_signature();
    let agreed =
        back.is_some_and(|back| back.verify_primary_key_binding(&subkey.key, &key.primary_key).is_ok());
    if !newest.key_flags().sign() || !agreed {
        bail!("it may not sign data");
    }
    not_expired(subkey.key.created_at().as_secs(), newest, now)
}

fn not_expired(created: u32, own: &Signature, now: u64) -> Result<()> {
    match own.key_expiration_time().map(|time| u64::from(time.as_secs())) {
        Some(lasts) if lasts > 0 && u64::from(created) + lasts < now => {
            bail!("it has expired: update the package debian-archive-keyring")
        }
        _ => Ok(()),
    }
}
