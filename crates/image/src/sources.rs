//! Which Debian mirrors this machine's apt uses, to fetch packages from the same place. Reads apt's source
//! files; asks no mirror.

use std::fs;
use std::path::{Path, PathBuf};

/// A mirror that apt uses for packages of the component `main`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// Without a slash at its end.
    pub(crate) url: String,
    /// The keys that apt checks it with, if the source names a file.
    pub(crate) keyring: Option<PathBuf>,
}

/// The HTTP mirrors in `sources.list` and `sources.list.d` of apt's folder (`/etc/apt`), each once, in
/// apt's order. Files that cannot be read count as empty.
pub(crate) fn sources(apt: &Path) -> Vec<Source> {
    let mut files = vec![apt.join("sources.list")];
    let listed = fs::read_dir(apt.join("sources.list.d")).into_iter().flatten().flatten();
    let mut parts: Vec<PathBuf> = listed.map(|entry| entry.path()).collect();
    parts.sort();
    files.extend(parts);
    let mut found: Vec<Source> = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let in_file = match file.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => deb822(&text),
            Some("list") => one_line(&text),
            _ => continue,
        };
        for source in in_file {
            if !found.iter().any(|known| known.url == source.url) {
                found.push(source);
            }
        }
    }
    found
}

/// The format of `*.sources` (sources.list(5)).
fn deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    for stanza in lines.join("\n").split("\n\n") {
        let words = |name: &str| words(stanza, name);
        let enabled = !words("Enabled").iter().any(|word| word == "no");
        if !enabled
            || !words("Types").iter().any(|word| word == "deb")
            || !words("Components").iter().any(|word| word == "main")
        {
            continue;
        }
        let keyring = words("Signed-By").first().filter(|word| word.starts_with('/')).map(PathBuf::from);
        sources.extend(words("URIs").iter().filter_map(|uri| source(uri, keyring.clone())));
    }
    sources
}

/// All words of a field, which may go on in lines that start with a space.
fn words(stanza: &str, name: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut inside = false;
    for line in stanza.lines() {
        let rest = if line.starts_with([' ', '\t']) {
            line
        } else {
            let Some((key, rest)) = line.split_once(':') else { continue };
            inside = key.eq_ignore_ascii_case(name);
            rest
        };
        if inside {
            words.extend(rest.split_ascii_whitespace().map(str::to_owned));
        }
    }
    words
}

/// The format of `*.list`: `deb [signed-by=…] uri suite component…`.
fn one_line(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for line in text.lines().map(str::trim) {
        let Some(rest) = line.strip_prefix("deb ").map(str::trim_start) else { continue };
        let (options, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((options, rest)) => (options, rest),
            None => ("", rest),
        };
        let words: Vec<&str> = rest.split('#').next().unwrap_or(rest).split_ascii_whitespace().collect();
        if let [uri, _, components @ ..] = &words[..]
            && components.contains(&"main")
        {
            let named = options.split_ascii_whitespace().find_map(|option| option.strip_prefix("signed-by="));
            sources.extend(source(uri, named.map(PathBuf::from)));
        }
    }
    sources
}

fn source(uri: &str, keyring: Option<PathBuf>) -> Option<Source> {
    let http = uri.starts_with("http://") || uri.starts_with("https://");
    http.then(|| Source { url: uri.trim_end_matches('/').to_owned(), keyring })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_read() {
        let apt = tempfile::tempdir().expect("a folder");
        fs::create_dir(apt.path().join("sources.list.d")).expect("a folder");
        let write = |name: &str, text: &str| fs::write(apt.path().join(name), text).expect("written");
        write(
            "sources.list",
            "# deb http://no/ trixie main\ndeb [arch=arm64 signed-by=/k.gpg] http://one/debian/ trixie main\ndeb-src http://no/ trixie main\n",
        );
        write("sources.list.d/a.list", "deb cdrom:[x]/ trixie main\ndeb http://four/x stable extra\n");
        write(
            "sources.list.d/b.sources",
            "Types: deb deb-src\n# comment\nURIs: http://two/debian\n http://one/debian\nSuites: trixie\nComponents: main contrib\nSigned-By: /s.gpg\n\nEnabled: no\nTypes: deb\nURIs: http://three/\nComponents: main\n",
        );
        write("sources.list.d/c.save", "deb http://five/ trixie main\n");
        let found = sources(apt.path());
        let expected = [("http://one/debian", "/k.gpg"), ("http://two/debian", "/s.gpg")];
        let expected = expected.map(|(url, key)| Source { url: url.into(), keyring: Some(key.into()) });
        assert_eq!(found, expected);
    }

    #[test]
    fn a_machine_without_apt_has_no_sources() {
        assert_eq!(sources(Path::new("/nonexistent")), []);
    }
}
