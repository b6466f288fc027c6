//! Debian's names of licences as SPDX expressions. A name that SPDX does not have is referred to by its text.

use std::collections::BTreeMap;

use crate::copyright::Notice;

/// Names that mean the same licence: Debian's and SPDX's.
const KNOWN: [(&str, &str); 34] = [
    ("Apache-2.0", "Apache-2.0"),
    ("Artistic-2.0", "Artistic-2.0"),
    ("BSD-2-clause", "BSD-2-Clause"),
    ("BSD-2-Clause", "BSD-2-Clause"),
    ("BSD-3-clause", "BSD-3-Clause"),
    ("BSD-3-Clause", "BSD-3-Clause"),
    ("BSL-1.0", "BSL-1.0"),
    ("CC-BY-3.0", "CC-BY-3.0"),
    ("CC-BY-4.0", "CC-BY-4.0"),
    ("CC-BY-SA-4.0", "CC-BY-SA-4.0"),
    ("CC0", "CC0-1.0"),
    ("CC0-1.0", "CC0-1.0"),
    ("Expat", "MIT"),
    ("GPL-1", "GPL-1.0-only"),
    ("GPL-1+", "GPL-1.0-or-later"),
    ("GPL-2", "GPL-2.0-only"),
    ("GPL-2+", "GPL-2.0-or-later"),
    ("GPL-2.0", "GPL-2.0-only"),
    ("GPL-2.0+", "GPL-2.0-or-later"),
    ("GPL-3", "GPL-3.0-only"),
    ("GPL-3+", "GPL-3.0-or-later"),
    ("GPL-3.0", "GPL-3.0-only"),
    ("GPL-3.0+", "GPL-3.0-or-later"),
    ("ISC", "ISC"),
    ("LGPL-2", "LGPL-2.0-only"),
    ("LGPL-2+", "LGPL-2.0-or-later"),
    ("LGPL-2.1", "LGPL-2.1-only"),
    ("LGPL-2.1+", "LGPL-2.1-or-later"),
    ("LGPL-3", "LGPL-3.0-only"),
    ("LGPL-3+", "LGPL-3.0-or-later"),
    ("MPL-1.1", "MPL-1.1"),
    ("MPL-2.0", "MPL-2.0"),
    ("Unlicense", "Unlicense"),
    ("Zlib", "Zlib"),
];

/// All licences of a package as one expression; names without an SPDX one are added to `texts`, which maps their
/// identifier to their name and text. `None` if the notice names none.
pub(super) fn declared(
    package: &str,
    notice: &Notice,
    texts: &mut BTreeMap<String, (String, String)>,
) -> Option<String> {
    let mut terms: Vec<String> = Vec::new();
    for name in &notice.licences {
        let term = term(package, name, notice, texts);
        if !terms.contains(&term) {
            terms.push(term);
        }
    }
    (!terms.is_empty()).then(|| terms.join(" AND "))
}

/// `A and B or C` as SPDX says it; in brackets where it stands beside others. In Debian's notation a comma changes what
/// binds, and `with` names exceptions freely: such a name is taken as a whole.
fn term(
    package: &str,
    name: &str,
    notice: &Notice,
    texts: &mut BTreeMap<String, (String, String)>,
) -> String {
    let mut one = |name: &str| match KNOWN.iter().find(|(debian, _)| *debian == name) {
        Some((_, spdx)) => (*spdx).to_owned(),
        None => reference(package, name, notice, texts),
    };
    if name.contains(',') || name.contains(" with ") || name.contains('/') {
        return one(name);
    }
    let choices: Vec<String> = name
        .split(" or ")
        .map(|choice| choice.split(" and ").map(|name| one(name.trim())).collect::<Vec<_>>().join(" AND "))
        .collect();
    if choices.len() == 1 { choices.concat() } else { format!("({})", choices.join(" OR ")) }
}

fn reference(
    package: &str,
    name: &str,
    notice: &Notice,
    texts: &mut BTreeMap<String, (String, String)>,
) -> String {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '.' || letter == '-';
    let letters: String =
        format!("{package}-{name}").chars().map(|letter| if fits(letter) { letter } else { '-' }).collect();
    let id = format!("LicenseRef-{letters}");
    let text = notice.texts.get(name).cloned();
    let text = text.unwrap_or_else(|| format!("See /usr/share/doc/{package}/copyright in the system image."));
    texts.entry(id.clone()).or_insert_with(|| (name.to_owned(), text));
    id
}
