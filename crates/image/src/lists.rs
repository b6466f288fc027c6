//! The commented lists in `base/`: one item per line, `#` begins a comment, `+` marks an item.

/// One item of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item<'a> {
    pub(crate) name: &'a str,
    /// Whether the line starts with `+`.
    pub(crate) marked: bool,
}

pub(crate) const PACKAGES: &str = include_str!("../base/lists/packages.list");
pub(crate) const EXCLUDED: &str = include_str!("../base/lists/excluded.list");
pub(crate) const DROPPED: &str = include_str!("../base/lists/dropped.list");
pub(crate) const INITRAMFS_MODULES: &str = include_str!("../base/lists/initramfs-modules.list");
pub(crate) const SYSTEM_MODULES: &str = include_str!("../base/lists/system-modules.list");

pub(crate) fn items(list: &str) -> impl Iterator<Item = Item<'_>> {
    let lines = list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| match line.strip_prefix('+') {
        Some(name) => Item { name: name.trim(), marked: true },
        None => Item { name: line, marked: false },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_no_items() {
        let found: Vec<_> = items("# a\n\n+ b\nc\n").map(|item| (item.name, item.marked)).collect();
        assert_eq!(found, [("b", true), ("c", false)]);
    }
}
