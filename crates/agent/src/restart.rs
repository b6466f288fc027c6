//! Starts the node again: its next boot makes it new.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use nix::sys::reboot::{RebootMode, reboot};

use crate::outbox::Outbox;

/// How long the head gets to hear of it, and the disks to take what is in memory.
const LAST_REPORT_LIMIT: Duration = Duration::from_secs(2);
/// The same without the disks: the report may wait for a Docker that waits for a disk (`docker::QUESTION_LIMIT`).
const LAST_WORD_LIMIT: Duration = Duration::from_secs(15);
const SYNC_LIMIT: Duration = Duration::from_secs(5);

/// Once the disks have what is in memory. Services are not stopped: they lose nothing that the next boot would keep.
pub(crate) fn with_disks_synced(outbox: &Outbox) {
    outbox.wait_until_told(LAST_REPORT_LIMIT);
    let (synced, wait) = channel();
    thread::spawn(move || {
        nix::unistd::sync();
        synced.send(())
    });
    let _ = wait.recv_timeout(SYNC_LIMIT);
    now();
}

/// Without the disks.
pub(crate) fn without_disks(outbox: &Outbox) {
    outbox.wait_until_told(LAST_WORD_LIMIT);
    now();
}

/// By the kernel itself: a program might lie on a card that is gone.
fn now() {
    let Err(error) = reboot(RebootMode::RB_AUTOBOOT);
    eprintln!("fledermaus-agent: the kernel refuses to reboot: {error}");
}
