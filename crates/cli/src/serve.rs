//! `fledermaus serve`: the head, until a signal ends it.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::arguments::Serving;
use crate::surroundings::Surroundings;

/// What is logged when `RUST_LOG` says nothing: what an operator would tell a colleague.
const LOG_FILTER: &str = "info,sqlx=warn";

/// How much the threads that serve HTTP give way, setpriority(2).
const NICENESS: i32 = 5;

/// Serves until SIGTERM or SIGINT; first waits for the interface, if that is wanted. Who types a wrong name by hand is told
/// at once.
///
/// # Errors
/// The configuration is wrong, or a socket cannot be had.
pub(crate) fn run(arguments: &Serving, surroundings: &Surroundings, json: bool) -> anyhow::Result<()> {
    log(json);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_start(give_way)
        .build()
        .context("starting the runtime")?;
    let is_terminal = std::io::stdout().is_terminal();
    let options = arguments.serve.options(&surroundings.access);
    runtime.block_on(async {
        if arguments.wait {
            server::interface::wait(&options).await;
        }
        server::serve(options, |welcome| println!("{}", told(welcome, json, is_terminal))).await
    })
}

/// Where the head's door is, for standard output. The login is a secret that makes an administrator: it goes to a terminal
/// alone, for what a service prints goes to the journal, and logs travel.
fn told(welcome: &server::Welcome, json: bool, is_terminal: bool) -> String {
    let server::Welcome { url: operators, fingerprint, login_url } = welcome;
    let login = login_url.as_ref().filter(|_| is_terminal);
    let url = format!("{operators}#sha256={fingerprint}");
    if json {
        let line = serde_json::json!({
            "operators": operators,
            "url": url,
            "fingerprint": fingerprint,
            "login": login,
        });
        return line.to_string();
    }
    let door = format!(
        "operators: {operators}\ncommand line: FLEDERMAUS_URL='{url}'\nthe certificate's SHA-256: {fingerprint}"
    );
    match (login, login_url) {
        (Some(login), _) => format!("{door}\nlog in once, within an hour: {login}"),
        (None, Some(_)) => {
            format!(
                "{door}\nnobody has logged in yet: `sudo fledermaus login` prints an address that does, once"
            )
        }
        (None, None) => door,
    }
}

/// The runtime's threads move system images over TCP, which can wait; DHCP, TFTP and DNS have threads of their own, and
/// clients that give up after a second of silence.
fn give_way() {
    // Anybody may give way; where the kernel says no all the same, all are equal as before.
    let _ = rustix::process::setpriority_process(None, NICENESS);
}

/// Logs on standard error: for people, or an object a line.
fn log(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG_FILTER));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        subscriber.json().flatten_event(true).init();
    } else {
        subscriber.with_ansi(std::io::stderr().is_terminal()).init();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The service's journal had it.
    #[test]
    fn a_login_is_shown_to_a_terminal_alone() {
        let mut welcome = server::Welcome {
            url: "https://head:8443".to_owned(),
            fingerprint: "ab".repeat(32),
            login_url: Some("https://head:8443/#login=secret".to_owned()),
        };
        for json in [false, true] {
            assert!(told(&welcome, json, true).contains("secret"));
            let logged = told(&welcome, json, false);
            assert!(!logged.contains("secret") && logged.contains("https://head:8443#sha256="), "{logged}");
        }
        assert!(
            told(&welcome, false, false)
                .ends_with("`sudo fledermaus login` prints an address that does, once")
        );
        welcome.login_url = None;
        assert!(!told(&welcome, false, false).contains("login"));
    }
}
