//! Where a row is measured: a namespace for the server, one for the load, a cable between, a folder. All go with it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// The server's address, and the load's.
pub(super) const SERVER: &str = "10.99.0.1";
pub(super) const LOAD: &str = "10.99.0.2";
/// The first of the addresses that are the load's too.
pub(super) const CLIENTS: &str = "10.99.2.1";
/// The interface, on either side.
pub(super) const INTERFACE: &str = "eth0";
/// How often something is looked at while we wait.
const LOOK_EVERY: Duration = Duration::from_millis(50);

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Namespaces and folder of one measurement.
pub(super) struct Ground {
    server: String,
    load: String,
    folder: PathBuf,
}

/// A server that runs; it ends with this.
pub(super) struct Server(Child);

impl Ground {
    /// Makes both namespaces and the cable.
    pub(super) fn new() -> anyhow::Result<Self> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let own = format!("fb{}n{number}", std::process::id());
        let folder = std::env::temp_dir().join(format!("fledermaus-bench-{own}"));
        std::fs::create_dir_all(folder.join("files")).context("making a folder")?;
        let ground = Self { server: format!("{own}s"), load: format!("{own}l"), folder };
        for (name, address) in [(&ground.server, SERVER), (&ground.load, LOAD)] {
            ip(&format!("netns add {name}"))?;
            ip(&format!("-n {name} link set lo up"))?;
            if address == LOAD {
                let (server, load) = (&ground.server, &ground.load);
                ip(&format!(
                    "-n {server} link add {INTERFACE} type veth peer name {INTERFACE} netns {load}"
                ))?;
            }
        }
        for (name, address) in [(&ground.server, SERVER), (&ground.load, LOAD)] {
            ip(&format!("-n {name} addr add {address}/16 brd + dev {INTERFACE}"))?;
            ip(&format!("-n {name} link set {INTERFACE} up"))?;
        }
        ip(&format!("-n {} route add local 10.99.2.0/24 dev lo", ground.load))?;
        Ok(ground)
    }

    /// Files of this measurement.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes one of them.
    pub(super) fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        std::fs::write(self.folder.join(name), text).with_context(|| format!("writing {name}"))
    }

    /// Starts a server: a program and its arguments. What it prints is in `server.log`.
    pub(super) fn serve(&self, command: &[String]) -> anyhow::Result<Server> {
        let log = File::create(self.folder.join("server.log")).context("making server.log")?;
        let process = self
            .inside(&self.server, command)?
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting the server")?;
        Ok(Server(process))
    }

    /// Runs a load to its end; what it prints. Its exit code says nothing: perfdhcp's is 3 when a packet was lost.
    pub(super) fn load(&self, command: &[String]) -> anyhow::Result<String> {
        let output =
            self.inside(&self.load, command)?.stdin(Stdio::null()).output().context("starting the load")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
    }

    /// Waits for a server to answer.
    pub(super) fn wait_until(
        &self,
        limit: Duration,
        answers: impl Fn() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let limit = Instant::now() + limit;
        while let Err(error) = answers() {
            if Instant::now() > limit {
                let log = std::fs::read_to_string(self.folder.join("server.log")).unwrap_or_default();
                bail!("the server does not answer: {error:#}\nit printed:\n{log}");
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    fn inside(&self, namespace: &str, command: &[String]) -> anyhow::Result<Command> {
        let (program, arguments) = command.split_first().context("a command has a program")?;
        require(program, package_of(program))?;
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", namespace, program]).args(arguments);
        Ok(inside)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for name in [&self.server, &self.load] {
            if let Err(error) = ip(&format!("netns del {name}")) {
                eprintln!("{error:#}");
            }
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Server {
    /// Processor time of its processes so far, in seconds (proc(5), `/proc/PID/stat`; USER_HZ is 100).
    pub(super) fn cpu_seconds(&self) -> f64 {
        let of_one = |process: u32| {
            let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
            let ticks = |place: usize| {
                fields.get(place).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default()
            };
            (ticks(11) + ticks(12)) / 100.0
        };
        self.processes().into_iter().map(of_one).sum()
    }

    /// The most memory of its processes so far, in MiB (`VmHWM`). What several share counts for each.
    pub(super) fn memory_mib(&self) -> f64 {
        let of_one = |process: u32| {
            let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
            let kib = line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok());
            kib.unwrap_or_default() / 1_024.0
        };
        self.processes().into_iter().map(of_one).sum()
    }

    /// Its process, and the workers that this started. `ip netns exec` becomes the program: the process is the
    /// server's.
    fn processes(&self) -> Vec<u32> {
        let main = self.0.id();
        let children = std::fs::read_to_string(format!("/proc/{main}/task/{main}/children"));
        let children = children.unwrap_or_default();
        let workers = children.split_whitespace().filter_map(|process| process.parse().ok());
        std::iter::once(main).chain(workers).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Workers outlive a main process that was killed, and it would make new ones if they were killed first.
        let processes = self.processes();
        let _ = self.0.kill();
        let _ = self.0.wait();
        for worker in processes.into_iter().skip(1) {
            let worker = i32::try_from(worker).ok().and_then(Pid::from_raw);
            let _ = worker.map(|worker| kill_process(worker, Signal::KILL));
        }
    }
}

/// Which Debian package has a program that a row needs.
fn package_of(program: &str) -> &str {
    match program {
        "kea-dhcp4" => "kea-dhcp4-server",
        "perfdhcp" => "kea-admin",
        "dnsmasq" => "dnsmasq-base",
        "dig" => "bind9-dnsutils",
        other => other,
    }
}

/// Says which Debian package to install if a program is missing.
pub(super) fn require(program: &str, package: &str) -> anyhow::Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        program.contains('/') || std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    ensure!(found, "{program} is not installed: `apt-get install {package}`");
    Ok(())
}

fn ip(arguments: &str) -> anyhow::Result<()> {
    let output = Command::new("ip").args(arguments.split(' ')).output().context("starting `ip`")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {arguments}: {} (root makes namespaces)", said.trim());
    Ok(())
}
