//! The report loop: tells the head what there is to tell, at once when something changed, and hands its
//! orders on. Goes on for ever, with the head or without.

use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cluster::plan::NodePlan;
use cluster::report::{ORDERS_BYTES_LIMIT, Order, Orders, Report};
use cluster::swarm::{LocalState, SwarmFacts};

use crate::clock::Clock;
use crate::docker::Docker;
use crate::facts::Look;
use crate::http::{Request, exchange};
use crate::ledger::{Entry, Ledger};
use crate::outbox::Outbox;
use crate::pass::Pass;
use crate::ports::Ports;
use crate::vigil::Vigil;
use crate::watchdog::Heart;
use crate::{logs, machine};

/// How long the head may take to accept a connection, and to answer.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Between these the head may choose when to hear again.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));
/// The first and the longest pause while the head does not answer.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// How often Docker is looked at: while the swarm is forming, and afterwards.
const FORMING_POLL: Duration = Duration::from_millis(300);
const QUIET_POLL: Duration = Duration::from_millis(1_000);

/// How often the board is looked at.
const HEALTH_INTERVAL: Duration = Duration::from_secs(30);

/// Speaks for the node.
pub(crate) struct Reporter {
    head: SocketAddrV4,
    pass: Pass,
    look: Look,
    vigil: Vigil,
    clock: Clock,
    outbox: Arc<Outbox>,
    ledger: Arc<Ledger>,
    orders: SyncSender<Order>,
    ports: Ports,
}

/// What the loop remembers from turn to turn.
struct Turn {
    next_report: Instant,
    pause: Duration,
    told: Option<SwarmFacts>,
    told_ports: BTreeSet<u16>,
    next_health: Instant,
    logs_wanted: bool,
}

impl Reporter {
    /// A reporter that hands orders to `orders`.
    pub(crate) fn new(
        plan: &NodePlan,
        pass: Pass,
        docker: Docker,
        outbox: Arc<Outbox>,
        ledger: Arc<Ledger>,
        orders: SyncSender<Order>,
    ) -> Self {
        Self {
            head: plan.head,
            pass,
            look: Look::new(docker),
            vigil: Vigil::default(),
            clock: Clock::default(),
            outbox,
            ledger,
            orders,
            ports: Ports::at(plan.address),
        }
    }

    /// Reports for as long as the node runs.
    ///
    /// # Errors
    /// The thread that carries out orders has died; a new agent starts one.
    pub(crate) fn run(mut self, heart: &Heart) -> Result<()> {
        let mut turn = Turn {
            next_report: Instant::now(),
            pause: PAUSES.0,
            told: None,
            told_ports: BTreeSet::new(),
            next_health: Instant::now(),
            logs_wanted: false,
        };
        loop {
            heart.beat();
            self.turn(&mut turn)?;
        }
    }

    fn turn(&mut self, turn: &mut Turn) -> Result<()> {
        let facts = self.facts();
        let answering = self.ports.look();
        let changed = facts != turn.told || answering != turn.told_ports || turn.logs_wanted;
        if changed || Instant::now() >= turn.next_report || !self.outbox.is_empty() {
            let health = (Instant::now() >= turn.next_health).then(machine::health);
            let logs = turn.logs_wanted.then(logs::read);
            let (swarm, answering) = (facts.clone(), answering);
            let report = Report { swarm, answering, health, logs, ..self.outbox.report() };
            let sent = Instant::now();
            match post(self.head, &self.pass.report_path(), &report) {
                Ok(Some(answer)) => {
                    self.clock.answered(&answer, sent, &self.outbox);
                    self.outbox.answered(&report);
                    turn.next_report = self.next_report(&answer);
                    turn.pause = PAUSES.0;
                    turn.told = facts.clone();
                    turn.told_ports = report.answering;
                    turn.logs_wanted = answer.logs;
                    self.ports.want(answer.ports);
                    if report.health.is_some() {
                        turn.next_health = Instant::now() + HEALTH_INTERVAL;
                    }
                    self.hand_on(answer.orders)?;
                }
                refused => {
                    if refused.is_ok() {
                        self.pass.refused();
                    }
                    thread::sleep(turn.pause);
                    turn.pause = (turn.pause * 2).min(PAUSES.1);
                    return Ok(());
                }
            }
        }
        if turn.logs_wanted {
            return Ok(());
        }
        let until_report = turn.next_report.saturating_duration_since(Instant::now());
        let poll = if self.ports.is_complete() { poll(facts.as_ref()) } else { FORMING_POLL };
        self.outbox.wait_for_more(until_report.min(poll));
        Ok(())
    }

    /// When to report again: at once with a new token, which burns the one that others can read.
    fn next_report(&mut self, answer: &Orders) -> Instant {
        let given = answer.token.clone().map(|token| self.pass.take(token));
        match given {
            Some(Ok(true)) => return Instant::now(),
            Some(Err(error)) => eprintln!("fledermaus-agent: {error:#}"),
            Some(Ok(false)) | None => {}
        }
        Instant::now() + interval(answer)
    }

    /// What Docker says, once the user data has ended: before, the node is not ready to be ordered
    /// into a swarm.
    fn facts(&mut self) -> Option<SwarmFacts> {
        if !self.outbox.swarm_wanted() {
            return None;
        }
        let facts = self.look.now().ok();
        self.vigil.saw(facts.is_some(), &self.outbox);
        self.outbox.set_in_swarm(facts.as_ref().is_some_and(|facts| facts.state == LocalState::Active));
        facts
    }

    fn hand_on(&self, orders: Vec<Order>) -> Result<()> {
        for order in orders {
            match self.ledger.see(order.number) {
                Entry::New => self.orders.send(order).context("handing an order on")?,
                Entry::UnderWay => {}
                // The head has not heard it, or forgot it when it was restarted.
                Entry::Ended(outcome) => self.outbox.outcome_again(outcome),
            }
        }
        Ok(())
    }
}

fn interval(answer: &Orders) -> Duration {
    Duration::from_millis(answer.report_in_ms).clamp(INTERVALS.0, INTERVALS.1)
}

/// How long Docker may be left alone.
fn poll(facts: Option<&SwarmFacts>) -> Duration {
    let Some(facts) = facts else { return FORMING_POLL };
    let all_ready = facts.manager.iter().flat_map(|manager| &manager.members).all(|member| member.ready);
    if facts.state == LocalState::Active && all_ready { QUIET_POLL } else { FORMING_POLL }
}

/// Posts one report; no answer if the head does not know the token.
fn post(head: SocketAddrV4, path: &str, report: &Report) -> Result<Option<Orders>> {
    let json = serde_json::to_vec(report).context("writing a report")?;
    ensure!(json.len() <= Report::BYTES_LIMIT, "the report is too large");
    let mut stream = connect(SocketAddr::V4(head)).context("connecting to the head")?;
    let host = head.to_string();
    let length = json.len() as u64;
    let request =
        Request { method: "POST", target: path, host: &host, content_type: "application/json", length };
    let answer = exchange(&mut stream, &request, &mut json.as_slice(), ORDERS_BYTES_LIMIT)?;
    if answer.status == 404 {
        return Ok(None);
    }
    if answer.status != 200 {
        bail!("the head refuses the report (status {})", answer.status);
    }
    serde_json::from_slice(&answer.body).map(Some).context("understanding the head's answer")
}

/// A connection whose reads and writes do not last for ever.
pub(crate) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, CONNECT_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.set_write_timeout(Some(ANSWER_LIMIT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
