//! What the tests share: a lab, the command line on its head, and what the head says.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use cluster::phase::{Phase, Step};
use cluster::plan::{RootPlace, WipePolicy};
use cluster::view::{NodeDetail, SwarmEvent, SwarmView};
use lab::control::{CardDeed, Power};
use lab::spec::{HeadKind, Machine, Throttle};
use lab::{Lab, Place, Spec};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_fledermaus");
/// Two slow cores bring up three nodes in less than a third of this.
pub(crate) const SWARM_LIMIT: Duration = Duration::from_secs(600);
pub(crate) const PAGE_LIMIT: Duration = Duration::from_secs(180);
/// The node of a lab that has one.
pub(crate) const NODE: &str = "node1";

pub(crate) fn image() -> PathBuf {
    std::env::var_os("FLEDERMAUS_IMAGE").map(PathBuf::from).unwrap_or_else(|| {
        let home = std::env::var_os("HOME").expect("a home");
        PathBuf::from(home).join(".cache/fledermaus/image")
    })
}

/// What a test wants of its lab.
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a str,
    pub(crate) machine: Machine,
    pub(crate) nodes: u8,
    pub(crate) managers: u8,
    pub(crate) wipe: WipePolicy,
    pub(crate) user_data: &'a str,
}

pub(crate) fn lab_up(wanted: &Wanted) -> Lab {
    lab_up_with(wanted, image(), Throttle::default())
}

/// The same with another image and slower surroundings.
pub(crate) fn lab_up_with(wanted: &Wanted, image: PathBuf, throttle: Throttle) -> Lab {
    let base = std::env::temp_dir().join(format!("fledermaus-test-{}", std::process::id()));
    let spec = Spec {
        place: Place::new(&base, wanted.name.parse().unwrap()),
        nodes: wanted.nodes,
        machine: wanted.machine,
        cores: lab::spec::default_cores(),
        managers: wanted.managers,
        root: RootPlace::default(),
        wipe: wanted.wipe,
        head: HeadKind::Process,
        image,
        program: PROGRAM.into(),
        cards: "/var/tmp".into(),
        user_data: wanted.user_data.to_owned(),
        throttle,
        torn_writes: None,
    };
    Lab::up(&spec).expect("a lab (`make image` makes its image)")
}

/// Runs the command line on the lab's head; it has to succeed.
pub(crate) fn fledermaus(lab: &Lab, arguments: &[&str]) -> Output {
    let output =
        Command::new(PROGRAM).arg("--socket").arg(lab.head_socket()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Cuts the power of [`NODE`], does something with its card and gives it its power back. The number of the boot before.
pub(crate) fn cut(lab: &Lab, deed: Option<CardDeed>) -> u64 {
    let before = lab.nodes().unwrap()[0].boot;
    lab.power(NODE, Power::Cut).unwrap();
    if let Some(deed) = deed {
        lab.card(NODE, deed).unwrap();
    }
    lab.power(NODE, Power::On).unwrap();
    before
}

/// The same, and waits until the node is Ready.
pub(crate) fn boot_with(lab: &Lab, deed: Option<CardDeed>) {
    let before = cut(lab, deed);
    lab.wait_for(&format!("Ready after {deed:?}"), SWARM_LIMIT, &mut |nodes| {
        nodes[0].boot > before && nodes[0].ready_at_ms.is_some()
    })
    .unwrap();
}

/// What the newest boot of [`NODE`] told of a phase, oldest first.
pub(crate) fn told(lab: &Lab, phase: Phase, step: Step) -> Vec<String> {
    let NodeDetail { node, timeline, .. } = lab.client().get(&format!("/v1/nodes/{NODE}")).unwrap();
    let of_this_boot = timeline.into_iter().filter(|line| line.boot == node.boot);
    of_this_boot.filter(|line| line.phase == phase && line.step == step).map(|line| line.detail).collect()
}

pub(crate) fn boots(lab: &Lab) -> Vec<u64> {
    let mut nodes = lab.nodes().unwrap();
    nodes.sort_by(|one, other| one.name.cmp(&other.name));
    nodes.into_iter().map(|node| node.boot).collect()
}

/// What was decided, newest first.
pub(crate) fn events(lab: &Lab) -> Vec<SwarmEvent> {
    lab.client().get("/v1/swarm/events").unwrap()
}

/// How often each was told to reboot. Not how often it booted: beside several emulated boards U-Boot may lose its patience and
/// begin again.
pub(crate) fn told_to_go(lab: &Lab, names: &[&str]) -> Vec<u64> {
    let events = events(lab);
    let times =
        |name: &&str| events.iter().filter(|event| event.text == format!("{name} reboots")).count() as u64;
    names.iter().map(times).collect()
}

pub(crate) fn swarm(lab: &Lab) -> SwarmView {
    lab.client().get("/v1/swarm").unwrap()
}

/// The host names of the swarm's entries; a dead entry of a node would show as a second one.
pub(crate) fn members(lab: &Lab) -> Vec<String> {
    let mut members: Vec<_> = swarm(lab).members.into_iter().map(|member| member.hostname).collect();
    members.sort();
    members
}

pub(crate) fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

pub(crate) fn example(file: &str) -> String {
    format!("{}/../../example/{file}", env!("CARGO_MANIFEST_DIR"))
}
