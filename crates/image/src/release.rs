//! A suite's `Release`: which files it vouches for and how long. The signature is [`crate::signature`]'s.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use cluster::Digest;

use crate::index::field;

/// What a Release says, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Release {
    /// When it was made, seconds since 1970: the time stamp of every file of an image.
    pub(crate) date: u64,
    /// Path below `dists/<suite>/`, size, digest.
    files: Vec<(String, u64, Digest)>,
}

impl Release {
    /// Reads a Release whose signature was verified.
    ///
    /// # Errors
    /// It is for another suite, it is no longer valid, or it cannot be read.
    pub(crate) fn parse(text: &str, suite: &str, now: SystemTime) -> Result<Self> {
        let named = [field(text, "Suite"), field(text, "Codename")];
        if !named.contains(&Some(suite)) {
            bail!("it is for the suite `{}`, not `{suite}`", named.iter().flatten().next().unwrap_or(&"?"));
        }
        if let Some(until) = field(text, "Valid-Until") {
            let until = seconds(until).context("reading Valid-Until")?;
            ensure!(
                now <= UNIX_EPOCH + Duration::from_secs(until),
                "it was valid until {} only",
                field(text, "Valid-Until").unwrap_or_default()
            );
        }
        let date = seconds(field(text, "Date").context("it has no Date")?).context("reading its Date")?;
        Ok(Self { date, files: files(text)? })
    }

    /// Size and digest of a file below `dists/<suite>/`.
    pub(crate) fn file(&self, path: &str) -> Option<(u64, Digest)> {
        self.files.iter().find(|(name, ..)| name == path).map(|(_, bytes, sha256)| (*bytes, *sha256))
    }
}

fn files(text: &str) -> Result<Vec<(String, u64, Digest)>> {
    let lines = text.lines().skip_while(|line| *line != "SHA256:").skip(1);
    let mut files = Vec::new();
    for line in lines.take_while(|line| line.starts_with(' ')) {
        let mut words = line.split_ascii_whitespace();
        let (Some(sha256), Some(bytes), Some(path)) = (words.next(), words.next(), words.next()) else {
            bail!("a line of its SHA256 list cannot be read");
        };
        files.push((path.to_owned(), bytes.parse().context("reading a size")?, sha256.parse()?));
    }
    Ok(files)
}

/// `Sat, 06 Sep 2025 10:19:31 UTC` as seconds since 1970.
fn seconds(date: &str) -> Result<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = date.split([' ', ':']).filter(|word| !word.is_empty()).collect();
    let [_, day, month, year, hour, minute, second, "UTC" | "GMT" | "+0000"] = words[..] else {
        bail!("`{date}` is no date");
    };
    let number = |text: &str| text.parse::<u64>().with_context(|| format!("`{date}` is no date"));
    let month =
        MONTHS.iter().position(|name| *name == month).with_context(|| format!("`{date}` is no date"))?;
    let days = days(number(year)?, month as u64 + 1, number(day)?)
        .with_context(|| format!("`{date}` is no date"))?;
    Ok(((days * 24 + number(hour)?) * 60 + number(minute)?) * 60 + number(second)?)
}

/// Days since 1970-01-01 (the civil calendar, years counted from March). `None` outside 1970 to 9999.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=31).contains(&day) {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    Some(days - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Suite: stable\nCodename: trixie\nDate: Sat, 06 Sep 2025 10:19:31 UTC\n\
        MD5Sum:\n 00 1 x\nSHA256:\n \
        0707070707070707070707070707070707070707070707070707070707070707 12 main/binary-arm64/Packages.xz\n";

    #[test]
    fn dates() {
        assert_eq!(seconds("Sat, 06 Sep 2025 10:19:31 UTC").expect("a date"), 1_757_153_971);
        assert_eq!(seconds("Thu, 01 Jan 1970 00:00:00 UTC").expect("a date"), 0);
        assert_eq!(seconds("Thu, 29 Feb 2024 23:59:59 +0000").expect("a date"), 1_709_251_199);
        assert!(seconds("yesterday").is_err());
        assert!(seconds("Sat, 06 Sep 0001 10:19:31 UTC").is_err());
    }

    #[test]
    fn a_release_vouches_for_its_files() {
        let release = Release::parse(TEXT, "trixie", SystemTime::now()).expect("readable");
        assert_eq!(release.file("main/binary-arm64/Packages.xz"), Some((12, Digest([7; 32]))));
        assert_eq!(release.file("x"), None);
    }

    #[test]
    fn another_suite_or_an_old_release_is_refused() {
        assert!(Release::parse(TEXT, "bookworm", SystemTime::now()).is_err());
        let old = TEXT.replace("MD5Sum", "Valid-Until: Sat, 13 Sep 2025 10:19:31 UTC\nMD5Sum");
        let error = Release::parse(&old, "stable", SystemTime::now()).expect_err("too old");
        assert!(error.to_string().contains("valid until Sat, 13 Sep"), "{error}");
    }
}
