//! The `[power]` table: what works the nodes' power.

use std::os::unix::fs::PermissionsExt;

use cluster::configuration::{Named, Reader, Table};

use crate::power::{Method, Way, Webhook};

/// What the file names for it.
#[derive(Clone, Debug)]
pub(crate) struct Power {
    pub(crate) way: Way,
    /// Where the configuration names it.
    line: usize,
}

/// Reads the table.
pub(super) fn read<'a>(reader: &mut Reader<'a>, top: &Table<'a>) -> Option<Power> {
    let table = reader.table(top, "power", &["hook", "webhook", "method"]);
    let method = reader.parsed::<Method>(&table, "method");
    let hook = reader.text(&table, "hook");
    let Some(Named { name, line }) = reader.text(&table, "webhook") else {
        if method.is_some() {
            let line = reader.line_of(&table, "method");
            reader.mistake(line, "`method` is how a `webhook` is called, and there is none");
        }
        return hook.map(|Named { name, line }| Power { way: Way::Hook(reader.folder().join(name)), line });
    };
    if hook.is_some() {
        reader.mistake(line, "`webhook`: there is a `hook` too: write one of them");
    }
    let webhook = Webhook::new(&name, method.unwrap_or_default());
    if let Err(error) = &webhook {
        reader.mistake(line, format!("`webhook`: {error:#}"));
    }
    Some(Power { way: Way::Webhook(webhook.ok()?), line })
}

/// The program has to be there when the head starts, not only when somebody pulls a plug.
pub(super) fn check(reader: &mut Reader, power: &Power) {
    let Way::Hook(program) = &power.way else { return };
    let shown = program.display();
    let text = match program.metadata() {
        Ok(file) if file.is_file() && file.permissions().mode() & 0o111 != 0 => return,
        Ok(_) => format!("`hook`: {shown} is no program: make it one with `chmod +x`"),
        Err(error) => format!("`hook`: {shown}: {error}"),
    };
    reader.mistake(power.line, text);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The mistakes in a `[power]` table.
    fn said(text: &str) -> Result<(), String> {
        let text = format!("[power]\n{text}");
        let mut reader = Reader::new(Path::new("/etc/c"), &text);
        let top = reader.top(&["power"]);
        if let Some(power) = read(&mut reader, &top) {
            check(&mut reader, &power);
        }
        reader.finish(()).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn a_hook_has_to_be_a_program_that_is_there() {
        assert_eq!(said("hook = '/bin/sh'"), Ok(()));
        for (program, sentence) in [("/etc/passwd", "is no program: make it one"), ("/none", "No such file")]
        {
            let error = said(&format!("hook = '{program}'")).expect_err(program);
            assert!(error.contains("/etc/c:2: `hook`: ") && error.contains(sentence), "{error}");
        }
    }

    #[test]
    fn a_webhook_has_to_be_a_web_address_with_a_template_and_the_only_way() {
        let plug = "webhook = 'http://{{ node.labels.plug }}/relay/0?turn={{ deed }}'";
        assert_eq!(said(&format!("{plug}\nmethod = 'GET'")), Ok(()));
        for (text, sentence) in [
            (&*format!("hook = '/bin/sh'\n{plug}"), "/etc/c:3: `webhook`: there is a `hook` too"),
            ("hook = '/bin/sh'\nmethod = 'GET'", "/etc/c:3: `method` is how a `webhook` is called"),
            (&*format!("{plug}\nmethod = 'BREW'"), "/etc/c:3: `method`: write GET, POST or PUT"),
            ("webhook = '{{ node.labels.url }}'", "begins with http:// or https://"),
            ("webhook = 'http://plug/{{ deed'", "/etc/c:2: `webhook`: "),
        ] {
            let error = said(text).expect_err(text);
            assert!(error.contains(sentence), "{text}: {error}");
        }
    }
}
