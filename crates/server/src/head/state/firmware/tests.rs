//! Boots without a card: who gets which file, and what a request alone does not do.

use cluster::BootToken;
use cluster::phase::Event;
use cluster::plan::NodePlan;

use super::*;
use crate::artefacts::{ImageFile, Images};
use crate::head::state::tests::{ADDRESS, MAC, OTHER, boot, images, report, state};

const SERIAL: &str = "d9780558";
const KERNEL: &str = "d9780558/image/0707070707070707/kernel";
const INITRAMFS: &str = "d9780558/image/0707070707070707/initramfs";

fn with_firmware() -> State {
    let mut state = state();
    let files = [
        ("start4.elf", b"start".as_slice()),
        ("fixup4.dat", b"fixup"),
        ("bcm2711-rpi-4-b.dtb", b"tree"),
        ("bcm2837-rpi-3-b.dtb", b"tree of a Pi 3"),
        ("bootcode.bin", b"code"),
    ];
    let firmware = files.map(|(name, content)| (name.to_owned(), Arc::new(ImageFile::of(content)))).into();
    state.images = Images::only(Image { firmware, ..Image::numbered(7) });
    boot(&mut state, MAC, ADDRESS);
    state
}

fn get(state: &mut State, path: &str, client: Ipv4Addr) -> Option<Vec<u8>> {
    match state.firmware_file(firmware::asked(path)?, client)? {
        Served::Made(file) => Some(file.bytes.to_vec()),
        Served::OfImage(file, _) => Some(file.read().expect("readable").to_vec()),
    }
}

fn token(command_line: &[u8]) -> BootToken {
    NodePlan::parse(std::str::from_utf8(command_line).expect("text")).expect("a plan").token
}

/// The whole conversation of a Pi 4 in the order of a log (rpi-eeprom#87); the token that it got.
fn firmware_boot(state: &mut State) -> BootToken {
    state.now_ms += 1_000;
    for (name, content) in [("start4.elf", "start"), ("fixup4.dat", "fixup")] {
        let got = get(state, &format!("{SERIAL}/{name}"), ADDRESS).expect("firmware");
        assert_eq!(got, content.as_bytes());
    }
    let configuration = get(state, "d9780558/config.txt", ADDRESS).expect("config.txt");
    let configuration = String::from_utf8(configuration).expect("text");
    let kernel = configuration.lines().find_map(|line| line.strip_prefix("kernel=")).expect("a kernel");
    assert_eq!(get(state, INITRAMFS, ADDRESS).as_deref(), Some(&b"initramfs"[..]));
    state.transferred(MAC, Phase::Initramfs, Step::Started);
    state.transferred(MAC, Phase::Initramfs, Step::Done);
    assert_eq!(get(state, "d9780558/bcm2711-rpi-4-b.dtb", ADDRESS).as_deref(), Some(&b"tree"[..]));
    let command_line = get(state, "d9780558/cmdline.txt", ADDRESS).expect("cmdline.txt");
    assert_eq!(get(state, &format!("{SERIAL}/{kernel}"), ADDRESS).as_deref(), Some(&b"kernel"[..]));
    for step in [Step::Started, Step::Failed, Step::Started, Step::Done] {
        state.transferred(MAC, Phase::Kernel, step);
    }
    token(&command_line)
}

#[test]
fn a_pi_4_boots_and_its_timeline_has_the_same_steps_as_u_boot_s() {
    let mut state = with_firmware();
    let last = state.detail("node1").expect("a node").node.boot;
    let token = firmware_boot(&mut state);
    assert!(state.user_data_of(&token, ADDRESS).is_some());
    let detail = state.detail("node1").expect("a node");
    assert_eq!(detail.node.boot, last, "a boot that came to its plan only is this one");
    let lines: Vec<_> = detail.timeline.iter().map(|line| (line.phase, line.step)).collect();
    let expected = [
        (Phase::Address, Step::Done),
        (Phase::Initramfs, Step::Started),
        (Phase::Initramfs, Step::Done),
        (Phase::Plan, Step::Done),
        (Phase::Kernel, Step::Started),
        (Phase::Kernel, Step::Done),
    ];
    assert!(lines.ends_with(&expected), "{lines:?}");
}

#[test]
fn a_running_node_keeps_its_token_until_the_new_one_is_used() {
    let mut state = with_firmware();
    let old = firmware_boot(&mut state);
    let done = Event { uptime_ms: 4_000, phase: Phase::UserData, step: Step::Done, detail: String::new() };
    state.report(&old, ADDRESS, report(vec![done])).expect("orders");
    let new = firmware_boot(&mut state);
    assert_ne!(old, new);
    assert!(state.report(&old, ADDRESS, report(vec![])).is_some(), "ended by a request alone");
    assert!(state.user_data_of(&old, ADDRESS).is_none(), "its user data ran, whatever is asked for now");
    assert!(state.user_data_of(&new, OTHER).is_none(), "another node's address");
    assert!(state.report(&old, ADDRESS, report(vec![])).is_some(), "ended by another node");
    assert!(state.user_data_of(&new, ADDRESS).is_some());
    assert!(state.report(&old, ADDRESS, report(vec![])).is_none(), "a token of an old boot");
    assert_eq!(state.detail("node1").expect("a node").node.boot, 2);
}

#[test]
fn a_board_that_asks_again_gets_the_same_and_ten_minutes_later_another() {
    let mut state = with_firmware();
    let mut command_line = |later_ms| {
        state.now_ms += later_ms;
        token(&get(&mut state, "d9780558/cmdline.txt", ADDRESS).expect("cmdline.txt"))
    };
    let first = command_line(0);
    assert_eq!(command_line(5), first);
    assert_eq!(command_line(9 * 60_000), first, "a slow kernel, and a forged request meanwhile");
    assert_ne!(command_line(2 * 60_000), first);
}

#[test]
fn a_board_that_goes_on_with_u_boot_begins_another_boot() {
    let mut state = with_firmware();
    let offered = firmware_boot(&mut state);
    let plan = boot(&mut state, MAC, ADDRESS);
    assert!(state.user_data_of(&offered, ADDRESS).is_none());
    assert!(state.user_data_of(&plan, ADDRESS).is_some());
}

#[test]
fn only_the_lease_s_holder_is_served_and_under_no_other_s_address() {
    let mut state = with_firmware();
    for path in ["bootcode.bin", "d9780558/config.txt", "d9780558/cmdline.txt", KERNEL] {
        assert!(get(&mut state, path, ADDRESS).is_some(), "{path}");
        assert!(get(&mut state, path, OTHER).is_none(), "{path}");
    }
    assert!(get(&mut state, "b8-27-eb-00-01-01/cmdline.txt", ADDRESS).is_some());
    assert!(get(&mut state, "b8-27-eb-00-01-02/cmdline.txt", ADDRESS).is_none());
    assert!(get(&mut state, "d9780558/image/0707070707070700/kernel", ADDRESS).is_none());
    assert!(get(&mut state, "d9780558/start.elf", ADDRESS).is_none(), "not in this image");
    let alias = get(&mut state, "d9780558/bcm2710-rpi-3-b.dtb", ADDRESS);
    assert_eq!(alias.as_deref(), Some(&b"tree of a Pi 3"[..]));
}

#[test]
fn an_image_without_firmware_says_what_to_do_once() {
    let mut state = with_firmware();
    state.images = images();
    for path in ["bootcode.bin", "d9780558/start.elf", "d9780558/config.txt"] {
        assert!(get(&mut state, path, ADDRESS).is_none(), "{path}");
    }
    let timeline = state.detail("node1").expect("a node").timeline;
    let said: Vec<_> = timeline.iter().filter(|line| line.step == Step::Failed).collect();
    assert!(matches!(said[..], [line] if line.detail.contains("raspi-firmware")), "{timeline:?}");
}

#[test]
fn the_offered_token_is_written_before_it_is_told() {
    let mut state = with_firmware();
    state.take_writes();
    let offered = token(&get(&mut state, "d9780558/cmdline.txt", ADDRESS).expect("cmdline.txt"));
    let kept = state.take_writes().into_iter().rev().find_map(|write| match write {
        Write::Node(node) => Some(node.offered_hash),
        _ => None,
    });
    assert_eq!(kept, Some(Some(hash(&offered))));
}
