//! User data that hangs, fails, is cut, is as large as it may be, or lies on a server that knows nothing of us: the node
//! tells how it ended, and goes on. One puts the clock back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;

use cluster::phase::{Phase, Step};
use cluster::plan::WipePolicy;
use lab::Lab;
use lab::control::{HEAD, Power};
use lab::spec::Machine;

use crate::room::{NODE, SWARM_LIMIT, Wanted, boot_with, fledermaus, lab_up, told};

/// Where the foreign server listens: the head's address, another port.
const FOREIGN: &str = "10.78.0.1:8000";
/// The largest user data, in bytes.
const LARGEST: usize = 10 * 1024 * 1024;
/// A program of the foreign server that promises more than it sends the first time, and would tell if that was run.
const CUT_AT_FIRST: &str = "#!/bin/sh
if [ -e been-here ]; then
  printf 'Content-Length: 10\\r\\n\\r\\necho whole'
else
  touch been-here
  printf 'Content-Length: 999\\r\\n\\r\\necho half'
fi
";

#[test]
fn a_node_tells_how_its_user_data_ended_and_goes_on() {
    let lab = lab_up(&Wanted {
        name: "scripts",
        machine: Machine::Virt,
        nodes: 1,
        managers: 1,
        wipe: WipePolicy::Always,
        user_data: "echo these are my last words >&2; exit 3",
    });
    lab.wait_ready(1, SWARM_LIMIT).unwrap();
    let said = told(&lab, Phase::UserData, Step::Failed).join("\n");
    assert!(said.starts_with("exit 3 after ") && said.ends_with(": these are my last words"), "{said}");

    let logs = fledermaus(&lab, &["node", "logs", NODE]);
    let logs = String::from_utf8_lossy(&logs.stdout).into_owned();
    for (place, word) in
        [("/dev/kmsg", "Linux version"), ("dockerd.log", "level="), ("user-data.log", "my last words")]
    {
        let section = logs
            .split("==> ")
            .find(|section| section.split(" <==").next().is_some_and(|name| name.ends_with(place)));
        assert!(section.is_some_and(|section| section.contains(word)), "{place}: {logs}");
    }

    let own = lab.place().directory().join("user-data/default.sh");
    fs::write(own, "echo begun; date -s '2026-06-01 12:00' >/dev/null; sleep 100000 & wait").unwrap();
    configure(&lab, "limit_secs = 3");
    boot_with(&lab, None);
    let said = told(&lab, Phase::UserData, Step::Failed).join("\n");
    assert!(said.starts_with("stopped at its limit of 3 s after ") && said.ends_with(": begun"), "{said}");

    // That program put the clock back by months, too.
    let set = || told(&lab, Phase::Clock, Step::Done).join("\n");
    lab.wait_for("the clock to be set", SWARM_LIMIT, &mut |_| set().contains("behind the head's: set"))
        .unwrap();

    let mut foreign = Foreign::start(&lab);
    configure(&lab, &format!("url = \"http://{FOREIGN}/large\""));
    boot_with(&lab, None);
    let said = told(&lab, Phase::UserData, Step::Done).join("\n");
    assert!(said.ends_with(&format!(": I am {LARGEST} bytes")), "{said}");

    configure(&lab, &format!("url = \"http://{FOREIGN}/cgi-bin/cut\""));
    boot_with(&lab, None);
    let failed = told(&lab, Phase::UserData, Step::Failed).join("\n");
    assert!(failed.ends_with("; trying again") && !failed.contains("half"), "{failed}");
    let said = told(&lab, Phase::UserData, Step::Done).join("\n");
    assert!(said.ends_with(": whole"), "{said}");
    foreign.server.kill().unwrap();
    foreign.server.wait().unwrap();
    lab.down().unwrap();
}

/// Sets the head's `[user_data]` and starts it again.
fn configure(lab: &Lab, line: &str) {
    let file = lab.place().configuration();
    let text = fs::read_to_string(&file).unwrap();
    let (before, rest) = text.split_once("[user_data]\n").unwrap();
    let nodes = rest.find("\n[[node]]").unwrap();
    let changed = format!("{before}[user_data]\ndir = \"user-data\"\n{line}\n{}", &rest[nodes..]);
    fs::write(&file, changed).unwrap();
    lab.power(HEAD, Power::Cut).unwrap();
    lab.power(HEAD, Power::On).unwrap();
}

/// Busybox's web server within the lab's network.
struct Foreign {
    server: Child,
    _files: tempfile::TempDir,
}

impl Foreign {
    fn start(lab: &Lab) -> Self {
        let files = tempfile::tempdir().unwrap();
        let mut large = b"#!/bin/sh\necho I am $(wc -c < $0) bytes\nexit 0\n".to_vec();
        large.resize(LARGEST, b'#');
        fs::write(files.path().join("large"), large).unwrap();
        program(&files.path().join("cgi-bin/cut"), CUT_AT_FIRST);
        let server = lab
            .inside("busybox")
            .unwrap()
            .args(["httpd", "-f", "-p", FOREIGN, "-h"])
            .arg(files.path())
            .spawn()
            .unwrap();
        Self { server, _files: files }
    }
}

fn program(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
