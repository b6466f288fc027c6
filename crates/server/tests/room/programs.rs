//! Foreign programs: how they are run, and what is said when one is missing.

use std::io::ErrorKind;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long something that is started may take, even when packets get lost: dhcpcd asks again after 4, 12, 28 and 60 s.
const PATIENCE: Duration = Duration::from_secs(90);

/// A program that ends with its owner.
pub(crate) struct Started(Child);

impl Started {
    /// Starts it.
    pub(crate) fn new(command: &mut Command) -> Self {
        let name = name(command);
        Self(command.stdin(Stdio::null()).spawn().unwrap_or_else(|error| missing(&name, &error)))
    }

    /// Its process number.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a program in the head's namespace, and gives what it printed.
pub(crate) fn run(program: &str, arguments: &str) -> String {
    printed(program, Command::new(program).args(arguments.split_ascii_whitespace()).output())
}

/// Waits until something is so.
pub(crate) fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "{what}: not there after {PATIENCE:?}");
        std::thread::yield_now();
    }
}

/// What a program printed; with its complaints if it failed.
pub(crate) fn printed(program: &str, output: std::io::Result<Output>) -> String {
    let output = output.unwrap_or_else(|error| missing(program, &error));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    }
    text
}

/// A program has to be there: whoever starts it for us would only say so later, or nowhere.
pub(crate) fn check(program: &str) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    assert!(std::env::split_paths(&path).any(|folder| folder.join(program).exists()), "{}", remedy(program));
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn missing(program: &str, error: &std::io::Error) -> ! {
    assert!(error.kind() != ErrorKind::NotFound, "{}", remedy(program));
    panic!("starting {program}: {error}")
}

/// Which package to install.
fn remedy(program: &str) -> String {
    let package = match program {
        "dig" => "bind9-dnsutils",
        "ip" => "iproute2",
        "dnsmasq" => "dnsmasq-base",
        "unshare" | "nsenter" | "mount" => "util-linux",
        "nft" => "nftables",
        "dhclient" => "isc-dhcp-client",
        "dhcpcd" => "dhcpcd-base",
        "perfdhcp" => "kea-admin",
        "tftp" => "tftp-hpa",
        "qemu-system-x86_64" => "qemu-system-x86",
        "qemu-system-aarch64" => "qemu-system-arm",
        other => other,
    };
    format!("there is no {program}: install the package {package}, or run scripts/install-deps")
}
