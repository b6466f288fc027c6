//! What init says on the console, and its last resort: a message and a reboot.

use std::io::Write;
use std::panic::PanicHookInfo;
use std::thread;
use std::time::Duration;

use nix::sys::reboot::{RebootMode, reboot};
use nix::time::{ClockId, clock_gettime};

/// How long a last message stays readable before the reboot.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// How long the disks get to take what is still in memory.
const SYNC_LIMIT: Duration = Duration::from_secs(5);

/// Writes one line to the console. A console that does not take it is no reason to stop.
pub(crate) fn say(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Time since the kernel started, in milliseconds.
pub(crate) fn uptime_ms() -> u64 {
    let Ok(now) = clock_gettime(ClockId::CLOCK_BOOTTIME) else { return 0 };
    now.tv_sec().unsigned_abs() * 1_000 + now.tv_nsec().unsigned_abs() / 1_000_000
}

/// Reboots, cleanly. Does not return; where the kernel refuses, waits for the watchdog or a person.
pub(crate) fn reboot_now() -> ! {
    thread::sleep(LAST_WORDS);
    let (synced, wait) = std::sync::mpsc::channel();
    // A card that hangs must not keep the node from its reboot.
    thread::spawn(move || {
        nix::unistd::sync();
        synced.send(())
    });
    let _ = wait.recv_timeout(SYNC_LIMIT);
    let Err(error) = reboot(RebootMode::RB_AUTOBOOT);
    say(&format!("fledermaus: the kernel refuses to reboot: {error}"));
    loop {
        thread::park();
    }
}

/// A defect of init must not leave a node hanging: say it, reboot, and boot anew.
pub(crate) fn reboot_on_panic(panic: &PanicHookInfo<'_>) {
    say(&format!("fledermaus: defect in init, rebooting: {panic}"));
    reboot_now();
}
