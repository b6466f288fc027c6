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
/// How often the card is looked at.
const INTERVAL: Duration = Duration::from_secs(2);

/// Watches for as long as the node runs; returns at once if its data lies in memory.
pub(crate) fn watch(outbox: &Arc<Outbox>) {
    let Some(card) = fs::read_to_string(MOUNTS).ok().and_then(|mounts| Card::of(&mounts)) else { return };
    loop {
        let mounts = fs::read_to_string(MOUNTS).unwrap_or_default();
        let is_there = Path::new("/sys/class/block").join(&card.partition).exists();
        if let Some(reason) = card.fault(is_there, &mounts) {
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
}

impl Card {
    /// The card that the data lies on; `None` if it lies in memory.
    fn of(mounts: &str) -> Option<Self> {
        let (device, _) = data(mounts)?;
        Some(Self { partition: device.strip_prefix("/dev/")?.to_owned() })
    }

    /// What is wrong with it.
    fn fault(&self, is_there: bool, mounts: &str) -> Option<&'static str> {
        if !is_there {
            return Some("the card is gone: starting again without it");
        }
        // What the kernel makes of a file system whose journal cannot be written.
        let is_read_only =
            |options: &str| options.split(',').any(|option| ["ro", "emergency_ro"].contains(&option));
        data(mounts).is_some_and(|(_, options)| is_read_only(options)).then_some(
            "the card takes no writes any more: was it pulled out, or is it worn out? Starting again",
        )
    }
}

/// Device and options of what is mounted on [`DATA`].
fn data(mounts: &str) -> Option<(&str, &str)> {
    mounts.lines().find_map(|mount| {
        let mut words = mount.split(' ');
        let (device, place, _kind, options) = (words.next()?, words.next()?, words.next()?, words.next()?);
        (place == DATA).then_some((device, options))
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
        let card = Card::of(SOUND).unwrap();
        assert_eq!(card.partition, "mmcblk0p3");
        assert_eq!(card.fault(true, SOUND), None);
        assert!(card.fault(false, SOUND).is_some_and(|reason| reason.contains("gone")));
        for options in ["ro,noatime", "rw,emergency_ro,noatime"] {
            let worn = SOUND.replace("/data ext4 rw,noatime", &format!("/data ext4 {options}"));
            assert!(
                card.fault(true, &worn).is_some_and(|reason| reason.contains("takes no writes")),
                "{options}"
            );
        }
        assert_eq!(card.fault(true, ""), None, "a list that could not be read proves nothing");
    }

    #[test]
    fn memory_has_no_card() {
        assert_eq!(Card::of("tmpfs /data tmpfs rw 0 0\n"), None);
        assert_eq!(Card::of("garbage\n"), None);
    }
}
