//! `fledermaus serve`: the head, until a signal ends it.

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::arguments::Serve;
use crate::surroundings::Surroundings;

/// What is logged when `RUST_LOG` says nothing: what an operator would tell a colleague.
const LOG_FILTER: &str = "info,sqlx=warn";

/// How much the threads that serve HTTP give way, setpriority(2).
const NICENESS: i32 = 5;

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// The configuration is wrong, or a socket cannot be had.
pub(crate) fn run(arguments: &Serve, surroundings: &Surroundings) -> anyhow::Result<()> {
    log();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_start(give_way)
        .build()
        .context("starting the runtime")?;
    runtime.block_on(server::serve(arguments.options(&surroundings.access), welcome))
}

/// Says where the head's door is. On standard output, and not in the log: the login is a secret, and logs travel.
fn welcome(welcome: &server::Welcome) {
    let url = format!("{}#sha256={}", welcome.url, welcome.fingerprint);
    println!("operators: {}\ncommand line: FLEDERMAUS_URL='{url}'", welcome.url);
    println!("the certificate's SHA-256: {}", welcome.fingerprint);
    if let Some(login) = &welcome.login_url {
        println!("log in once, within an hour: {login}");
    }
}

/// The runtime's threads move system images over TCP, which can wait; DHCP and TFTP have threads of their own and clients
/// that give up after a second of silence.
fn give_way() {
    // Anybody may give way; where the kernel says no all the same, all are equal as before.
    let _ = rustix::process::setpriority_process(None, NICENESS);
}

fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG_FILTER));
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).init();
}
