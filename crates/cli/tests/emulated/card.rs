//! A card that is damaged, too small, write-protected or not there: the node comes up by itself and says what it found.

use cluster::phase::{Phase, Step};
use cluster::plan::WipePolicy;
use lab::Lab;
use lab::control::{CardDeed, CardKind, Slot};
use lab::spec::Machine;

use crate::room::{NODE, SWARM_LIMIT, Wanted, boot_with, fledermaus, lab_up, told};

/// What a node with its image on the card may fetch: kernel, initramfs and talk.
const BYTES_WITH_IMAGE: u64 = 17_000_000;
/// Tells how much was written to the system slot since the kernel started: the seventh figure is sectors written
/// (Documentation/block/stat.rst).
const USER_DATA: &str = "#!/bin/sh
set -- $(cat /sys/class/block/vda2/stat)
echo \"sectors written to the slot: $7.\"
[ ! -d /keep ] || { echo boot >> /keep/boots; sync; echo \"boots that /keep knows: $(wc -l < /keep/boots).\"; }
";

const KEPT: &str = "boots that /keep knows: ";

#[test]
fn a_node_comes_up_from_a_card_that_is_damaged_or_cannot_be_used() {
    let lab = lab_up(&Wanted {
        name: "card",
        machine: Machine::Virt,
        nodes: 1,
        managers: 1,
        wipe: WipePolicy::Always,
        user_data: USER_DATA,
    });
    lab.wait_ready(1, SWARM_LIMIT).unwrap();
    let good = slot(&lab);
    assert!(matches!(good, Slot::Whole(_)), "{good:?}");
    assert_ne!(sectors_written(&lab), 0);
    assert_eq!(figure(&lab, KEPT), None, "nothing is kept unless it is asked for");
    fledermaus(&lab, &["node", "set", NODE, "keep=64M"]);
    let before = received(&lab);
    boot_with(&lab, None);
    let again = received(&lab) - before;
    assert!(again <= BYTES_WITH_IMAGE, "a node that holds its image received {again} bytes");
    assert_eq!(told(&lab, Phase::System, Step::Done), ["already on the card"]);
    assert_eq!(sectors_written(&lab), 0, "an image that is there is not written again");
    assert_eq!(figure(&lab, KEPT), Some(1));

    boot_with(&lab, Some(CardDeed::Flip));
    let found = told(&lab, Phase::System, Step::Failed);
    assert!(
        matches!(&found[..], [one] if one.contains("the image on the card is damaged, fetching it again")),
        "{found:?}"
    );
    assert_eq!(slot(&lab), good);
    assert_eq!(told(&lab, Phase::Data, Step::Done), ["/keep: as it was"], "no wipe reaches it");
    assert_eq!(figure(&lab, KEPT), Some(2));

    boot_with(&lab, Some(CardDeed::Insert(CardKind::Garbage)));
    assert_eq!(slot(&lab), good);
    assert_eq!(figure(&lab, KEPT), Some(1), "another card");

    for (kind, why) in [(CardKind::Small, "too small"), (CardKind::Protected, "write-protected")] {
        boot_with(&lab, Some(CardDeed::Insert(kind)));
        let said = told(&lab, Phase::Disk, Step::Done);
        assert!(
            matches!(&said[..], [one] if one.contains(why) && one.contains("in memory")),
            "{kind:?}: {said:?}"
        );
        let card = lab.card(NODE, CardDeed::Look).unwrap();
        assert_eq!((card.slot, card.written_bytes), (Slot::Void, Some(0)), "{kind:?}: nothing was written");
    }
    boot_with(&lab, Some(CardDeed::Insert(CardKind::Blank)));
    lab.card(NODE, CardDeed::Pull).unwrap();
    let gone = || told(&lab, Phase::Disk, Step::Failed);
    lab.wait_for("the pulled card to be noticed", SWARM_LIMIT, &mut |_| !gone().is_empty()).unwrap();
    assert!(gone()[0].contains("takes no writes any more"), "{:?}", gone());
    boot_with(&lab, Some(CardDeed::Insert(CardKind::Blank)));
    assert_eq!(slot(&lab), good);
    lab.down().unwrap();
}

fn slot(lab: &Lab) -> Slot {
    lab.card(NODE, CardDeed::Look).unwrap().slot
}

fn received(lab: &Lab) -> u64 {
    lab.status().unwrap().boards[0].received_bytes
}

fn sectors_written(lab: &Lab) -> u64 {
    figure(lab, "sectors written to the slot: ").expect("user data says it")
}

/// A figure that the user data of the newest boot printed behind these words.
fn figure(lab: &Lab, words: &str) -> Option<u64> {
    let said = told(lab, Phase::UserData, Step::Done).join("\n");
    said.split_once(words).and_then(|(_, rest)| rest.split_once('.')?.0.parse().ok())
}
