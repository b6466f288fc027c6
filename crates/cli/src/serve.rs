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
    let options = arguments.serve.options(&surroundings.access);
    runtime.block_on(async {
        if arguments.wait {
            server::interface::wait(&options).await;
        }
        server::serve(options, |welcome| tell(welcome, json)).await
    })
}

/// Says where the head's door is. On standard output, and not in the log: the login is a secret, and logs travel.
fn tell(welcome: &server::Welcome, json: bool) {
    let url = format!("{}#sha256={}", welcome.url, welcome.fingerprint);
    if json {
        let line = serde_json::json!({
            "operators": welcome.url,
            "url": url,
            "fingerprint": welcome.fingerprint,
            "login": welcome.login_url,
        });
        println!("{line}");
        return;
    }
    println!("operators: {}\ncommand line: FLEDERMAUS_URL='{url}'", welcome.url);
    println!("the certificate's SHA-256: {}", welcome.fingerprint);
    if let Some(login) = &welcome.login_url {
        println!("log in once, within an hour: {login}");
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
