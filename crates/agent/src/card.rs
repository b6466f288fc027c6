//! Watches over the card that root and data lie on. A node whose card was pulled out, or takes nothing any more, can do no work
//! and cannot say so for long: it tells the head and starts again, in memory or with the reason why not (`init`, phase `disk`).

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use cluster::Phase;
use cluster::phase::Step;

use crate::outbox::Outbox;
use crate::restart;

/// What is mounted where, and how (proc_pid_mounts(5)).
const MOUNTS: &str = "/proc/self/mounts";
/// Where the data is.
const DATA: &str = "/data";
/// Where ext4 counts the errors that it met, for each partition (Documentation/ABI/testing/sysfs-fs-ext4). A journal that cannot be
/// written is one; since Linux 6.12 the mount itself goes on saying `rw` then.
const EXT4: &str = "/sys/fs/ext4";
/// How often the card is looked at.
const INTERVAL: Duration = Duration::from_secs(2);

/// Watches for as long as the node runs; returns at once if its data lies in memory.
pub(crate) fn watch(outbox: &Arc<Outbox>) {
    let mounts = fs::read_to_string(MOUNTS).unwrap_or_default();
    let Some(card) = Card::of(&mounts, Path::new(EXT4)) else { return };
    loop {
        if let Some(reason) = card.fault(Path::new("/sys/class/block"), Path::new(EXT4)) {
            eprintln!("fledermaus-agent: {reason}");
            outbox.event(Phase::Disk, Step::Failed, reason);
            restart::without_disks(outbox);
        }
        thread::sleep(INTERVAL);
    }
}

/// The card, by its data partition.
#[derive(Debug, PartialEq, Eq)]
struct Card {
    partition: String,
    /// How many errors its file system had met before: one that is kept remembers those of other boots.
    errors: u64,
}

impl Card {
    /// The card that the data lies on; `None` if it lies in memory.
    fn of(mounts: &str, ext4: &Path) -> Option<Self> {
        let partition = data(mounts)?.strip_prefix("/dev/")?.to_owned();
        let errors = errors(ext4, &partition).unwrap_or_default();
        Some(Self { partition, errors })
    }

    /// What is wrong with it.
    fn fault(&self, block: &Path, ext4: &Path) -> Option<&'static str> {
        if !block.join(&self.partition).exists() {
            return Some("the card is gone: starting again without it");
        }
        (errors(ext4, &self.partition)? > self.errors).then_some(
            "the card takes no writes any more: was it pulled out, or is it worn out? Starting again",
        )
    }
}

/// How many errors a file system has met; `None` if the kernel does not say.
fn errors(ext4: &Path, partition: &str) -> Option<u64> {
    fs::read_to_string(ext4.join(partition).join("errors_count")).ok()?.trim().parse().ok()
}

/// The device of what is mounted on [`DATA`].
fn data(mounts: &str) -> Option<&str> {
    mounts.lines().find_map(|mount| {
        let mut words = mount.split(' ');
        let (device, place) = (words.next()?, words.next()?);
        (place == DATA).then_some(device)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SOUND: &str = "overlay / overlay rw,noatime 0 0\n/dev/mmcblk0p3 /data ext4 rw,noatime,nobarrier 0 0\n\
                         /dev/mmcblk0p3 /var/lib/docker ext4 rw,noatime 0 0\n";

    #[test]
    fn a_card_that_is_gone_or_takes_no_writes_is_noticed() {
        let sys = tempfile::tempdir().unwrap();
        let (block, ext4) = (sys.path().join("block"), sys.path().join("ext4"));
        let count = ext4.join("mmcblk0p3/errors_count");
        fs::create_dir_all(count.parent().unwrap()).unwrap();
        fs::create_dir_all(block.join("mmcblk0p3")).unwrap();
        fs::write(&count, "2\n").unwrap();
        let card = Card::of(SOUND, &ext4).unwrap();
        assert_eq!(card, Card { partition: "mmcblk0p3".to_owned(), errors: 2 }, "errors of another life");
        assert_eq!(card.fault(&block, &ext4), None);
        fs::write(&count, "3\n").unwrap();
        assert!(card.fault(&block, &ext4).is_some_and(|reason| reason.contains("takes no writes")));
        fs::remove_file(&count).unwrap();
        assert_eq!(card.fault(&block, &ext4), None, "a count that cannot be read proves nothing");
        fs::remove_dir(block.join("mmcblk0p3")).unwrap();
        assert!(card.fault(&block, &ext4).is_some_and(|reason| reason.contains("gone")));
    }

    #[test]
    fn memory_has_no_card() {
        assert_eq!(Card::of("tmpfs /data tmpfs rw 0 0\n", Path::new("/nowhere")), None);
        assert_eq!(Card::of("garbage\n", Path::new("/nowhere")), None);
    }
}
