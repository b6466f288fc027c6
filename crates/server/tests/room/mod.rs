//! A room for a test with foreign programs: network and mount namespaces of its own, in which the head serves, and a
//! second network namespace with a client. Both are gone when the test's process is. Knows no protocol.

pub(crate) mod image;
pub(crate) mod postgres;
mod programs;

use std::fs::File;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;

use nix::sched::{CloneFlags, setns};

pub(crate) use self::image::{INITRAMFS, KERNEL, noise};
pub(crate) use self::programs::{Started, printed, run, wait};

/// Says that the test runs in its room.
const INSIDE: &str = "FLEDERMAUS_TEST_INSIDE";
/// The head's address.
pub(crate) const HEAD: &str = "10.78.0.1";

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
    // A plain user's shell does not look there.
    let path = std::env::var("PATH").unwrap_or_default();
    unshare.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    let status = unshare.status().expect("unshare, of the package util-linux");
    assert!(status.success(), "the test inside failed: see above");
    true
}

/// What a head serves.
#[derive(Clone, Copy, Default)]
pub(crate) struct Furniture<'a> {
    /// Nodes: name, and the last byte of MAC and address.
    pub(crate) nodes: &'a [(&'a str, u8)],
    /// Further lines of `[network]`.
    pub(crate) network: &'a str,
    /// Lines of `[boot]`.
    pub(crate) boot: &'a str,
    /// The operator's files, by name.
    pub(crate) files: &'a [(&'a str, &'a [u8])],
    /// Lines of `[image]`, and how its store is asked; none: a directory of the room's own.
    pub(crate) image: Option<(&'a str, &'a depot::Access)>,
}

/// A room that is furnished: the head serves on a bridge. One end of a cable is plugged in, the other end is the
/// client's `node0`.
pub(crate) struct Room {
    folder: tempfile::TempDir,
    client: Started,
}

impl Room {
    /// Starts the head, and waits until it serves; the client has no address.
    pub(crate) fn furnish(furniture: &Furniture) -> Self {
        let room = Self::empty();
        room.serve(furniture);
        room
    }

    /// One without a head yet.
    pub(crate) fn empty() -> Self {
        run("ip", "link set lo up");
        // A bridge without an address of its own would change it with each cable.
        run("ip", "link add head0 address 02:00:00:00:00:01 type bridge");
        run("ip", "address add 10.78.0.1/24 dev head0");
        run("ip", "link set head0 up");
        run("ip", "link add cable0 type veth peer name node0");
        run("ip", "link set cable0 master head0 up");
        let client = Started::new(Command::new("unshare").args(["--net", "sleep", "600"]));
        let own = std::fs::read_link("/proc/self/ns/net").expect("our own namespace");
        let theirs = format!("/proc/{}/ns/net", client.id());
        wait("the client's namespace", || std::fs::read_link(&theirs).is_ok_and(|link| link != own));
        run("ip", &format!("link set node0 netns {}", client.id()));
        let folder = tempfile::tempdir().expect("a folder");
        let room = Self { folder, client };
        room.at_client("ip", "link set lo up");
        room.at_client("ip", "link set node0 up");
        room
    }

    /// Starts the head, and waits until it serves.
    pub(crate) fn serve(&self, furniture: &Furniture) {
        let options = self.options(furniture);
        std::thread::spawn(|| serve(options).expect("serves"));
        wait("the head", || TcpStream::connect((HEAD, 53)).is_ok());
    }

    /// The same; what the head says when it ends.
    pub(crate) fn serve_until_it_ends(&self, furniture: &Furniture) -> mpsc::Receiver<String> {
        let (tell, ended) = mpsc::channel();
        let options = self.options(furniture);
        std::thread::spawn(move || {
            let sentence = serve(options).map_or_else(|error| format!("{error:#}"), |()| String::new());
            let _ = tell.send(sentence);
        });
        wait("the head", || TcpStream::connect((HEAD, 53)).is_ok());
        ended
    }

    /// What a head says that does not start.
    pub(crate) fn refusal(&self, furniture: &Furniture) -> String {
        format!("{:#}", serve(self.options(furniture)).expect_err("it does not start"))
    }

    /// The process whose network namespace is the client's.
    pub(crate) fn client_id(&self) -> u32 {
        self.client.id()
    }

    /// A folder of the test's own.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A program in the client's namespace, to be run.
    pub(crate) fn client(&self, program: &str) -> Command {
        programs::check(program);
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["--net", "--target", &self.client.id().to_string(), "--", program]);
        nsenter.current_dir(self.folder());
        nsenter
    }

    /// Runs a program in the client's namespace, and gives what it printed.
    pub(crate) fn at_client(&self, program: &str, arguments: &str) -> String {
        printed(program, self.client(program).args(arguments.split_ascii_whitespace()).output())
    }

    /// Does something in the client's namespace: what it opens there stays there.
    pub(crate) fn as_client<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/proc/{}/ns/net", self.client.id())).expect("its namespace");
        let there = || {
            // Of this thread alone.
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("its namespace");
            act()
        };
        std::thread::scope(|scope| scope.spawn(there).join().expect("it went well there"))
    }

    /// The cable loses each tenth packet in both directions from now on, by chance. The filter of bridges does it and
    /// not netem, which many kernels are built without; unlike other filters' it tells the sender nothing.
    pub(crate) fn lose_packets(&self) {
        let file = self.folder().join("loss.nft");
        let chains = ["input", "output"].map(|hook| {
            format!(
                "chain {hook} {{ type filter hook {hook} priority 0; numgen random mod 10 0 counter drop\n}}"
            )
        });
        std::fs::write(&file, format!("table bridge loss {{\n{}\n}}\n", chains.join("\n"))).expect("a file");
        let said = run("nft", &format!("-f {}", file.display()));
        assert!(said.is_empty(), "{said}");
    }

    /// How many packets got lost on the way to the head, and how many from it.
    pub(crate) fn lost_packets(&self) -> Vec<u32> {
        let said = run("nft", "list table bridge loss");
        let counters = said.split("counter packets ").skip(1);
        counters.filter_map(|rest| rest.split(' ').next()?.parse().ok()).collect()
    }

    /// Writes what the head reads, and says where it is.
    pub(crate) fn options(&self, furniture: &Furniture) -> server::Options {
        let mut text = format!(
            "domain = \"cluster.test\"\n[network]\naddress = \"10.78.0.1/24\"\n{}\n[boot]\nfiles = \"files\"\n{}\n",
            furniture.network, furniture.boot
        );
        for (name, last) in furniture.nodes {
            let mac = format!("b8:27:eb:00:00:{last:02x}");
            text += &format!("[[node]]\nname = \"{name}\"\nmac = \"{mac}\"\naddress = \"10.78.0.{last}\"\n");
        }
        text += furniture.image.map_or("", |(lines, _)| lines);
        let config = self.folder().join("cluster.toml");
        std::fs::write(&config, text).expect("a file");
        let files = self.folder().join("files");
        let user_data = self.folder().join("user-data");
        for folder in [&files, &user_data] {
            std::fs::create_dir_all(folder).expect("a folder");
        }
        for (name, bytes) in furniture.files {
            std::fs::write(files.join(name), bytes).expect("a file");
        }
        std::fs::write(user_data.join("default.sh"), "#!/bin/sh\n").expect("a file");
        server::Options {
            config,
            interface: Some("head0".to_owned()),
            state_dir: self.folder().join("state"),
            image_dir: furniture.image.is_none().then(|| image::write(self.folder())),
            access: furniture.image.map(|(_, access)| access.clone()).unwrap_or_default(),
        }
    }
}

/// Serves until the test ends.
fn serve(options: server::Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(server::serve(options, |_| ()))
}
