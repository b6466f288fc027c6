//! TFTP: each client fetches what a node fetches, and gets it byte by byte; what is not there is refused at once.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::dhcp;
use crate::room::{HEAD, INITRAMFS, KERNEL, Room, is_outside, printed};

/// The boot configuration of the client's machine.
const PLAN: &str = "pxelinux.cfg/01-b8-27-eb-00-00-0b";
/// How long a refusal may take: U-Boot asks for a dozen names that are not there.
const REFUSAL_LIMIT: Duration = Duration::from_secs(1);

/// A way to fetch a file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Client {
    /// atftp with a block size and a window.
    Atftp(u16, u16),
    /// atftp without options.
    AtftpPlain,
    /// tftp-hpa, which knows no options.
    TftpHpa,
    /// tftp-hpa in netascii: what the server makes of the ends of lines, the client makes undone.
    TftpHpaNetascii,
    /// curl with a block size.
    Curl(u16),
    /// curl without options.
    CurlPlain,
    /// busybox with a block size.
    Busybox(u16),
}

pub(crate) const CLIENTS: [Client; 14] = [
    Client::Atftp(512, 1),
    Client::Atftp(1428, 1),
    Client::Atftp(512, 16),
    Client::Atftp(1428, 16),
    Client::Atftp(1468, 64),
    Client::AtftpPlain,
    Client::TftpHpa,
    Client::TftpHpaNetascii,
    Client::Curl(512),
    Client::Curl(1428),
    Client::Curl(1468),
    Client::CurlPlain,
    Client::Busybox(512),
    Client::Busybox(1428),
];

impl Client {
    fn program(self) -> &'static str {
        match self {
            Self::Atftp(..) | Self::AtftpPlain => "atftp",
            Self::TftpHpa | Self::TftpHpaNetascii => "tftp",
            Self::Curl(_) | Self::CurlPlain => "curl",
            Self::Busybox(_) => "busybox",
        }
    }

    /// The program, as it is to be run.
    fn command(self, room: &Room, path: &str, into: &str) -> Command {
        let mut command = room.client(self.program());
        if let Self::Atftp(blksize, windowsize) = self {
            command.arg("--option").arg(format!("blksize {blksize}"));
            command.arg("--option").arg(format!("windowsize {windowsize}"));
        }
        match self {
            Self::Atftp(..) | Self::AtftpPlain => command.args(["-g", "-r", path, "-l", into, HEAD]),
            Self::TftpHpa => command.args(["-4", "-m", "octet", HEAD, "-c", "get", path, into]),
            Self::TftpHpaNetascii => command.args(["-4", "-m", "netascii", HEAD, "-c", "get", path, into]),
            Self::Curl(blksize) => command.arg("--tftp-blksize").arg(blksize.to_string()),
            Self::CurlPlain => command.arg("--tftp-no-options"),
            Self::Busybox(blksize) => {
                command.args(["tftp", "-g", "-b", &blksize.to_string(), "-r", path, "-l", into, HEAD])
            }
        };
        if let Self::Curl(_) | Self::CurlPlain = self {
            command.args(["-sS", "--noproxy", "*", "-o", into]).arg(format!("tftp://{HEAD}/{path}"));
        }
        command.stdin(Stdio::null());
        command
    }

    /// Fetches a file, and gives it with what the program printed.
    pub(crate) fn fetch(self, room: &Room, path: &str) -> (Option<Vec<u8>>, String) {
        // Several fetch at once.
        let into = format!("{self:?}-{}", path.replace('/', "-")).replace(['(', ')', ',', ' '], "_");
        let file: PathBuf = room.folder().join(&into);
        let _ = fs::remove_file(&file);
        let said = printed(self.program(), self.command(room, path, &into).output());
        (fs::read(file).ok(), said)
    }
}

/// A room whose client has the address of its machine, by DHCP.
pub(crate) fn furnish() -> Room {
    let room = dhcp::furnish("");
    let status = dhcp::udhcpc(&room).args(["-n", "-q"]).stdout(Stdio::null()).status();
    assert!(status.expect("busybox").success());
    room
}

/// Compares without printing millions of bytes.
pub(crate) fn assert_same(found: &(Option<Vec<u8>>, String), expected: &[u8], what: &str) {
    let (file, said) = found;
    let bytes = file.as_ref().map(Vec::len);
    assert!(file.as_deref() == Some(expected), "{what}: {bytes:?} bytes of {}: {said}", expected.len());
}

#[test]
fn every_client_gets_kernel_and_initramfs_byte_by_byte() {
    if is_outside("tftp::every_client_gets_kernel_and_initramfs_byte_by_byte") {
        return;
    }
    let room = furnish();
    for file in [KERNEL, INITRAMFS] {
        let content = file.content();
        for client in CLIENTS {
            assert_same(&client.fetch(&room, &file.path()), &content, &format!("{client:?}"));
        }
    }
}

#[test]
fn the_boot_configuration_is_for_who_holds_the_lease() {
    if is_outside("tftp::the_boot_configuration_is_for_who_holds_the_lease") {
        return;
    }
    let room = furnish();
    let kernel = format!("\n  kernel {}\n", KERNEL.path());
    for client in CLIENTS {
        let (file, said) = client.fetch(&room, PLAN);
        let text = file.and_then(|file| String::from_utf8(file).ok()).unwrap_or_default();
        assert!(text.contains(&kernel) && text.contains(" ip=10.78.0.11::"), "{client:?}: `{text}` {said}");
        let (_, said) = client.fetch(&room, "pxelinux.cfg/01-b8-27-eb-00-00-0c");
        assert!(is_refusal(&said), "{client:?} asked for another's: {said}");
    }
    room.at_client("ip", "address flush dev node0");
    room.at_client("ip", "address add 10.78.0.9/24 dev node0");
    for client in CLIENTS {
        let (_, said) = client.fetch(&room, PLAN);
        assert!(is_refusal(&said), "{client:?} from a stranger's address: {said}");
    }
}

#[test]
fn a_missing_file_is_refused_at_once() {
    if is_outside("tftp::a_missing_file_is_refused_at_once") {
        return;
    }
    let room = furnish();
    for client in CLIENTS {
        let began = Instant::now();
        let (_, said) = client.fetch(&room, "pxelinux.cfg/default");
        let took = began.elapsed();
        assert!(is_refusal(&said) && took < REFUSAL_LIMIT, "{client:?} after {took:?}: {said}");
    }
}

/// Whether a client says that there is no such file; each has its own words, and curl's exit code is 68.
fn is_refusal(said: &str) -> bool {
    let said = said.to_lowercase();
    ["file not found", "no such file", "curl: (68)"].iter().any(|words| said.contains(words))
}
