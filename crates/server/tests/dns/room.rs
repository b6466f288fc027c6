//! A room for a test with foreign programs: network and mount namespaces of its own, in which the head serves, and a
//! second network namespace with a client. Both are gone when the test's process is. Knows no DNS.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// Says that the test runs in its room.
const INSIDE: &str = "FLEDERMAUS_TEST_INSIDE";
/// How long something that is started may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The head's address, and its network.
pub(crate) const HEAD: &str = "10.78.0.1";
const CONFIGURATION: &str = r#"
domain = "cluster.test"
[network]
address = "10.78.0.1/24"
"#;

/// Runs the rest of a test in a room: call it first, and return if it says so. It starts the test's program once more,
/// for that test alone, and fails as that does.
pub(crate) fn is_outside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return false;
    }
    let own = std::env::current_exe().expect("the test's program");
    let mut unshare = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]).arg(own);
    unshare.args([test, "--exact", "--include-ignored", "--nocapture"]).env(INSIDE, "1");
    let status = unshare.status().expect("unshare, of the package util-linux");
    assert!(status.success(), "the test inside failed: see above");
    true
}

/// A room that is furnished: the head serves on one end of a cable, the other end is the client's.
pub(crate) struct Room {
    folder: tempfile::TempDir,
    client: Started,
}

impl Room {
    /// Starts the head with these nodes (name, last byte of the address), and waits until it serves.
    pub(crate) fn furnish(nodes: &[(&str, u8)]) -> Self {
        run("ip", "link set lo up");
        run("ip", "link add head0 type veth peer name node0");
        run("ip", "address add 10.78.0.1/24 dev head0");
        run("ip", "link set head0 up");
        let client = Started::new(Command::new("unshare").args(["--net", "sleep", "600"]));
        let own = std::fs::read_link("/proc/self/ns/net").expect("our own namespace");
        let theirs = format!("/proc/{}/ns/net", client.id());
        wait("the client's namespace", || std::fs::read_link(&theirs).is_ok_and(|link| link != own));
        run("ip", &format!("link set node0 netns {}", client.id()));
        let folder = tempfile::tempdir().expect("a folder");
        let room = Self { folder, client };
        room.at_client("ip", "link set lo up");
        room.at_client("ip", "address add 10.78.0.9/24 dev node0");
        room.at_client("ip", "link set node0 up");
        room.serve(nodes);
        room
    }

    /// A folder of the test's own.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a program in the client's namespace, and gives what it printed.
    pub(crate) fn at_client(&self, program: &str, arguments: &str) -> String {
        let id = self.client.id().to_string();
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["--net", "--target", &id, "--", program]).args(arguments.split_ascii_whitespace());
        printed(program, nsenter.output())
    }

    fn serve(&self, nodes: &[(&str, u8)]) {
        let mut text = CONFIGURATION.to_owned();
        for (name, last) in nodes {
            let mac = format!("b8:27:eb:00:00:{last:02x}");
            text += &format!("[[node]]\nname = \"{name}\"\nmac = \"{mac}\"\naddress = \"10.78.0.{last}\"\n");
        }
        let config = self.folder().join("cluster.toml");
        std::fs::write(&config, text).expect("a file");
        let user_data = self.folder().join("user-data");
        std::fs::create_dir_all(&user_data).expect("a folder");
        std::fs::write(user_data.join("default.sh"), "#!/bin/sh\n").expect("a file");
        let options = server::Options {
            config,
            interface: Some("head0".to_owned()),
            state_dir: self.folder().join("state"),
            image_dir: Some(image(self.folder())),
        };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(server::serve(options)).expect("serves");
        });
        wait("the head", || TcpStream::connect((HEAD, 53)).is_ok());
    }
}

/// A program that ends with its owner.
pub(crate) struct Started(Child);

impl Started {
    /// Starts it.
    pub(crate) fn new(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
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
pub(crate) fn wait(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "{what}: not there after {PATIENCE:?}");
        std::thread::yield_now();
    }
}

fn printed(program: &str, output: std::io::Result<Output>) -> String {
    let output = output.unwrap_or_else(|error| missing(program, &error));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // nsenter says this of a program that is not there.
    assert!(output.status.code() != Some(127), "{}", remedy(program));
    if !output.status.success() {
        return format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    }
    text
}

fn missing(program: &str, error: &std::io::Error) -> ! {
    assert!(error.kind() != ErrorKind::NotFound, "{}", remedy(program));
    panic!("starting {program}: {error}")
}

fn remedy(program: &str) -> String {
    let package = match program {
        "dig" => "bind9-dnsutils",
        "ip" => "iproute2",
        "dnsmasq" => "dnsmasq-base",
        "unshare" | "nsenter" | "mount" => "util-linux",
        other => other,
    };
    format!("there is no {program}: install the package {package}, or run scripts/install-deps")
}

/// An image that can be served, though nothing would boot from it.
fn image(folder: &Path) -> PathBuf {
    let folder = folder.join("image");
    std::fs::create_dir(&folder).expect("a folder");
    let artefact = |name: &str| {
        std::fs::write(folder.join(name), name).expect("a file");
        let hash: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
        serde_json::json!({ "file": name, "bytes": name.len(), "sha256": hash })
    };
    let manifest = serde_json::json!({
        "name": "none", "kernel_version": "0", "packages": [],
        "kernel": artefact("kernel"), "initramfs": artefact("initramfs"), "system": artefact("system"),
    });
    std::fs::write(folder.join("manifest.json"), manifest.to_string()).expect("a file");
    folder
}
