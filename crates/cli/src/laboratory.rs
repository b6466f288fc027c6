//! `fledermaus lab …`: a virtual cluster, up to its swarm and down again.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use cluster::NodeName;
use cluster::plan::{RootPlace, WipePolicy};
use cluster::view::{NodeDetail, NodeView};
use lab::control::{CardDeed, CardView, Slot};
use lab::spec::{HeadKind, Machine, Throttle};
use lab::{Place, Spec};
use serde::Serialize;

use crate::arguments::{HeadMachine, LAB, Lab, LabName, LabNodes, LabUp};
use crate::progress::Watch;
use crate::surroundings::Surroundings;
use crate::timeline::Span;
use crate::{demo, storm, table, timeline, torture};

/// How often a followed console is looked at.
const FOLLOW_EVERY: Duration = Duration::from_millis(100);
/// Lines of a console that are printed before it is followed.
const CONSOLE_LINES: usize = 1_000;
/// The user data of a lab's nodes: they need none.
const USER_DATA: &str = "#!/bin/sh\necho \"$(hostname) is a fresh installation\"\n";

/// What bringing up a lab measured.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    /// Nodes in the lab.
    pub(crate) nodes: usize,
    /// Nodes that are Ready.
    pub(crate) ready: usize,
    /// From the first emulator's start to the last node's Ready as the head saw it.
    pub(crate) seconds_to_swarm: f64,
    /// Where each node's seconds went.
    pub(crate) phases: BTreeMap<NodeName, Vec<Span>>,
}

/// Runs one of the lab's commands. `chosen` is the lab of `--lab=NAME`, which elsewhere says whose head is meant.
///
/// # Errors
/// What the lab says.
pub(crate) fn run(
    command: &Lab,
    chosen: Option<&NodeName>,
    surroundings: &Surroundings,
    json: bool,
) -> anyhow::Result<()> {
    let attach = |name: &LabName| lab::Lab::attach(place(name, chosen, surroundings)?);
    match command {
        Lab::Up(arguments) => up(arguments, chosen, surroundings, json),
        Lab::Demo { up } => demo::run(up, chosen, surroundings),
        Lab::Load(arguments) => storm::load(arguments),
        Lab::Storm(arguments) => storm::run(arguments, surroundings, json),
        Lab::Torture(arguments) => torture::run(arguments, surroundings, json),
        Lab::Status(name) => status(&attach(name)?, json),
        Lab::Console { lab, node, follow } => console(&attach(lab)?, node, *follow),
        Lab::Power { lab, node, power } => attach(lab)?.power(node.as_str(), (*power).into()),
        Lab::Card { lab, node, deed } => {
            let deed = deed.map_or(CardDeed::Look, CardDeed::from);
            card(&attach(lab)?.card(node.as_str(), deed)?, json)
        }
        Lab::Replace { lab, node } => attach(lab)?.replace(node.as_str()),
        Lab::Part { lab, one, other } => {
            let pair = one.as_ref().zip(other.as_ref());
            attach(lab)?.part(pair.map(|(one, other)| [one.as_str(), other.as_str()]))
        }
        Lab::Loss { lab, percent } => attach(lab)?.lose(*percent),
        Lab::Down(name) => down(&place(name, chosen, surroundings)?),
        Lab::Supervise { inside: false, spec } => lab::supervise::outside(spec),
        Lab::Machine => lab::machine::run(),
        Lab::Pi3 { board } => lab::pi3::run(board),
        Lab::Supervise { inside: true, spec } => lab::supervise::inside(spec),
    }
}

/// Powers a lab on.
///
/// # Errors
/// What is missing on this machine.
pub(crate) fn start(
    arguments: &LabNodes,
    name: &str,
    surroundings: &Surroundings,
) -> anyhow::Result<lab::Lab> {
    let &LabNodes { nodes, managers, root, wipe, board, .. } = arguments;
    let name = arguments.name.clone().map_or_else(|| name.parse(), Ok)?;
    let cores = arguments.cores.unwrap_or_else(lab::spec::default_cores);
    let empty = empty(name, arguments.image.as_deref(), surroundings)?;
    let throttle =
        Throttle { link: arguments.link, card_read: arguments.card_read, card_write: arguments.card_write };
    let head = match arguments.head {
        HeadMachine::Process => HeadKind::Process,
        HeadMachine::Arm64 => HeadKind::Arm64 {
            program: std::path::absolute(&arguments.head_program).context("finding the head's program")?,
        },
    };
    let machine = board.into();
    lab::Lab::up(&Spec { nodes, machine, head, cores, managers, root, wipe, throttle, ..empty })
}

/// A lab without boards.
///
/// # Errors
/// The image's directory has no absolute path.
pub(crate) fn empty(
    name: NodeName,
    image: Option<&Path>,
    surroundings: &Surroundings,
) -> anyhow::Result<Spec> {
    let image = image.map_or_else(|| surroundings.image(), Path::to_owned);
    Ok(Spec {
        place: Place::new(&surroundings.labs, name),
        nodes: 0,
        machine: Machine::default(),
        cores: 1,
        managers: 1,
        root: RootPlace::default(),
        wipe: WipePolicy::default(),
        head: HeadKind::default(),
        image: std::path::absolute(image).context("finding the image")?,
        program: surroundings.program.clone(),
        cards: surroundings.cards.clone(),
        user_data: USER_DATA.to_owned(),
        throttle: Throttle::default(),
        torn_writes: None,
    })
}

/// Waits until all nodes of the lab are Ready, shows them meanwhile, and measures.
///
/// # Errors
/// The limit passed; each node's phase and console are in the text.
pub(crate) fn bring_up(lab: &lab::Lab, limit: Duration) -> anyhow::Result<Measured> {
    let status = lab.status()?;
    let count = status.boards.len();
    let mut watch = Watch::new(status.powered_on_ms);
    let nodes = lab.wait_for(&format!("{count} of {count} nodes Ready"), limit, &mut |nodes| {
        watch.show(nodes);
        ready(nodes) >= count
    });
    watch.end();
    measure(lab, &nodes?, status.powered_on_ms)
}

fn measure(lab: &lab::Lab, nodes: &[NodeView], powered_on_ms: u64) -> anyhow::Result<Measured> {
    let last = nodes.iter().filter_map(|node| node.ready_at_ms).max().unwrap_or(powered_on_ms);
    let mut phases = BTreeMap::new();
    for node in nodes {
        let detail: NodeDetail = lab.client().get(&format!("/v1/nodes/{}", node.name))?;
        phases.insert(node.name.clone(), timeline::of_newest_boot(&detail));
    }
    Ok(Measured {
        nodes: nodes.len(),
        ready: ready(nodes),
        seconds_to_swarm: last.saturating_sub(powered_on_ms) as f64 / 1_000.0,
        phases,
    })
}

fn ready(nodes: &[NodeView]) -> usize {
    nodes.iter().filter(|node| node.ready_at_ms.is_some()).count()
}

fn up(
    arguments: &LabUp,
    chosen: Option<&NodeName>,
    surroundings: &Surroundings,
    json: bool,
) -> anyhow::Result<()> {
    let lab = start(&arguments.lab, chosen.map_or(LAB, NodeName::as_str), surroundings)?;
    let measured = bring_up(&lab, Duration::from_secs(arguments.limit))?;
    if json {
        table::json(&measured)?;
    } else {
        println!("{} of {} nodes Ready", measured.ready, measured.nodes);
        println!("seconds_to_swarm {:.1}", measured.seconds_to_swarm);
    }
    if arguments.keep { lab.keep() } else { lab.down() }
}

fn place(name: &LabName, chosen: Option<&NodeName>, surroundings: &Surroundings) -> anyhow::Result<Place> {
    let name = name.name.as_ref().or(chosen).cloned().map_or_else(|| LAB.parse(), Ok)?;
    Ok(Place::new(&surroundings.labs, name))
}

fn status(lab: &lab::Lab, json: bool) -> anyhow::Result<()> {
    let status = lab.status()?;
    if json {
        return table::json(&status);
    }
    let head = if status.head_runs { "runs" } else { "has ended" };
    let socket = status.head_socket.display();
    table::print(&format_args!("lab {}: the head {head}, its socket is {socket}", status.name))?;
    for board in status.boards {
        let power = if board.on { "on" } else { "off" };
        let console = board.console.display();
        table::print(&format_args!("{:8} {power:3} {} {} {console}", board.name, board.mac, board.address))?;
    }
    Ok(())
}

fn card(view: &CardView, json: bool) -> anyhow::Result<()> {
    if json {
        return table::json(view);
    }
    match view.slot {
        Slot::Void => table::print(&"no system image is on the card"),
        Slot::Whole(image) => {
            table::print(&format_args!("the system image {image} is on the card, all of it"))
        }
        Slot::Broken(image) => {
            table::print(&format_args!("the card claims to hold the system image {image}, and does not"))
        }
    }
}

/// A lab that was killed leaves a directory: that is cleared as well.
fn down(place: &Place) -> anyhow::Result<()> {
    match lab::Lab::attach(place.clone()) {
        Ok(lab) => lab.down(),
        Err(_) => place.clear(),
    }
}

fn console(lab: &lab::Lab, node: &NodeName, follow: bool) -> anyhow::Result<()> {
    let file = lab.place().console(node.as_str());
    anyhow::ensure!(file.exists(), "the lab has no node `{node}`");
    if follow { print_for_ever(&file) } else { print_tail(lab, node) }
}

fn print_tail(lab: &lab::Lab, node: &NodeName) -> anyhow::Result<()> {
    table::print(&lab.console(node.as_str(), CONSOLE_LINES))
}

/// Raw, as the node printed it; until ^C, or until the lab ends and takes the file with it.
fn print_for_ever(path: &Path) -> anyhow::Result<()> {
    let mut printed = 0;
    while let Ok(mut file) = std::fs::File::open(path) {
        file.seek(SeekFrom::Start(printed))?;
        let mut bytes = Vec::new();
        printed += file.read_to_end(&mut bytes)? as u64;
        std::io::stdout().write_all(&bytes).and_then(|()| std::io::stdout().flush())?;
        std::thread::sleep(FOLLOW_EVERY);
    }
    Ok(())
}
