//! Who is told what: boots, tokens, user data.

mod addresses;

use cluster::plan::{NodePlan, Wipe, WipePolicy};
use cluster::report::Health;
use netboot::dhcp::{Change, Kind, Request};

use super::*;
use crate::artefacts::Image;
use crate::config;

pub(in crate::head) const MAC: Mac = Mac([0xb8, 0x27, 0xeb, 0, 1, 1]);
pub(in crate::head) const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
pub(super) const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 12);

pub(in crate::head) fn state() -> State {
    state_with(Memory::default())
}

pub(in crate::head) fn settings() -> Settings {
    let text = "[network]\ninterface = \"lo\"\naddress = \"127.0.0.1/24\"\n\
                [[node]]\nname = \"node1\"\nmac = \"b8:27:eb:00:01:01\"\naddress = \"127.0.0.11\"\n\
                [[node]]\nname = \"node2\"\nmac = \"b8:27:eb:00:01:02\"\naddress = \"127.0.0.12\"\n";
    config::parse(std::path::Path::new("cluster.toml"), text).expect("valid")
}

pub(super) fn state_with(memory: Memory) -> State {
    let settings = settings();
    let network = settings.network.on("lo".to_owned(), (Ipv4Addr::new(127, 0, 0, 1), 24));
    State::new(settings, &network, images(), memory).expect("a state")
}

pub(in crate::head) fn images() -> Images {
    Images::only(Image::numbered(7))
}

/// A client's packet; a REQUEST is INIT-REBOOT's, which names the address alone (RFC 2131 section 4.3.2).
pub(in crate::head) fn request(kind: Kind, mac: Mac) -> Request {
    request_with(kind, mac, &[])
}

fn request_with(kind: Kind, mac: Mac, options: &[u8]) -> Request {
    let mut packet = vec![0; 240];
    packet[..4].copy_from_slice(&[1, 1, 6, 0]);
    packet[28..34].copy_from_slice(&mac.0);
    packet[236..240].copy_from_slice(&[99, 130, 83, 99]);
    match kind {
        Kind::Discover => packet.extend([53, 1, 1]),
        _ => {
            packet.extend([53, 1, 3, 50, 4]);
            packet.extend(if mac == MAC { ADDRESS } else { OTHER }.octets());
        }
    }
    packet.extend(options);
    packet.push(255);
    Request::parse(&packet).expect("a packet")
}

/// DHCP and the boot configuration; the token that it carries.
pub(in crate::head) fn boot(state: &mut State, mac: Mac, address: Ipv4Addr) -> BootToken {
    state.now_ms += 1_000;
    state.dhcp(&request(Kind::Discover, mac));
    assert!(matches!(state.dhcp(&request(Kind::Request, mac)).change, Some(Change::Lease(_))));
    plan(state, mac, address).0
}

/// The token of the boot configuration, and whether it has to wait for the disk.
fn plan(state: &mut State, mac: Mac, address: Ipv4Addr) -> (BootToken, bool) {
    let served = state.boot_file(&format!("pxelinux.cfg/01-{}", mac.dashed()), address);
    let Some(Served::Made(file)) = served else { panic!("no plan: {served:?}") };
    let text = String::from_utf8(file.bytes.to_vec()).expect("text");
    let append = text.lines().find_map(|line| line.trim().strip_prefix("append ")).expect("a command line");
    (NodePlan::parse(append).expect("a plan").token, file.is_promise)
}

pub(in crate::head) fn report(events: Vec<Event>) -> Report {
    Report { uptime_ms: 5_000, events, ..Report::default() }
}

#[test]
fn a_token_opens_its_own_boot_from_its_own_address_only() {
    let mut state = state();
    let token = boot(&mut state, MAC, ADDRESS);
    boot(&mut state, Mac([0xb8, 0x27, 0xeb, 0, 1, 2]), OTHER);
    assert!(state.user_data_of(&token, ADDRESS).is_some());
    assert!(state.user_data_of(&token, OTHER).is_none(), "another node's address");
    assert!(state.report(&token, OTHER, report(vec![])).is_none(), "another node's address");
    assert!(state.user_data_of(&BootToken::new([0; 16]), ADDRESS).is_none(), "a guessed token");
}

#[test]
fn a_plan_is_given_to_the_lease_s_holder_only() {
    let mut state = state();
    boot(&mut state, MAC, ADDRESS);
    assert!(state.boot_file("pxelinux.cfg/01-b8-27-eb-00-01-01", OTHER).is_none());
    assert!(state.boot_file("pxelinux.cfg/01-b8-27-eb-00-01-02", ADDRESS).is_none());
    assert!(state.boot_file("pxelinux.cfg/default", ADDRESS).is_none());
    assert!(state.boot_file("image/0707070707070707/kernel", ADDRESS).is_some());
    assert!(state.boot_file("image/0707070707070700/kernel", ADDRESS).is_none());
}

#[test]
fn a_token_dies_with_the_next_boot_and_the_user_data_with_its_run() {
    let mut state = state();
    let old = boot(&mut state, MAC, ADDRESS);
    let done = Event { uptime_ms: 4_000, phase: Phase::UserData, step: Step::Done, detail: String::new() };
    state.report(&old, ADDRESS, report(vec![done])).expect("orders");
    assert!(state.user_data_of(&old, ADDRESS).is_none(), "it ran");
    let new = boot(&mut state, MAC, ADDRESS);
    assert!(state.report(&old, ADDRESS, report(vec![])).is_none(), "a token of an old boot");
    assert!(state.user_data_of(&new, ADDRESS).is_some());
    assert_eq!(state.detail("node1").expect("a node").node.boot, 2);
}

#[test]
fn a_node_s_words_are_made_harmless_and_put_on_our_clock() {
    let mut state = state();
    let token = boot(&mut state, MAC, ADDRESS);
    let detail = format!("\u{1b}[2J{}", "x".repeat(3_000));
    let event = Event { uptime_ms: 3_000, phase: Phase::Disk, step: Step::Failed, detail };
    let forged = Event { uptime_ms: 3_000, phase: Phase::Ready, step: Step::Done, detail: String::new() };
    state.report(&token, ADDRESS, report(vec![event, forged])).expect("orders");
    let health = Health { model: "\u{1b}[2J".repeat(90), temperature_mc: Some(48_312), ..Health::default() };
    state.report(&token, ADDRESS, Report { health: Some(health), ..report(vec![]) }).expect("orders");
    let detail = state.detail("node1").expect("a node");
    let health = detail.node.health.clone().expect("told");
    assert_eq!((health.temperature_mc, health.model.chars().count()), (Some(48_312), Health::TEXT_LIMIT));
    assert!(!health.model.contains('\u{1b}'));
    let line = detail.timeline.last().expect("a line");
    assert_eq!(line.phase, Phase::Disk, "Ready is not the node's to say");
    assert_eq!(line.at_ms, state.now_ms - 2_000);
    assert!(!line.detail.contains('\u{1b}') && line.detail.len() <= Event::DETAIL_LIMIT);
}

#[test]
fn strangers_get_silence_and_a_new_pi_becomes_a_node() {
    let mut state = state();
    let stranger = Mac([2, 0, 0, 0, 0, 1]);
    assert!(state.dhcp(&request(Kind::Discover, stranger)).reply.is_err());
    let pi = Mac([0xdc, 0xa6, 0x32, 1, 2, 3]);
    assert!(state.dhcp(&request(Kind::Discover, pi)).reply.is_ok());
    assert!(state.detail("pi-010203").is_some());
}

use cluster::report::Outcome;
use cluster::swarm::{LocalState, ManagerFacts, Member, Reboot, SwarmFacts};

fn inactive() -> Report {
    Report { uptime_ms: 5_000, swarm: Some(SwarmFacts::default()), ..Report::default() }
}

#[test]
fn a_running_node_outlives_its_lease() {
    let mut state = state();
    let token = boot(&mut state, MAC, ADDRESS);
    let end = state.now_ms + 86_400_000 + 60_000;
    while state.now_ms < end {
        state.now_ms += 600_000;
        assert!(state.report(&token, ADDRESS, report(vec![])).is_some(), "refused at the lease's end");
    }
}

#[test]
fn a_failed_remove_is_not_repeated_at_once() {
    let mut state = state();
    let token = boot(&mut state, MAC, ADDRESS);
    let member = |id: &str, hostname: &str, lead| Member {
        id: id.into(),
        hostname: hostname.into(),
        ready: lead,
        manager: lead,
        reachable: lead,
        leader: lead,
        ..Member::default()
    };
    let other = Mac([0xb8, 0x27, 0xeb, 0, 1, 2]);
    let second = boot(&mut state, other, OTHER);
    state.report(&token, ADDRESS, inactive()).expect("orders");
    state.report(&second, OTHER, inactive()).expect("orders");
    let manager = ManagerFacts {
        cluster_id: "c".into(),
        worker_token: "w".into(),
        manager_token: "m".into(),
        members: vec![member("1", "node1", true), member("old", "node2", false)],
        services: vec![],
    };
    let facts = SwarmFacts { state: LocalState::Active, node_id: "1".into(), manager: Some(manager) };
    state.report(&token, ADDRESS, Report { outcomes: vec![Outcome::of(1, None)], ..inactive() });
    let told = Report { swarm: Some(facts.clone()), ..inactive() };
    let mut given = state.report(&token, ADDRESS, told.clone()).expect("orders").orders;
    assert!(!given.is_empty());
    let mut count = 0;
    for _ in 0..20 {
        state.now_ms += 10;
        let outcomes = given.iter().map(|order| Outcome::of(order.number, Some("no".into()))).collect();
        let again =
            state.report(&token, ADDRESS, Report { outcomes, ..told.clone() }).expect("orders").orders;
        count += again.len();
        given = again;
    }
    assert!(count <= 2, "{count} orders in 200 ms");
}

#[test]
fn a_reboot_that_failed_or_hangs_can_be_wanted_again() {
    let mut state = state();
    let token = boot(&mut state, MAC, ADDRESS);
    state.report(&token, ADDRESS, report(vec![])).expect("orders");
    state.nodes.get_mut(&MAC).expect("node").kept.reboot = Reboot::Ordered { since_ms: state.now_ms };
    boot(&mut state, MAC, ADDRESS);
    assert!(state.reboot("node1"));
    let reboot = state.nodes[&MAC].kept.reboot;
    assert_eq!(reboot, Reboot::Wanted, "202, and nothing happens");
}

#[test]
fn two_pis_with_the_same_end_have_two_names() {
    let mut state = state();
    for oui in [[0xdc, 0xa6, 0x32], [0xb8, 0x27, 0xeb]] {
        state.dhcp(&request(Kind::Discover, Mac([oui[0], oui[1], oui[2], 1, 2, 3])));
    }
    let names: std::collections::BTreeSet<_> =
        state.nodes.values().map(|node| node.kept.name.clone()).collect();
    assert_eq!(names.len(), state.nodes.len());
}

#[test]
fn setting_one_node_s_user_data_leaves_a_shared_file_alone() {
    let mut state = state();
    state.nodes.get_mut(&MAC).expect("node").user_data = Some("web.sh".to_owned());
    let own = state.user_data_named("node1").expect("a node").own;
    assert!(own.ends_with("node1.sh"), "writes {}", own.display());
}

#[test]
fn a_forged_discover_does_not_end_a_running_boot() {
    let mut state = state();
    let token = boot(&mut state, MAC, ADDRESS);
    let event = Event { uptime_ms: 3_000, phase: Phase::Disk, step: Step::Done, detail: String::new() };
    state.report(&token, ADDRESS, report(vec![event])).expect("orders");
    state.dhcp(&request(Kind::Discover, MAC));
    assert!(state.report(&token, ADDRESS, report(vec![])).is_some());
    assert_eq!(state.detail("node1").expect("a node").node.boot, 1);
}

#[test]
fn a_forged_decline_does_not_make_the_head_deaf_to_a_node_that_runs() {
    let mut state = state();
    let token = boot(&mut state, MAC, ADDRESS);
    state.report(&token, ADDRESS, report(vec![])).expect("orders");
    state.take_writes();
    let mut packet = request(Kind::Request, MAC);
    packet.kind = Kind::Decline;
    assert!(state.dhcp(&packet).reply.is_err());
    assert!(state.report(&token, ADDRESS, report(vec![])).is_some());
    assert!(!state.take_writes().iter().any(|write| matches!(write, Write::NoLease(_))));
}

#[test]
fn a_lease_that_another_node_displaced_is_gone_from_the_disk_as_well() {
    let mut state = state();
    boot(&mut state, MAC, ADDRESS);
    state.take_writes();
    state.nodes.get_mut(&MAC).expect("a node").fixed = None;
    let heir = Mac([0xb8, 0x27, 0xeb, 0, 1, 2]);
    state.nodes.get_mut(&heir).expect("a node").fixed = Some(ADDRESS);
    state.dhcp(&request(Kind::Discover, heir));
    let mut packet = request(Kind::Request, heir);
    packet.requested = Some(ADDRESS);
    assert!(state.dhcp(&packet).reply.is_ok());
    let writes = state.take_writes();
    let lost = writes.iter().position(|write| matches!(write, Write::NoLease(mac) if *mac == MAC));
    let won = writes.iter().position(|write| matches!(write, Write::Lease(lease) if lease.mac == heir));
    assert!(lost.is_some() && won.is_some(), "{writes:?}");
}

#[test]
fn a_report_that_comes_twice_leaves_one_line() {
    let mut state = state();
    let token = boot(&mut state, MAC, ADDRESS);
    let event = Event { uptime_ms: 3_000, phase: Phase::Disk, step: Step::Done, detail: String::new() };
    for _ in 0..2 {
        state.report(&token, ADDRESS, report(vec![event.clone()])).expect("orders");
    }
    let lines = state.detail("node1").expect("a node").timeline;
    assert_eq!(lines.iter().filter(|line| line.phase == Phase::Disk).count(), 1);
}

const U_BOOT: &[u8] = b"\x3c\x0cU-Boot.armv8";

fn leased_by_u_boot() -> State {
    let mut state = state();
    state.turns.next();
    for kind in [Kind::Discover, Kind::Request] {
        assert!(state.dhcp(&request_with(kind, MAC, U_BOOT)).reply.is_ok());
    }
    state
}

#[test]
fn a_plan_waits_for_the_disk_only_until_it_has_the_token() {
    assert!(plan(&mut leased_by_u_boot(), MAC, ADDRESS).1, "the token is not on disk yet");
    let mut state = leased_by_u_boot();
    state.turns.wrote(1);
    let (first, is_promise) = plan(&mut state, MAC, ADDRESS);
    assert!(!is_promise, "lwIP waits for a second, an SD card may take two");
    state.turns.next();
    let (second, is_promise) = plan(&mut state, MAC, ADDRESS);
    assert!(!is_promise && first == second, "whoever asks twice may know either answer");
    assert!(state.user_data_of(&first, ADDRESS).is_some());
    let (third, is_promise) = plan(&mut state, MAC, ADDRESS);
    assert!(is_promise && third != first, "nothing was reserved for who asks once more after that");
    assert!(state.user_data_of(&first, ADDRESS).is_none());
    assert!(state.user_data_of(&third, ADDRESS).is_some());
}

#[test]
fn a_reserved_token_opens_its_boot_though_the_head_died_before_it_wrote_that_the_plan_was_fetched() {
    let mut state = leased_by_u_boot();
    let mut memory = Memory::default();
    for write in state.take_writes() {
        match write {
            Write::Lease(lease) => memory.leases = vec![lease],
            Write::Node(node) => memory.nodes = vec![*node],
            _ => {}
        }
    }
    state.turns.wrote(1);
    let (token, is_promise) = plan(&mut state, MAC, ADDRESS);
    assert!(!is_promise);
    let mut again = state_with(memory);
    assert!(again.user_data_of(&token, OTHER).is_none());
    assert!(again.user_data_of(&token, ADDRESS).is_some());
}

/// What node1 is told of its data at its next boot.
fn told_wipe(state: &mut State) -> Wipe {
    let token = boot(state, MAC, ADDRESS);
    let image = state.image_for(MAC).expect("an image");
    state.boot_plan(MAC, ADDRESS, &token, &image).expect("a plan").node.wipe
}

#[test]
fn data_is_kept_until_its_user_data_changes_or_a_reboot_is_ordered() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut state = state();
    state.settings.user_data.directory = folder.path().to_owned();
    let file = folder.path().join("default.sh");
    std::fs::write(&file, "echo {{ node.name }}").expect("written");
    assert_eq!(told_wipe(&mut state), Wipe::Always, "the default");

    state.nodes.get_mut(&MAC).expect("a node").wipe = Some(WipePolicy::OnChange);
    let first = told_wipe(&mut state);
    assert!(matches!(first, Wipe::OnChange(_)));
    assert_eq!(told_wipe(&mut state), first);
    let kept = state.nodes[&MAC].kept.life;
    assert!(state.take_writes().iter().any(|write| matches!(write, Write::Node(node) if node.life == kept)));

    std::fs::write(&file, "echo {{ node.address }}").expect("written");
    let changed = told_wipe(&mut state);
    assert!(matches!((first, changed), (Wipe::OnChange(one), Wipe::OnChange(other))
        if one.number == other.number && one.user_data != other.user_data));

    // What it includes is part of it.
    let part = folder.path().join("part.sh");
    std::fs::write(&file, "{% include 'part.sh' %}").expect("written");
    std::fs::write(&part, "echo 1").expect("written");
    let first = told_wipe(&mut state);
    std::fs::write(&part, "echo 2").expect("written");
    let changed = told_wipe(&mut state);
    assert!(matches!((first, changed), (Wipe::OnChange(one), Wipe::OnChange(other))
        if one.number == other.number && one.user_data != other.user_data));

    assert!(state.reboot("node1"));
    assert!(matches!((changed, told_wipe(&mut state)), (Wipe::OnChange(one), Wipe::OnChange(other))
        if one.number != other.number && one.user_data == other.user_data));

    state.settings.user_data.url = Some("http://foreman/x".to_owned());
    let image = state.image_for(MAC).expect("an image");
    let plan = state.boot_plan(MAC, ADDRESS, &BootToken::new([1; 16]), &image).expect("a plan").node;
    assert_eq!(
        (plan.wipe, plan.user_data_url.as_str()),
        (Wipe::Always, "http://foreman/x"),
        "who knows what it has"
    );
    state.settings.user_data.url = None;

    std::fs::write(&file, "{{ nothing }}").expect("written");
    assert_eq!(told_wipe(&mut state), Wipe::Always, "in doubt");
}
