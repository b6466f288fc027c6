//! What the mirrors have: Releases that are verified, and the packages that they vouch for.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, bail};
use sha2::{Digest as _, Sha256};

use crate::download::{Downloads, KEPT, REFUSED, Wanted};
use crate::index::Index;
use crate::progress::Progress;
use crate::recipe::{Mirror, Recipe};
use crate::release::Release;
use crate::signature;
use crate::sources::sources;

/// How old a verified Release may be before the mirror is asked again.
pub(crate) const RELEASE_FRESH: Duration = Duration::from_secs(60 * 60);
/// The largest list of packages, unpacked, in bytes; trixie's is 55 MB.
const INDEX_BYTES_LIMIT: u64 = 512 * 1024 * 1024;

/// A mirror with its verified Release.
pub(crate) struct Verified {
    pub(crate) mirror: Mirror,
    pub(crate) release: Release,
}

/// Where locked packages may be: the URLs of the recipe's mirrors, or else those of apt's.
pub(crate) fn urls(recipe: &Recipe, apt: &Path) -> Vec<String> {
    if recipe.mirrors.is_empty() {
        return sources(apt).into_iter().map(|source| source.url).collect();
    }
    recipe.mirrors.iter().map(|mirror| mirror.url.clone()).collect()
}

/// The recipe's mirrors, or else the first of apt's mirrors that has the suite. A Release that was verified before
/// and is younger than `fresh` is not asked for again.
///
/// # Errors
/// A mirror does not answer, or what it says is not signed by its keyring; or apt's configuration has none.
pub(crate) fn verified(
    recipe: &Recipe,
    apt: &Path,
    downloads: &Downloads,
    fresh: Duration,
    progress: &mut dyn Progress,
) -> Result<Vec<Verified>> {
    if recipe.mirrors.is_empty() {
        return Ok(vec![from_apt(recipe, apt, downloads, fresh, progress)?]);
    }
    let mut all = Vec::new();
    for mirror in &recipe.mirrors {
        let found = verify(mirror, downloads, fresh, progress)?;
        let missing = || {
            anyhow!("mirror {} has no suite `{}`: check `mirrors` in image.toml", mirror.url, mirror.suite)
        };
        all.push(found.ok_or_else(missing)?);
    }
    Ok(all)
}

fn from_apt(
    recipe: &Recipe,
    apt: &Path,
    downloads: &Downloads,
    fresh: Duration,
    progress: &mut dyn Progress,
) -> Result<Verified> {
    let mut reasons = Vec::new();
    let mut components = vec!["main".to_owned()];
    components.extend(recipe.firmware.as_ref().map(|firmware| firmware.component.clone()));
    for source in sources(apt) {
        let mirror = Mirror {
            url: source.url,
            keyring: recipe.keyring.clone(),
            suite: recipe.suite.clone(),
            components: components.clone(),
        };
        match verify(&mirror, downloads, fresh, progress) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => reasons.push(format!("{} does not have it", mirror.url)),
            Err(error) => reasons.push(format!("{error:#}")),
        }
    }
    if reasons.is_empty() {
        reasons.push(format!("{} names no HTTP source with the component main", apt.display()));
    }
    bail!(
        "this machine's apt configuration leads to no mirror with Debian's suite `{}` ({}): write one into {}, \
         as [[mirrors]] with a line url = \"http://…/debian\"",
        recipe.suite,
        reasons.join("; "),
        recipe.file.display()
    )
}

/// `None` if the mirror does not have the suite.
fn verify(
    mirror: &Mirror,
    downloads: &Downloads,
    fresh: Duration,
    progress: &mut dyn Progress,
) -> Result<Option<Verified>> {
    let url = format!("{}/dists/{}/InRelease", mirror.url, mirror.suite);
    let kept = downloads.named(&format!("{KEPT}{}", short_digest(&url)));
    let keyring = fs::read(&mirror.keyring).with_context(|| {
        format!("reading the keyring {} (apt install debian-archive-keyring)", mirror.keyring.display())
    })?;
    let now = SystemTime::now();
    if let Some(text) = younger(&kept, fresh, now) {
        match check(mirror, &text, &keyring, now) {
            Ok(known) => return Ok(Some(known)),
            // It was signed when it was kept.
            Err(_) if signature::signed_text(&text, &keyring, now).is_err() => {
                return Err(set_aside(&url, &kept));
            }
            // It is too old, or of another suite: the mirror has another.
            Err(_) => {}
        }
    }
    match downloads.text(&url) {
        Ok(None) => Ok(None),
        Ok(Some(text)) => {
            let found = check(mirror, &text, &keyring, now).with_context(|| format!("refusing {url}"))?;
            write_whole(&kept, text.as_bytes())?;
            Ok(Some(found))
        }
        Err(error) => {
            let known =
                fs::read_to_string(&kept).ok().and_then(|text| check(mirror, &text, &keyring, now).ok());
            let Some(known) = known else {
                let advice = "the mirror does not answer: check the network, or write another one into image.toml as [[mirrors]]";
                return Err(error.context(advice));
            };
            progress.notice(&format!("{error:#}: going on with the Release that was fetched before"));
            Ok(Some(known))
        }
    }
}

/// A Release that was changed in the cache is never used, and never silently replaced.
fn set_aside(url: &str, kept: &Path) -> anyhow::Error {
    let mut aside = kept.as_os_str().to_owned();
    aside.push(REFUSED);
    let aside = Path::new(&aside);
    if let Err(error) = fs::rename(kept, aside) {
        return anyhow!(error)
            .context(format!("refusing {url}: setting its changed file {} aside", kept.display()));
    }
    anyhow!(
        "refusing {url}: its file in the cache was changed after it was fetched, no key of the keyring has signed it any more; \
         it lies in {} now, and the next build fetches another",
        aside.display()
    )
}

fn check(mirror: &Mirror, message: &str, keyring: &[u8], now: SystemTime) -> Result<Verified> {
    let text = signature::signed_text(message, keyring, now)?;
    let release = Release::parse(&text, &mirror.suite, now)?;
    Ok(Verified { mirror: mirror.clone(), release })
}

fn younger(kept: &Path, limit: Duration, now: SystemTime) -> Option<String> {
    let age = now.duration_since(fs::metadata(kept).ok()?.modified().ok()?).ok()?;
    if age < limit { fs::read_to_string(kept).ok() } else { None }
}

/// The packages of all mirrors.
///
/// # Errors
/// A list cannot be had or read.
pub(crate) fn index(
    mirrors: &[Verified],
    architecture: &str,
    downloads: &Downloads,
    progress: &mut dyn Progress,
) -> Result<Index> {
    let mut index = Index::default();
    for Verified { mirror, release, .. } in mirrors {
        for component in &mirror.components {
            let path = format!("{component}/binary-{architecture}/Packages.xz");
            let base = format!("{}/dists/{}", mirror.url, mirror.suite);
            let Some((bytes, sha256)) = release.file(&path) else {
                bail!(
                    "{base} has no component `{component}` for {architecture}: check `components` in image.toml"
                );
            };
            let wanted = Wanted { name: path.clone(), urls: vec![format!("{base}/{path}")], bytes, sha256 };
            downloads.fetch_all(std::slice::from_ref(&wanted), progress)?;
            let list = downloads.read(&path, sha256)?;
            let text = unpacked(&list).with_context(|| format!("unpacking {path}"))?;
            index.add(&text)?;
        }
    }
    Ok(index)
}

fn unpacked(list: &[u8]) -> Result<String> {
    let mut text = String::new();
    liblzma::read::XzDecoder::new_multi_decoder(list).take(INDEX_BYTES_LIMIT).read_to_string(&mut text)?;
    Ok(text)
}

/// Writes a file that is either there as a whole or not at all.
fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let temporary = path.with_extension("new");
    fs::write(&temporary, content)
        .and_then(|()| fs::rename(&temporary, path))
        .with_context(|| format!("writing {}", path.display()))
}

fn hex(text: &str) -> String {
    cluster::Digest(Sha256::digest(text.as_bytes()).into()).to_string()
}

fn short_digest(text: &str) -> String {
    hex(text)[..16].to_owned()
}
