//! A lab that is killed, and a storm that nobody emulates.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use cluster::plan::WipePolicy;
use lab::spec::Machine;

use crate::room::{PROGRAM, Wanted, image, lab_up};

/// The kernel needs milliseconds.
const KILLED_LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_lab_whose_supervisor_is_killed_leaves_no_process() {
    let lab = lab_up(&Wanted {
        name: "killed",
        machine: Machine::Virt,
        nodes: 1,
        managers: 1,
        wipe: WipePolicy::Always,
        user_data: "",
    });
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
