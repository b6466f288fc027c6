//! User data: a template per node or one for all, rendered with what the node may know.
//!
//! Strict: an unknown variable is an error, never an empty string in a script that runs as root.

pub(crate) mod diff;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use cluster::{Mac, NodeName};
use minijinja::{Environment, UndefinedBehavior, context};

/// The largest user data, template or rendered, in bytes.
pub(crate) const BYTES_LIMIT: usize = 10 * 1024 * 1024;
/// Steps a template may take, so that a loop without end ends.
const FUEL: u64 = 1_000_000;

/// What a template can name.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) name: NodeName,
    pub(crate) mac: Mac,
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) role: &'static str,
    pub(crate) cluster: String,
    pub(crate) domain: String,
    pub(crate) head: Ipv4Addr,
}

/// Where the templates are.
#[derive(Clone, Debug)]
pub(crate) struct Library {
    pub(crate) directory: PathBuf,
    pub(crate) default: String,
    /// Another server that has the user data of all nodes. Ours then serves none.
    pub(crate) url: Option<String>,
    /// How long it may run on a node.
    pub(crate) limit_secs: u32,
    /// Where the configuration names them.
    pub(crate) line: usize,
}

impl Library {
    /// The file of a node: its own, else the one the configuration names, else the default.
    pub(crate) fn file(&self, node: &NodeName, named: Option<&str>) -> PathBuf {
        let own = self.own(node);
        if own.is_file() { own } else { self.directory.join(named.unwrap_or(&self.default)) }
    }

    /// The file that is the node's alone.
    pub(crate) fn own(&self, node: &NodeName) -> PathBuf {
        self.directory.join(format!("{node}.sh"))
    }
}

/// Reads a template.
pub(crate) fn read(file: &Path) -> anyhow::Result<String> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("reading the user data {}", file.display()))?;
    if text.len() > BYTES_LIMIT {
        bail!("the user data {} is larger than {BYTES_LIMIT} bytes", file.display());
    }
    Ok(text)
}

/// Renders a template. An error names the line.
pub(crate) fn render(template: &str, facts: &Facts) -> anyhow::Result<String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_keep_trailing_newline(true);
    let address = facts.address.map(|address| address.to_string()).unwrap_or_default();
    let values = context! {
        node => context! { name => facts.name, mac => facts.mac, address, role => facts.role },
        cluster => context! { name => facts.cluster, domain => facts.domain },
        head => context! { address => facts.head.to_string() },
    };
    let rendered = environment.render_named_str("user data", template, values).map_err(explain)?;
    if rendered.len() > BYTES_LIMIT {
        bail!("the user data is larger than {BYTES_LIMIT} bytes once rendered");
    }
    Ok(rendered)
}

fn explain(error: minijinja::Error) -> anyhow::Error {
    let line = error.line().unwrap_or(0);
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    anyhow::anyhow!(
        "line {line} of the user data: {what}; a template knows node.name, node.mac, node.address, node.role, \
         cluster.name, cluster.domain and head.address"
    )
}

/// Replaces a file in one step: there is never half a script.
pub(crate) fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    let directory = file.parent().unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(directory)
        .with_context(|| format!("writing into the user data directory {}", directory.display()))?;
    std::io::Write::write_all(&mut temporary, text.as_bytes()).context("writing the user data")?;
    temporary.as_file().sync_all().context("writing the user data")?;
    temporary.persist(file).with_context(|| format!("replacing {}", file.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_template_knows_its_node() {
        let text = render("#!/bin/sh\necho {{ node.name }} {{ node.address }}\n", &facts()).expect("renders");
        assert_eq!(text, "#!/bin/sh\necho node1 10.78.0.11\n");
    }

    #[test]
    fn an_unknown_variable_is_an_error_with_its_line() {
        let error = render("a\nb\n{{ node.nmae }}\n", &facts()).expect_err("no such variable");
        assert!(error.to_string().starts_with("line 3 "), "{error}");
    }

    #[test]
    fn a_loop_without_end_ends() {
        let endless = "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}";
        assert!(render(endless, &facts()).is_err());
    }
}
