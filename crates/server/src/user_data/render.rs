//! A template becomes a node's user data.
//!
//! Strict: an unknown variable is an error, never an empty string in a script that runs as root. A template may include and extend
//! others of its directory; nothing outside of it can be named.

use std::error::Error as _;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, bail};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, context};

use super::{BYTES_LIMIT, Draft, Facts, is_file_name, is_same, read};

/// Steps a template may take, so that a loop without end ends.
const FUEL: u64 = 1_000_000;
/// The most files that one template brings in, each by itself or by another.
const FILES_LIMIT: usize = 100;
/// The most that is shown of an expression that is wrong, in letters.
const EXPRESSION_LIMIT: usize = 60;
/// What messages call the template itself; those that it includes are called by their names.
const OWN: &str = "the user data";

/// Renders a template; those that it includes are in `directory`, but for the draft. An error names file, line and
/// expression.
pub(crate) fn render(
    template: &str,
    facts: &Facts,
    directory: &Path,
    draft: Option<&Draft>,
) -> anyhow::Result<String> {
    check_text(template)?;
    let mut environment = environment();
    let (directory, draft, count) = (directory.to_owned(), draft.cloned(), AtomicUsize::new(0));
    environment.set_loader(move |name| {
        load(&directory, name, draft.as_ref(), count.fetch_add(1, Ordering::Relaxed))
    });
    let address = facts.address.map(|address| address.to_string()).unwrap_or_default();
    let values = context! {
        node => context! { name => facts.name, mac => facts.mac, address, role => facts.role },
        cluster => context! { name => facts.cluster, domain => facts.domain },
        head => context! { address => facts.head.to_string() },
    };
    let mut rendered = Limited(Vec::new());
    let own = environment.template_from_named_str(OWN, template).map_err(|error| explain(&error))?;
    if let Err(error) = own.render_captured_to(values, &mut rendered) {
        if error.kind() == ErrorKind::WriteFailure {
            bail!("the user data is larger than {BYTES_LIMIT} bytes once rendered");
        }
        return Err(explain(&error));
    }
    String::from_utf8(rendered.0).context("the user data is no text once rendered")
}

/// Whether a text can be a template at all; what it names and includes is not looked at.
pub(crate) fn check_syntax(draft: &Draft) -> anyhow::Result<()> {
    check_text(&draft.text)?;
    let parsed = environment().template_from_named_str(&draft.name, &draft.text).map(drop);
    parsed.map_err(|error| explain(&error))
}

fn check_text(template: &str) -> anyhow::Result<()> {
    if template.contains('\0') {
        bail!("the user data has a NUL in it: it has to be text, as every script");
    }
    Ok(())
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_keep_trailing_newline(true);
    // Without it, errors do not know which expression they are about.
    environment.set_debug(true);
    environment
}

/// A file that a template names. `before`: how many were read for it already.
fn load(directory: &Path, name: &str, draft: Option<&Draft>, before: usize) -> Result<Option<String>, Error> {
    let refuse = |why: String| Err(Error::new(ErrorKind::InvalidOperation, why));
    if !is_file_name(name) {
        return refuse(format!("`{name}` is no file name in the user data directory"));
    }
    if before >= FILES_LIMIT {
        return refuse(format!("more than {FILES_LIMIT} files are included"));
    }
    let file = directory.join(name);
    if let Some(draft) = draft.filter(|draft| is_same(&file, &directory.join(&draft.name))) {
        return Ok(Some(draft.text.clone()));
    }
    if !file.is_file() {
        return Ok(None);
    }
    read(&file).map(Some).or_else(|error| refuse(format!("{error:#}")))
}

/// What was written so far; no more than user data may have.
struct Limited(Vec<u8>);

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > BYTES_LIMIT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where it is and what: the error within an include, and not the include.
fn explain(error: &Error) -> anyhow::Error {
    let mut innermost = error;
    let mut source = error.source();
    while let Some(inner) = source {
        innermost = inner.downcast_ref().unwrap_or(innermost);
        source = inner.source();
    }
    let line = innermost.line().unwrap_or(0);
    let file = innermost.name().unwrap_or(OWN);
    let what = innermost.detail().map_or_else(|| innermost.kind().to_string(), str::to_owned);
    let what = match expression(innermost) {
        Some(expression) if innermost.kind() == ErrorKind::UndefinedError => {
            format!("{what}: `{expression}`")
        }
        _ => what,
    };
    anyhow::anyhow!(
        "line {line} of {file}: {what}; a template knows node.name, node.mac, node.address, node.role, \
         cluster.name, cluster.domain and head.address"
    )
}

/// The expression that an error is about, without the texts in it: they may be secrets, and errors are logged.
pub(crate) fn expression(error: &Error) -> Option<String> {
    let mut shown = String::new();
    let mut quote = None;
    for letter in error.template_source()?.get(error.range()?)?.chars().take(EXPRESSION_LIMIT) {
        match quote {
            Some(open) if letter == open => quote = None,
            Some(_) => continue,
            None if letter == '"' || letter == '\'' => quote = Some(letter),
            None => {}
        }
        shown.push(letter);
    }
    Some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::Mac;
    use std::net::Ipv4Addr;

    fn facts() -> Facts {
        Facts {
            name: "node1".parse().expect("a name"),
            mac: Mac([0xb8, 0x27, 0xeb, 0, 1, 1]),
            address: Some(Ipv4Addr::new(10, 78, 0, 11)),
            role: "any",
            cluster: "fledermaus".to_owned(),
            domain: "cluster.internal".to_owned(),
            head: Ipv4Addr::new(10, 78, 0, 1),
        }
    }

    /// A directory with templates, in which there is more than templates; and what lies beside it.
    fn directory() -> (tempfile::TempDir, std::path::PathBuf) {
        let outside = tempfile::tempdir().expect("a folder");
        std::fs::write(outside.path().join("secret"), "swordfish").expect("written");
        let directory = outside.path().join("user-data");
        std::fs::create_dir_all(directory.join("parts")).expect("a folder");
        for (name, text) in [
            ("base.sh", "#!/bin/sh\n{% block work %}{% endblock %}\necho base of {{ node.name }}\n"),
            ("parts/disk.sh", "echo disk of {{ node.name }}\n"),
            ("wrong.sh", "one\ntwo\n{{ node.nmae }}\n"),
            ("broken.sh", "{% if %}"),
            ("again.sh", "{% include 'again.sh' %}"),
            ("large.sh", &"x".repeat(6 * 1024 * 1024)),
            (".hidden", "swordfish"),
        ] {
            std::fs::write(directory.join(name), text).expect("written");
        }
        for number in 0..=FILES_LIMIT {
            std::fs::write(directory.join(format!("{number}.part")), "").expect("written");
        }
        (outside, directory)
    }

    fn render(template: &str, facts: &Facts) -> anyhow::Result<String> {
        let (_outside, directory) = directory();
        super::render(template, facts, &directory, None)
    }

    #[test]
    fn a_template_includes_and_extends_others() {
        let text = render(
            "{% extends 'base.sh' %}{% block work %}{% include 'parts/disk.sh' %}{% endblock %}",
            &facts(),
        );
        let whole = "#!/bin/sh\necho disk of node1\n\necho base of node1\n";
        assert_eq!(text.expect("renders"), whole);
        let many: String =
            (0..FILES_LIMIT).map(|number| format!("{{% include '{number}.part' %}}")).collect();
        assert_eq!(render(&many, &facts()).expect("as many as may be"), "");
    }

    #[test]
    fn nothing_outside_the_directory_is_included() {
        for name in [
            "../secret",
            "parts/../../secret",
            "/etc/passwd",
            "./base.sh",
            ".hidden",
            "parts/.././secret",
            "parts//disk.sh",
            "parts/./disk.sh",
            "..\\\\secret",
            "",
            "parts",
            "nothing.sh",
        ] {
            for tag in ["include", "extends", "import"] {
                let rest = if tag == "import" { " as x" } else { "" };
                let error =
                    render(&format!("\n{{% {tag} '{name}'{rest} %}}"), &facts()).expect_err(name).to_string();
                assert!(
                    error.starts_with("line 2 of the user data: ") && !error.contains("swordfish"),
                    "{error}"
                );
            }
        }
        let parts = "{% include node.name ~ '/../../secret' %}";
        assert!(render(parts, &facts()).expect_err("made of parts").to_string().contains("is no file name"));
    }

    #[test]
    fn mistakes_name_file_line_and_variable() {
        for (template, words) in [
            ("a\n{{ node.nmae }}", "line 2 of the user data: undefined value: `node.nmae`;"),
            ("a\n{{ nod.name }}", "line 2 of the user data: undefined value: `nod.name`;"),
            ("{% include 'wrong.sh' %}", "line 3 of wrong.sh: undefined value: `node.nmae`;"),
            (
                "\n{% include 'nothing.sh' %}",
                "line 2 of the user data: tried to include non-existing template",
            ),
            ("{% include 'broken.sh' %}", "line 1 of broken.sh: "),
            ("{% include 'again.sh' %}", "line 1 of again.sh: recursion limit exceeded"),
            ("{{ 'swordfish' ~ node.x }}", "line 1 of the user data: undefined value: `'' ~ node.x`;"),
            ("{% include 'large.sh' %}{% include 'large.sh' %}", "larger than 10485760 bytes once rendered"),
            ("a\0", "has a NUL in it"),
        ] {
            let error = render(template, &facts()).expect_err(template).to_string();
            assert!(error.contains(words), "{template}: {error}");
        }
        let many: String =
            (0..=FILES_LIMIT).map(|number| format!("{{% include '{number}.part' %}}")).collect();
        let error = render(&many, &facts()).expect_err("too many").to_string();
        assert!(error.contains("more than 100 files are included"), "{error}");
    }

    #[test]
    fn a_template_knows_its_node() {
        let text = render("#!/bin/sh\necho {{ node.name }} {{ node.address }}\n", &facts()).expect("renders");
        assert_eq!(text, "#!/bin/sh\necho node1 10.78.0.11\n");
    }

    #[test]
    fn a_loop_without_end_ends() {
        let endless = "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}";
        assert!(render(endless, &facts()).is_err());
    }
}
