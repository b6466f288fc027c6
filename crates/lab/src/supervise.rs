//! The lab's own processes: one outside that cleans up, one inside that is the lab.
//!
//! The inside one owns head and boards; everybody else sends it requests over the control socket.
//! It stops when it is told so, or when the pipe to whoever wanted it breaks.

use std::io::{BufRead, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::board::Board;
use crate::control::{self, Answer, BoardStatus, HEAD, Power, Request, Status};
use crate::head::Head;
use crate::spec::Spec;
use crate::{fetch, namespaces, network, storm};

/// Connections that are served at the same time; further ones wait.
const LISTENERS: usize = 4;
/// Requests that wait for the lab's attention.
const QUEUE_LIMIT: usize = 16;
/// How long a peer may take to send its request.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// The word on the pipe that says: live on when the pipe breaks.
pub(crate) const KEEP: &str = "keep";

/// The first and only line that a lab prints.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Beginning {
    /// Head and boards run.
    Up,
    /// The lab could not begin, and why.
    Failed(String),
}

/// The process outside: takes the lab's name, leaves the host, waits for the lab's end and cleans up.
///
/// Prints how it began for the one who wanted the lab. `spec` is a [`Spec`] as JSON.
///
/// # Errors
/// The lab could not begin or did not end well.
pub fn outside(spec: &str) -> anyhow::Result<()> {
    announce_failure(enter(spec))
}

/// The process inside, PID 1 of the lab: builds the network, starts head and boards, and attends to requests.
///
/// # Errors
/// The lab could not begin.
pub fn inside(spec: &str) -> anyhow::Result<()> {
    announce_failure(live(spec))
}

fn announce_failure(result: anyhow::Result<()>) -> anyhow::Result<()> {
    if let Err(error) = &result {
        announce(&Beginning::Failed(format!("{error:#}")));
    }
    result
}

fn announce(beginning: &Beginning) {
    if let Ok(line) = serde_json::to_string(beginning) {
        // Nobody listens any more: then the pipe is broken and the lab ends by that.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}

fn enter(text: &str) -> anyhow::Result<()> {
    let spec: Spec = serde_json::from_str(text).context("reading the lab's specification")?;
    let claim = spec.place.claim()?;
    let log = std::fs::File::create(spec.place.lab_log()).context("making lab.log")?;
    namespaces::leave_host()?;
    let mut lab = Command::new(&spec.program);
    lab.args(["lab", "supervise", "--inside", text]).stderr(log);
    lab.status().context("starting the lab's first process")?;
    drop(claim);
    Ok(())
}

fn live(text: &str) -> anyhow::Result<()> {
    namespaces::settle()?;
    let spec: Spec = serde_json::from_str(text).context("reading the lab's specification")?;
    let listener = UnixListener::bind(spec.place.control_socket()).context("making the control socket")?;
    network::build(spec.nodes, spec.throttle.link)?;
    let head = Head::start(&spec)?;
    let mut rack = Rack::power_on(&spec, head)?;
    let events = listen(&listener)?;
    announce(&Beginning::Up);
    rack.attend(&events);
    rack.stop();
    Ok(())
}

/// A request, and where its answer goes.
struct Event {
    request: Request,
    reply: Sender<Answer>,
}

/// Head and boards.
struct Rack {
    name: String,
    image: PathBuf,
    head: Head,
    boards: Vec<Board>,
    powered_on_ms: u64,
}

impl Rack {
    /// Makes all cards first, so that the boards start together.
    fn power_on(spec: &Spec, head: Head) -> anyhow::Result<Self> {
        let make = |number| Board::new(spec, number);
        let boards = (1..=spec.nodes).map(make).collect::<anyhow::Result<Vec<_>>>()?;
        let (name, image) = (spec.place.name().to_owned(), spec.image.clone());
        let mut rack = Self { name, image, head, boards, powered_on_ms: now_ms() };
        rack.boards.iter_mut().try_for_each(Board::power_on)?;
        Ok(rack)
    }

    fn attend(&mut self, events: &Receiver<Event>) {
        for Event { request, reply } in events {
            let down = matches!(request, Request::Down);
            let answer = self.answer(request).unwrap_or_else(|error| Answer::Failed(format!("{error:#}")));
            // A peer that has gone needs no answer.
            let _ = reply.send(answer);
            if down {
                return;
            }
        }
    }

    fn answer(&mut self, request: Request) -> anyhow::Result<Answer> {
        match request {
            Request::Status => Ok(Answer::Status(self.status())),
            Request::Power { node, power } => self.power(&node, power).map(|()| Answer::Done),
            Request::Card { node, deed } => self.board(&node)?.card(deed).map(Answer::Card),
            Request::Loss { percent } => network::lose(percent).map(|()| Answer::Done),
            Request::Replace { node } => self.board(&node)?.replace().map(|()| Answer::Done),
            Request::Part { nodes } => self.part(nodes).map(|()| Answer::Done),
            // A fetch needs nothing of the rack's and has been made by the one who received it.
            Request::Fetch { .. } | Request::Storm(_) | Request::Down => Ok(Answer::Done),
        }
    }

    fn power(&mut self, node: &str, power: Power) -> anyhow::Result<()> {
        if node == HEAD {
            return self.head.power(power);
        }
        let board = self.board(node)?;
        match power {
            Power::Cut => board.power_cut(),
            Power::On => board.power_on(),
            Power::Reset => board.reset(),
        }
    }

    fn part(&mut self, nodes: Option<[String; 2]>) -> anyhow::Result<()> {
        let Some([one, other]) = nodes else { return network::part(None) };
        let pair = [self.board(&one)?.number, self.board(&other)?.number];
        network::part(Some(pair))
    }

    fn board(&mut self, node: &str) -> anyhow::Result<&mut Board> {
        let names: Vec<_> = self.boards.iter().map(|board| board.name.clone()).collect();
        let board = self.boards.iter_mut().find(|board| board.name == node);
        board.with_context(|| format!("no node `{node}`: the lab has {HEAD}, {}", names.join(", ")))
    }

    fn status(&mut self) -> Status {
        let carried = network::carried();
        let board = |board: &mut Board| BoardStatus {
            received_bytes: carried.get(&network::tap(board.number)).copied().unwrap_or_default(),
            name: board.name.clone(),
            mac: board.mac,
            address: network::address(board.number),
            on: board.is_on(),
            has_ended: board.has_ended(),
            console: board.console.clone(),
        };
        Status {
            name: self.name.clone(),
            image: self.image.clone(),
            powered_on_ms: self.powered_on_ms,
            head_runs: self.head.runs(),
            head_process: self.head.process(),
            head_socket: self.head.socket(),
            boards: self.boards.iter_mut().map(board).collect(),
        }
    }

    /// Carries on after an error: what is still there dies with this process.
    fn stop(&mut self) {
        for board in &mut self.boards {
            if let Err(error) = board.power_cut() {
                eprintln!("{error:#}");
            }
        }
        self.head.stop();
    }
}

/// Starts the threads that turn connections, and the broken pipe, into events.
fn listen(listener: &UnixListener) -> anyhow::Result<Receiver<Event>> {
    let (events, received) = sync_channel(QUEUE_LIMIT);
    for _ in 0..LISTENERS {
        let (listener, events) = (listener.try_clone().context("listening")?, events.clone());
        std::thread::spawn(move || listener.incoming().flatten().for_each(|peer| serve(&peer, &events)));
    }
    std::thread::spawn(move || watch_pipe(&events));
    Ok(received)
}

/// A fetch may wait long for a node and needs no state: it is done here, so that it holds nobody up.
fn serve(mut peer: &UnixStream, events: &SyncSender<Event>) {
    let answer = match receive(peer) {
        Ok(Request::Fetch { url }) => fetch::get(&url).map(Answer::Page),
        Ok(Request::Storm(plan)) => brew(plan, events).map(Answer::Storm),
        Ok(request) => hand_on(request, events),
        Err(error) => Err(error),
    };
    let answer = answer.unwrap_or_else(|error| Answer::Failed(format!("{error:#}")));
    if let Ok(line) = serde_json::to_string(&answer) {
        let _ = writeln!(peer, "{line}");
    }
}

/// Takes minutes and needs no more of the rack than its head's process and its image.
fn brew(plan: storm::Plan, events: &SyncSender<Event>) -> anyhow::Result<storm::Outcome> {
    match hand_on(Request::Status, events)? {
        Answer::Status(status) => storm::run(plan, status.head_process, &status.image),
        other => anyhow::bail!("the lab answered something else: {other:?}"),
    }
}

fn receive(peer: &UnixStream) -> anyhow::Result<Request> {
    peer.set_read_timeout(Some(REQUEST_LIMIT))?;
    control::read_line(peer).context("reading the request")
}

fn hand_on(request: Request, events: &SyncSender<Event>) -> anyhow::Result<Answer> {
    let (reply, answer) = channel();
    events.send(Event { request, reply }).context("the lab is going down")?;
    answer.recv().context("the lab is going down")
}

/// Whoever wanted the lab holds the other end. If it dies, so does the lab, unless it said to keep it.
fn watch_pipe(events: &SyncSender<Event>) {
    let kept = std::io::stdin().lock().lines().map_while(Result::ok).any(|line| line == KEEP);
    if !kept {
        let _ = hand_on(Request::Down, events);
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
