//! Rules about one file: its first line, its length, its functions' lengths, its name.

use crate::Finding;

/// The longest Rust file, in lines.
const FILE_LIMIT: usize = 400;
/// The longest function, in lines.
const FUNCTION_LIMIT: usize = 60;
/// The longest shell script, in lines; beyond that it is Rust.
const SCRIPT_LIMIT: usize = 50;
/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 8] = ["util", "utils", "common", "helper", "helpers", "misc", "tools", "shared"];

/// Everything that is wrong with one file.
pub(crate) fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = name(path);
    if path.ends_with(".rs") {
        findings.extend(module_doc(text));
        findings.extend(length(text, FILE_LIMIT, "file"));
        findings.extend(functions(text));
    }
    if is_script(path, text) {
        findings.extend(length(text, SCRIPT_LIMIT, "shell script"));
    }
    findings
}

fn finding(line: usize, rule: String) -> Finding {
    Finding { line, rule }
}

fn name(path: &str) -> Vec<Finding> {
    let stem = |part: &str| part.split('.').next().unwrap_or_default().to_owned();
    let empty = path.split('/').map(stem).find(|part| EMPTY_NAMES.contains(&part.as_str()));
    empty
        .map(|part| finding(1, format!("`{part}` names nothing: call it after the thing inside")))
        .into_iter()
        .collect()
}

fn module_doc(text: &str) -> Option<Finding> {
    let rule = "the file does not start with `//!`: what it is, what it does not do";
    (!text.starts_with("//! ")).then(|| finding(1, rule.to_owned()))
}

fn length(text: &str, limit: usize, kind: &str) -> Option<Finding> {
    let lines = text.lines().count();
    (lines > limit)
        .then(|| finding(limit + 1, format!("{kind} of {lines} lines, at most {limit}: split it by subject")))
}

/// Relies on rustfmt: a function ends at the first line that is a brace at its own depth.
fn functions(text: &str) -> Vec<Finding> {
    let lines: Vec<&str> = text.lines().collect();
    let mut findings = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let depth = line.len() - line.trim_start().len();
        let end = format!("{}}}", " ".repeat(depth));
        let one_line = line.ends_with('}') || line.ends_with(';');
        let length = lines[start..].iter().position(|line| *line == end).map_or(1, |end| end + 1);
        if !one_line && length > FUNCTION_LIMIT {
            findings
                .push(finding(start + 1, format!("`{name}` has {length} lines, at most {FUNCTION_LIMIT}")));
        }
    }
    findings
}

fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let word = |word: &str| {
        matches!(word, "pub" | "async" | "const" | "unsafe" | "extern" | "\"C\"") || word.starts_with("pub(")
    };
    let words = before.replace("pub(in ", "pub(").split_whitespace().all(word);
    let name = after.split(['(', '<']).next().unwrap_or_default();
    (words && !name.is_empty()).then_some(name)
}

fn is_script(path: &str, text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    path.ends_with(".sh") || first.starts_with("#!") && first.ends_with("sh")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &str, text: &str) -> Vec<(usize, String)> {
        check(path, text).into_iter().map(|finding| (finding.line, finding.rule)).collect()
    }

    #[test]
    fn a_tidy_file_passes() {
        assert_eq!(told("crates/lab/src/card.rs", "//! A card.\n\nfn write() {\n}\n"), []);
        assert_eq!(told("example/run.sh", "#!/bin/sh\nexit\n"), []);
        assert_eq!(told("README.md", &"line\n".repeat(1_000)), []);
    }

    #[test]
    fn each_rule_is_told_with_its_line() {
        assert_eq!(told("a.rs", "fn a() {}\n")[0].0, 1);
        assert_eq!(told("a.rs", &format!("//! A.\n{}", "\n".repeat(400)))[0].0, 401);
        assert_eq!(told("crates/lab/src/utils.rs", "//! A.\n").len(), 1);
        assert_eq!(told("crates/common/src/lib.rs", "//! A.\n").len(), 1);
        assert_eq!(told("scripts/install", &format!("#!/bin/bash\n{}", "true\n".repeat(50))).len(), 1);
    }

    #[test]
    fn a_long_function_is_found_between_short_ones() {
        let body = "        one();\n".repeat(60);
        let text = format!(
            "//! A.\nfn a() {{}}\nimpl A {{\n    pub(crate) async fn b<T>(\n    ) {{\n{body}    }}\n}}\n"
        );
        let told = told("a.rs", &text);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].0, 4);
        assert!(told[0].1.starts_with("`b` has 63 lines"), "{told:?}");
    }
}
