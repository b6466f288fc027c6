//! A PostgreSQL server of a test's own: from Debian's package, in a folder of its own, on a Unix socket there. It is gone with its
//! owner. Unit tests use this file too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long the server may take to start; it may share two cores with others.
const PATIENCE: Duration = Duration::from_secs(60);
/// Who may do everything with it, and the password.
const USER: &str = "fledermaus";
pub(crate) const PASSWORD: &str = "swordfish-of-the-store";

/// A server, and the database `postgres` that it begins with.
pub(crate) struct Postgres {
    folder: tempfile::TempDir,
    programs: PathBuf,
    server: Child,
}

impl Postgres {
    /// Makes the files of a server, and starts it.
    pub(crate) fn start() -> Self {
        let programs = programs();
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("password"), format!("{PASSWORD}\n")).expect("written");
        let mut initdb = unprivileged(&programs.join("initdb"));
        initdb.current_dir(folder.path()).args(["-D", "data", "-U", USER, "--pwfile", "password"]);
        initdb.args(["--auth", "scram-sha-256", "--no-sync", "--no-locale", "-E", "UTF8"]);
        said(initdb.output());
        let server = launch(&programs, folder.path());
        let postgres = Self { folder, programs, server };
        postgres.wait_ready();
        postgres
    }

    /// The address of one of its databases.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres:///{database}?user={USER}&host={}", self.folder.path().display())
    }

    /// The file that holds the password.
    pub(crate) fn password_file(&self) -> PathBuf {
        self.folder.path().join("password")
    }

    /// The server and all its connections end at once, as by a loss of power: what was committed is in its log.
    pub(crate) fn crash(&mut self) {
        kill(Pid::from_raw(self.server.id().cast_signed()), Signal::SIGQUIT).expect("it runs");
        self.server.wait().expect("it ends");
    }

    /// Starts it again.
    pub(crate) fn restart(&mut self) {
        self.server = launch(&self.programs, self.folder.path());
        self.wait_ready();
    }

    /// What a statement gives, by the server's own client.
    pub(crate) fn sql(&self, database: &str, statement: &str) -> String {
        said(self.psql(database, statement))
    }

    fn psql(&self, database: &str, statement: &str) -> std::io::Result<Output> {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args([
            "-X",
            "-A",
            "-t",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            &self.url(database),
            "-c",
            statement,
        ]);
        psql.env("PGPASSWORD", PASSWORD).stdin(Stdio::null()).output()
    }

    fn wait_ready(&self) {
        let until = Instant::now() + PATIENCE;
        loop {
            let output = self.psql("postgres", "SELECT 1").expect("psql");
            if output.status.success() {
                return;
            }
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "the server is not there after {PATIENCE:?}: {log}");
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.server.id().cast_signed()), Signal::SIGQUIT);
        let _ = self.server.wait();
    }
}

fn launch(programs: &Path, folder: &Path) -> Child {
    let log = fs::File::options().create(true).append(true).open(folder.join("log")).expect("a file");
    let mut postgres = unprivileged(&programs.join("postgres"));
    postgres.current_dir(folder).args(["-D", "data", "-c", "listen_addresses=", "-k"]).arg(folder);
    // The tests end it, and not the machine's power: what it wrote needs not be on a disk.
    postgres.args(["-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=20"]);
    postgres.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    postgres.spawn().unwrap_or_else(|error| panic!("starting postgres: {error}"))
}

/// PostgreSQL refuses to run as root: in a user namespace of its own it is somebody else there.
fn unprivileged(program: &Path) -> Command {
    if !nix::unistd::geteuid().is_root() {
        return Command::new(program);
    }
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-user=1000", "--map-group=1000", "--"]).arg(program);
    unshare
}

/// The newest that is installed; Debian keeps them out of PATH.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |path: &Path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let newest = versions.map(|entry| entry.path()).max_by_key(|path| version(path));
    let programs = newest.map(|path| path.join("bin")).filter(|path| path.join("initdb").exists());
    programs.expect("there is no PostgreSQL: install the package postgresql, or run scripts/install-deps")
}

fn said(output: std::io::Result<Output>) -> String {
    let output = output.unwrap_or_else(|error| panic!("starting a program of PostgreSQL: {error}"));
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
