//! `sbom.spdx.json`: what an image is made of, in SPDX 2.3, for tools that look for licences and known holes. Lists
//! packages and the image's own files.
//!
//! Not the 800 single files in them: SPDX 2.3 wants SHA-1 of each (clause 8.4), which vouches for nothing any more, and a
//! licence for each, which a package's notice does not tell of what was built; tools look packages up by name and
//! version. Who wants files finds them in `files.json`, with package, SHA-256 and size, in fewer bytes.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use cluster::Digest;
use cluster::manifest::{Artefact, Manifest};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::copyright::Notices;
use crate::lock::{Lock, Part, Pinned};
use crate::output::Draft;

mod licence;

/// The file in an image's directory that holds its bill of materials.
pub const SBOM_FILE: &str = "sbom.spdx.json";
/// Where the notices are that the licences come from.
const SOURCE: &str = "usr/share/doc in the system image";
const NO_ASSERTION: &str = "NOASSERTION";
const IMAGE: &str = "SPDXRef-Image";

/// Writes the bill of materials.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write(draft: &Draft, lock: &Lock, manifest: &Manifest, notices: &Notices) -> Result<()> {
    let document = document(lock, manifest, notices);
    draft.write(SBOM_FILE, &serde_json::to_vec_pretty(&document).context("writing the bill of materials")?)
}

fn document(lock: &Lock, manifest: &Manifest, notices: &Notices) -> Value {
    let mut texts = BTreeMap::new();
    let artefacts = [&manifest.kernel, &manifest.initramfs, &manifest.system];
    let mut packages = vec![image(manifest)];
    let mut relationships = vec![relationship("SPDXRef-DOCUMENT", "DESCRIBES", IMAGE)];
    for artefact in manifest.own_files().chain(&manifest.firmware) {
        packages.push(output(artefact));
        relationships.push(relationship(IMAGE, "CONTAINS", &id("File", &artefact.file)));
    }
    for (file, part) in
        manifest.one_file.iter().flat_map(|file| [(file, &manifest.kernel), (file, &manifest.initramfs)])
    {
        relationships.push(relationship(&id("File", &file.file), "CONTAINS", &id("File", &part.file)));
    }
    packages.push(programs());
    for file in artefacts.into_iter().skip(1) {
        relationships.push(relationship(&id("File", &file.file), "CONTAINS", &id("Package", "fledermaus")));
    }
    for package in lock.of_image() {
        packages.push(debian(lock, package, notices, &mut texts));
        relationships.extend(
            whole_of(package, manifest).into_iter().map(|whole| {
                relationship(&id("File", &whole.file), "CONTAINS", &id("Package", &package.name))
            }),
        );
    }
    let texts = texts.into_iter().map(|(id, (name, text))| {
        json!({ "licenseId": id, "name": name, "extractedText": text, "comment": format!("as in {SOURCE}") })
    });
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": format!("fledermaus image {}", manifest.name),
        "documentNamespace": namespace(manifest),
        "creationInfo": {
            "created": timestamp(lock.time),
            "creators": [format!("Tool: fledermaus-{}", env!("CARGO_PKG_VERSION"))],
            "comment": "the time is that of the Debian Release, so that the same lock gives the same document",
        },
        "packages": packages,
        "hasExtractedLicensingInfos": texts.collect::<Vec<_>>(),
        "relationships": relationships,
    })
}

/// The files of the image that a package is in.
fn whole_of<'a>(package: &Pinned, manifest: &'a Manifest) -> Vec<&'a Artefact> {
    match package.part {
        Part::System => vec![&manifest.system],
        Part::Kernel => vec![&manifest.kernel, &manifest.initramfs, &manifest.system],
        Part::Lab => manifest.lab_uboot.iter().collect(),
        Part::Firmware => manifest.firmware.iter().collect(),
        Part::Card => Vec::new(),
    }
}

fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

fn image(manifest: &Manifest) -> Value {
    json!({
        "SPDXID": IMAGE,
        "name": manifest.name,
        "primaryPackagePurpose": "OPERATING-SYSTEM",
        "downloadLocation": NO_ASSERTION,
        "filesAnalyzed": false,
        "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": NO_ASSERTION,
        "copyrightText": NO_ASSERTION,
    })
}

/// A file of the image. Not as SPDX's file, which would want its SHA-1.
fn output(artefact: &Artefact) -> Value {
    json!({
        "SPDXID": id("File", &artefact.file),
        "name": artefact.file,
        "packageFileName": artefact.file,
        "primaryPackagePurpose": "FILE",
        "checksums": [sha256(artefact.sha256)],
        "downloadLocation": NO_ASSERTION,
        "filesAnalyzed": false,
        "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": NO_ASSERTION,
        "copyrightText": NO_ASSERTION,
    })
}

/// What this project brings: init, agent, start scripts.
fn programs() -> Value {
    json!({
        "SPDXID": id("Package", "fledermaus"),
        "name": "fledermaus",
        "versionInfo": env!("CARGO_PKG_VERSION"),
        "downloadLocation": NO_ASSERTION,
        "filesAnalyzed": false,
        "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": env!("CARGO_PKG_LICENSE"),
        "copyrightText": NO_ASSERTION,
    })
}

fn debian(
    lock: &Lock,
    package: &Pinned,
    notices: &Notices,
    texts: &mut BTreeMap<String, (String, String)>,
) -> Value {
    let notice = notices.of(&package.name);
    let declared = notice.and_then(|notice| licence::declared(&package.name, notice, texts));
    let file = package.pool.rsplit('/').next().unwrap_or_default();
    let locator = format!(
        "pkg:deb/debian/{}@{}?arch={}&distro={}",
        escaped(&package.name),
        escaped(&package.version),
        package.architecture,
        lock.suite
    );
    json!({
        "SPDXID": id("Package", &package.name),
        "name": package.name,
        "versionInfo": package.version,
        "packageFileName": file,
        "supplier": "Organization: Debian",
        "downloadLocation": NO_ASSERTION,
        "filesAnalyzed": false,
        "checksums": [sha256(package.sha256)],
        "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": declared.unwrap_or_else(|| NO_ASSERTION.to_owned()),
        "copyrightText": NO_ASSERTION,
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": locator,
        }],
    })
}

fn sha256(digest: Digest) -> Value {
    json!({ "algorithm": "SHA256", "checksumValue": digest.to_string() })
}

/// An identifier of SPDX: letters, digits, dots and dashes.
fn id(kind: &str, name: &str) -> String {
    let letters = name.chars().map(|letter| match letter {
        '+' => "-plus".to_owned(),
        letter if letter.is_ascii_alphanumeric() || letter == '.' || letter == '-' => letter.to_string(),
        _ => "-".to_owned(),
    });
    format!("SPDXRef-{kind}-{}", letters.collect::<String>())
}

/// A part of a package URL: what is not unreserved (RFC 3986) is percent-encoded.
fn escaped(text: &str) -> String {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let parts = text
        .bytes()
        .map(|byte| if unreserved(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") });
    parts.collect()
}

/// The same for the same image: a UUID (RFC 9562, version 8) of the names and digests of all files that the document names.
fn namespace(manifest: &Manifest) -> String {
    let mut hasher = Sha256::new();
    for artefact in manifest.own_files().chain(&manifest.firmware) {
        hasher.update(artefact.file.as_bytes());
        hasher.update([0]);
        hasher.update(artefact.sha256.0);
    }
    let mut bytes: [u8; 32] = hasher.finalize().into();
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = Digest(bytes).to_string();
    format!("urn:uuid:{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32])
}

/// Seconds since 1970 as ISO 8601 in UTC (days to a date: Howard Hinnant's `civil_from_days`).
fn timestamp(seconds: u64) -> String {
    const DAY_SECS: u64 = 86_400;
    let (days, rest) = (seconds / DAY_SECS + 719_468, seconds % DAY_SECS);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests;
