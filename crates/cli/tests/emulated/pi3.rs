//! A Pi 3 without anything on its card: from its ROM's first DISCOVER to Ready, and again after a power cut, sooner; with
//! somebody else's card, and with none.
//!
//! Needs an image with firmware (`make image-pi3`); `FLEDERMAUS_PI3_IMAGE` names its directory.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cluster::phase::{Phase, Step};
use cluster::plan::WipePolicy;
use cluster::view::NodeView;
use lab::control::{CardDeed, CardKind};
use lab::spec::{Machine, Throttle};
use lab::{Lab, Power};

use crate::room::{NODE, Wanted, image, lab_up_with, members, names, told};

/// From power to Ready on two cores, with a blank card and with one that has the image.
const FIRST_BOOT_LIMIT: Duration = Duration::from_secs(120);
const NEXT_BOOT_LIMIT: Duration = Duration::from_secs(60);
/// How long is waited before that is judged.
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn a_pi_3_boots_by_its_rom_and_sooner_with_the_image_on_its_card() {
    let wanted = Wanted {
        name: "pi3",
        machine: Machine::Pi3,
        nodes: 1,
        managers: 1,
        wipe: WipePolicy::Always,
        user_data: "#!/bin/sh\ngrep -q smsc95xx /proc/modules && cat /sys/class/net/eth0/address\n",
    };
    let lab = lab_up_with(&wanted, pi3_image(), Throttle::default());
    let powered_on_ms = lab.status().unwrap().powered_on_ms;
    let first = seconds_to_ready(&lab, 1, powered_on_ms);
    assert_eq!(members(&lab), names(&[NODE]));
    assert_eq!(told(&lab, Phase::Hardware, Step::Done), ["Raspberry Pi 3 Model B"]);
    // Its Ethernet has the address that its ROM asked with.
    let said = told(&lab, Phase::UserData, Step::Done).join("\n");
    assert!(said.contains("b8:27:eb:00:01:01"), "{said}");

    lab.power(NODE, Power::Cut).unwrap();
    let powered_on_ms = now_ms();
    lab.power(NODE, Power::On).unwrap();
    let next = seconds_to_ready(&lab, 2, powered_on_ms);
    assert_eq!(told(&lab, Phase::System, Step::Done), ["already on the card"]);
    println!(
        "an emulated Pi 3 is Ready {first:.1} s after its power, with the image on its card {next:.1} s"
    );
    assert!(first <= FIRST_BOOT_LIMIT.as_secs_f64(), "{first} s\n{}", lab.console(NODE, 40));
    assert!(next <= NEXT_BOOT_LIMIT.as_secs_f64(), "{next} s\n{}", lab.console(NODE, 40));
    for (boot, kind) in [(3, CardKind::Foreign), (4, CardKind::None)] {
        lab.power(NODE, Power::Cut).unwrap();
        lab.card(NODE, CardDeed::Insert(kind)).unwrap();
        let powered_on_ms = now_ms();
        lab.power(NODE, Power::On).unwrap();
        seconds_to_ready(&lab, boot, powered_on_ms);
        let said = told(&lab, Phase::Disk, Step::Done).join("\n");
        assert!(said.contains("everything lies in memory"), "{kind:?}: {said}");
        let written = lab.card(NODE, CardDeed::Look).unwrap().written_bytes.unwrap_or_default();
        assert_eq!(written, 0, "{kind:?}: a card without our label is nobody's business");
    }
    lab.down().unwrap();
}

fn pi3_image() -> PathBuf {
    std::env::var_os("FLEDERMAUS_PI3_IMAGE")
        .map(PathBuf::from)
        .unwrap_or_else(|| image().with_file_name("image-pi3"))
}

/// Waits until the node is Ready in the boot of that number; the seconds since then.
fn seconds_to_ready(lab: &Lab, boot: u64, powered_on_ms: u64) -> f64 {
    let is_ready = |nodes: &[NodeView]| {
        nodes
            .iter()
            .any(|node| node.boot == boot && node.phase == Some(Phase::Ready) && node.ready_at_ms.is_some())
    };
    let nodes = lab.wait_for("the Pi is Ready", PATIENCE, &mut |nodes| is_ready(nodes)).unwrap();
    let ready = nodes.iter().find_map(|node| node.ready_at_ms).unwrap();
    ready.saturating_sub(powered_on_ms) as f64 / 1_000.0
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}
