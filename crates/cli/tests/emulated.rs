//! The whole promise in the lab: blank boards become a swarm, and a changed node comes back as a fresh installation.
//!
//! Needs an image (`make image`); `FLEDERMAUS_IMAGE` names its directory. Nothing is faked: U-Boot, kernel, Docker.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use cluster::phase::{Phase, Step};
use cluster::swarm::{Rollout, RolloutState};
use cluster::view::{NodeDetail, SwarmView};
use lab::{Lab, Place, Spec};

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_fledermaus");
/// Two slow cores bring up three nodes in less than a third of this.
const SWARM_LIMIT: Duration = Duration::from_secs(600);
const PAGE_LIMIT: Duration = Duration::from_secs(180);
/// The kernel needs milliseconds.
const KILLED_LIMIT: Duration = Duration::from_secs(20);

/// Leaves a mark everywhere a node can be written, and fails if one is there already.
const FIRST_LIFE: &str = "#!/bin/sh
set -e
for mark in /data/last-life /root/last-life /etc/last-life; do
  [ ! -e $mark ] || { echo \"$mark is there already\"; exit 1; }
  echo written > $mark
done
docker volume create last-life
tar -c -f - /etc/hostname | docker import - last-life:1
docker create --name last-life last-life:1 /nothing
echo first life
";

/// Says what is left of the first life.
const SECOND_LIFE: &str = "#!/bin/sh
left=$(ls -d /data/last-life /root/last-life /etc/last-life 2>/dev/null | wc -l)
volumes=$(docker volume ls -q | grep -c last-life)
containers=$(docker ps -a | grep -c last-life)
echo \"second life on {{ node.name }}: $left files, $volumes volumes, $containers containers left\"
";

#[test]
fn three_blank_boards_become_a_swarm_and_are_made_new_in_turn_without_a_failed_fetch() {
    let lab = lab_up("promise", 3);
    lab.wait_ready(3, SWARM_LIMIT).unwrap();
    assert_eq!(members(&lab), names(&["node1", "node2", "node3"]));

    fledermaus(&lab, &["stack", "deploy", "hello", &example("stacks/hello.yml")]);
    for address in ["10.78.0.11", "10.78.0.12", "10.78.0.13"] {
        let page = lab.wait_page(&format!("http://{address}/"), PAGE_LIMIT).unwrap();
        assert!(!page.body.is_empty());
    }
    assert!(user_data_said(&lab, "node2").contains("first life"), "{}", user_data_said(&lab, "node2"));

    let new = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(new.path(), SECOND_LIFE).unwrap();
    fledermaus(&lab, &["user-data", "set", "node2", new.path().to_str().unwrap()]);
    let shown = fledermaus(&lab, &["user-data", "render", "node2"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("second life on node2"));
    let before = boots(&lab);
    roll_out_under_load(&lab);
    assert!(
        before.iter().zip(boots(&lab)).all(|(before, after)| after == before + 1),
        "each once: {before:?}"
    );
    let said = user_data_said(&lab, "node2");
    assert!(said.contains("second life on node2: 0 files, 0 volumes, 0 containers left"), "{said}");
    assert_eq!(members(&lab), names(&["node1", "node2", "node3"]));
    assert!(swarm(&lab).members.iter().all(|member| member.ready), "{:?}", swarm(&lab).members);

    let directory = lab.place().directory();
    lab.down().unwrap();
    assert!(!directory.exists());
}

#[test]
fn a_lab_whose_supervisor_is_killed_leaves_no_process() {
    let lab = lab_up("killed", 1);
    let directory = lab.place().directory();
    let supervisor = processes(&["supervise", "killed"]).into_iter().min().expect("a supervisor");
    // A process that was only just started has no command line for a moment.
    let limit = Instant::now() + KILLED_LIMIT;
    while processes(&["qemu-system", directory.to_str().unwrap()]).is_empty() {
        assert!(Instant::now() < limit, "no emulator");
        std::thread::yield_now();
    }
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(supervisor), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    let limit = Instant::now() + KILLED_LIMIT;
    loop {
        let left = processes(&[directory.to_str().unwrap()]);
        if left.is_empty() {
            break;
        }
        assert!(Instant::now() < limit, "still there: {left:?}");
        std::thread::yield_now();
    }
    let place = lab.place().clone();
    drop(lab);
    // Files are all that is left; the next lab of that name, or `lab down`, clears them.
    place.clear().unwrap();
    assert!(!directory.exists());
}

/// Clients that nobody emulates, with both of U-Boot's network stacks; they ask before the head is there.
#[test]
fn a_storm_of_clients_boots() {
    let program = Command::new(PROGRAM)
        .args(["lab", "storm", "--clients", "40", "--head-late", "3", "--json", "--image"])
        .arg(image())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&program.stderr);
    assert!(program.status.success(), "{said}");
    let outcome: lab::storm::Outcome = serde_json::from_slice(&program.stdout).unwrap();
    assert_eq!((outcome.booted, outcome.clients), (40, 40));
    // Kernel, initramfs and system image of each.
    assert!(outcome.bytes > 40 * 30_000_000, "{} bytes", outcome.bytes);
    assert!(outcome.seconds.p50 >= 3.0, "the head was late: {:?}", outcome.seconds);
}

fn image() -> PathBuf {
    std::env::var_os("FLEDERMAUS_IMAGE").map(PathBuf::from).unwrap_or_else(|| {
        let home = std::env::var_os("HOME").expect("a home");
        PathBuf::from(home).join(".cache/fledermaus/image")
    })
}

fn lab_up(name: &str, nodes: u8) -> Lab {
    let base = std::env::temp_dir().join(format!("fledermaus-test-{}", std::process::id()));
    let spec = Spec {
        place: Place::new(&base, name.parse().unwrap()),
        nodes,
        cores: lab::spec::default_cores(),
        image: image(),
        program: PROGRAM.into(),
        cards: "/var/tmp".into(),
        user_data: FIRST_LIFE.to_owned(),
    };
    Lab::up(&spec).expect("a lab (`make image` makes its image)")
}

/// Runs the command line on the lab's head; it has to succeed.
fn fledermaus(lab: &Lab, arguments: &[&str]) -> Output {
    let output =
        Command::new(PROGRAM).arg("--socket").arg(lab.head_socket()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn boots(lab: &Lab) -> Vec<u64> {
    let mut nodes = lab.nodes().unwrap();
    nodes.sort_by(|one, other| one.name.cmp(&other.name));
    nodes.into_iter().map(|node| node.boot).collect()
}

/// Makes every node new in turn while a client fetches the page through each node that is in rotation, as the cluster's
/// names tell it: no fetch may fail.
fn roll_out_under_load(lab: &Lab) {
    let began: Rollout = {
        let started = fledermaus(lab, &["rollout", "start", "--detach", "--json", "--pause", "1"]);
        serde_json::from_slice(&started.stdout).unwrap()
    };
    assert_eq!(began.nodes.len(), 3, "{began:?}");
    let began_at = Instant::now();
    let limit = began_at + SWARM_LIMIT;
    let (mut fetches, mut failures) = (0, Vec::new());
    loop {
        for name in swarm(lab).in_rotation {
            let number: u8 = name.as_str().trim_start_matches("node").parse().unwrap();
            let page = lab.fetch(&format!("http://10.78.0.{}/", 10 + number));
            fetches += 1;
            match page {
                Ok(page) if page.status == 200 => {}
                Ok(page) => failures.push(format!(
                    "{} s: {name}: status {}",
                    began_at.elapsed().as_secs(),
                    page.status
                )),
                Err(error) => failures.push(format!("{} s: {name}: {error}", began_at.elapsed().as_secs())),
            }
        }
        let rollout: Rollout = lab.client().get("/v1/rollout").unwrap();
        match rollout.state {
            RolloutState::Done => break,
            RolloutState::Running => assert!(Instant::now() < limit, "{rollout:?}\n{}", lab.head_log(50)),
            RolloutState::Stopped { reason } => panic!("{reason}"),
        }
    }
    assert!(fetches > 100, "{fetches} fetches");
    assert!(failures.is_empty(), "{} of {fetches} fetches failed: {failures:#?}", failures.len());
}

fn swarm(lab: &Lab) -> SwarmView {
    lab.client().get("/v1/swarm").unwrap()
}

/// The host names of the swarm's entries; a dead entry of a node would show as a second one.
fn members(lab: &Lab) -> Vec<String> {
    let mut members: Vec<_> = swarm(lab).members.into_iter().map(|member| member.hostname).collect();
    members.sort();
    members
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// What the newest boot's user data printed last, as the timeline has it.
fn user_data_said(lab: &Lab, name: &str) -> String {
    let detail: NodeDetail = lab.client().get(&format!("/v1/nodes/{name}")).unwrap();
    let lines = detail.timeline.iter().rev();
    let ended = lines.into_iter().find(|line| line.phase == Phase::UserData && line.step == Step::Done);
    ended.map(|line| line.detail.clone()).unwrap_or_default()
}

/// Processes whose command line holds all the words.
fn processes(words: &[&str]) -> BTreeSet<i32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let own = std::process::id().cast_signed();
    pids.filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        *pid != own && words.iter().all(|word| line.contains(word))
    })
    .collect()
}

fn example(file: &str) -> String {
    format!("{}/../../example/{file}", env!("CARGO_MANIFEST_DIR"))
}
