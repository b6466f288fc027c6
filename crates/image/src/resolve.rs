//! Which packages go in: the wanted ones and what they need. Greedy: of alternatives the first that can
//! be had, never a second thought. On trixie that gives what apt gives.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};

use crate::index::{Index, Package, Relation};
use crate::version;

/// The packages to fetch, by name: `wanted` and what they need, less `excluded`.
///
/// # Errors
/// A package that is needed and not in the index; the message names who needs it.
pub(crate) fn resolve<'a>(
    index: &'a Index,
    wanted: &[String],
    excluded: &BTreeSet<String>,
) -> Result<BTreeMap<String, &'a Package>> {
    let mut chosen: BTreeMap<String, &Package> = BTreeMap::new();
    let mut queue: Vec<&Package> = Vec::new();
    for name in wanted.iter().filter(|name| !excluded.contains(*name)) {
        let Some(package) = index.package(name) else { bail!("no package is named `{name}`") };
        if chosen.insert(name.clone(), package).is_none() {
            queue.push(package);
        }
    }
    while let Some(package) = queue.pop() {
        for group in &package.depends {
            if holds(group, &chosen, excluded) {
                continue;
            }
            let needed = choose(index, package, group)?;
            if chosen.insert(needed.name.clone(), needed).is_none() {
                queue.push(needed);
            }
        }
    }
    Ok(chosen)
}

fn holds(group: &[Relation], chosen: &BTreeMap<String, &Package>, excluded: &BTreeSet<String>) -> bool {
    group.iter().any(|relation| {
        let provided = |package: &&Package| package.provides.iter().any(|own| own.name == relation.name);
        excluded.contains(&relation.name)
            || chosen.get(&relation.name).is_some_and(|package| satisfies(package, relation))
            || chosen.values().any(provided)
    })
}

fn choose<'a>(index: &'a Index, by: &Package, group: &[Relation]) -> Result<&'a Package> {
    for relation in group {
        if let Some(package) = index.package(&relation.name).filter(|package| satisfies(package, relation)) {
            return Ok(package);
        }
        if let Some(provider) = index.providers(&relation.name).iter().find_map(|name| index.package(name)) {
            return Ok(provider);
        }
    }
    let names: Vec<&str> = group.iter().map(|relation| relation.name.as_str()).collect();
    bail!("package {} needs {}, which the mirror does not have in that version", by.name, names.join(" or "))
}

fn satisfies(package: &Package, relation: &Relation) -> bool {
    let Some((operator, wanted)) = &relation.version else { return true };
    let order = version::compare(&package.version, wanted);
    match operator.as_str() {
        "=" => order.is_eq(),
        ">=" => order.is_ge(),
        "<=" => order.is_le(),
        ">>" => order.is_gt(),
        "<<" => order.is_lt(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(entries: &[(&str, &str, &str)]) -> Index {
        let mut index = Index::default();
        let digest = "0".repeat(64);
        for (name, version, rest) in entries {
            let text = format!(
                "Package: {name}\nVersion: {version}\nFilename: f\nSize: 1\nSHA256: {digest}\n{rest}\n\n"
            );
            index.add(&text).expect("readable");
        }
        index
    }

    fn names(index: &Index, wanted: &[&str], excluded: &[&str]) -> Result<String, String> {
        let wanted: Vec<String> = wanted.iter().map(|&name| name.to_owned()).collect();
        let excluded = excluded.iter().map(|&name| name.to_owned()).collect();
        let chosen = resolve(index, &wanted, &excluded).map_err(|error| format!("{error:#}"))?;
        Ok(chosen.into_keys().collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn what_is_needed_comes_along_and_circles_end() {
        let index =
            index(&[("a", "1", "Depends: b, c"), ("b", "1", "Depends: a"), ("c", "1", ""), ("d", "1", "")]);
        assert_eq!(names(&index, &["a"], &[]).as_deref(), Ok("a b c"));
        assert_eq!(names(&index, &["a"], &["b"]).as_deref(), Ok("a c"));
    }

    #[test]
    fn of_alternatives_the_first_that_fits() {
        let index = index(&[
            ("a", "1", "Depends: gone | b (>= 2) | c | d"),
            ("b", "1", ""),
            ("c", "1", ""),
            ("d", "1", ""),
            ("e", "1", "Depends: virtual"),
            ("f", "1", "Provides: virtual"),
        ]);
        assert_eq!(names(&index, &["a"], &[]).as_deref(), Ok("a c"));
        assert_eq!(names(&index, &["d", "a"], &[]).as_deref(), Ok("a d"));
        assert_eq!(names(&index, &["e"], &[]).as_deref(), Ok("e f"));
    }

    #[test]
    fn who_needs_what_is_missing_is_named() {
        let index = index(&[("a", "1", "Depends: gone (>= 3)")]);
        assert!(names(&index, &["a"], &[]).expect_err("missing").contains("package a needs gone"));
        assert!(names(&index, &["x"], &[]).expect_err("missing").contains("`x`"));
    }
}
