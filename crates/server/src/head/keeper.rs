//! The task that owns the state, and the one that owns the disk.
//!
//! ```text
//!   jobs ──► state: changed in order ──► turns ──► disk: one transaction for all turns that wait ──► answers
//! ```
//!
//! While the disk writes, the next jobs change the state already; their answers come after their own transaction. What
//! changes nothing is answered in its turn too, so that nobody is told of what may yet be lost; except what promises
//! nothing, such as an OFFER or a kernel, or what was on disk before: firmware waits a second, an SD card can take two.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use netboot::dns::Zone;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, timeout_at};

use super::news::News;
use super::now_ms;
use super::state::State;
use crate::store::{Store, Write};

/// The most jobs of one turn.
const TURN_LIMIT: usize = 256;
/// The most turns that wait for the disk; with more, the state waits too. A disk that takes a second for a flush must not
/// hold up what promises nothing.
const TURNS_LIMIT: usize = 4_096;

/// With so many turns at once there is a crowd, and the disk's next flush is for all that come within a moment.
const CROWD: usize = 2;
const GATHER: Duration = Duration::from_millis(2);

/// The least time between two versions of the cluster's names.
const NAMES_PAUSE: Duration = Duration::from_millis(50);
/// The least time between two pieces of news for open pages.
const NEWS_PAUSE: Duration = Duration::from_millis(200);

/// A change of the state, which ends with an answer.
pub(super) struct Job(Box<Change>);

type Change = dyn FnOnce(&mut State) -> (Reply, Wait) + Send;

/// What is done once the change is made.
type Reply = Box<dyn FnOnce() + Send>;

/// What an answer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// All that the job and those before it have to write.
    ForDisk,
    /// Nothing: it promises nothing, or what it promises is on disk.
    No,
}

impl Job {
    /// `change` runs in the state's task; `answer` has what it returned, when that may be told.
    pub(super) fn new<T: Send + 'static>(
        change: impl FnOnce(&mut State) -> (T, Wait) + Send + 'static,
        answer: impl FnOnce(T) + Send + 'static,
    ) -> Self {
        Self(Box::new(move |state: &mut State| {
            let (value, wait) = change(state);
            (Box::new(move || answer(value)) as Reply, wait)
        }))
    }
}

/// The turn that changes the state, and the last one that is on disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns {
    current: u64,
    written: Arc<AtomicU64>,
}

impl Turns {
    /// The turn of a change that is made now.
    pub(super) fn current(&self) -> u64 {
        self.current
    }

    /// Whether what a turn changed is on disk.
    pub(super) fn is_written(&self, turn: u64) -> bool {
        turn <= self.written.load(Ordering::Acquire)
    }

    /// The disk has what this turn, and each before it, changed.
    pub(super) fn wrote(&self, turn: u64) {
        self.written.store(turn, Ordering::Release);
    }

    /// The next turn begins.
    pub(super) fn next(&mut self) {
        self.current += 1;
    }
}

/// What came of some jobs.
struct Turn {
    number: u64,
    writes: Vec<Write>,
    zone: Option<Arc<Zone>>,
    news: Option<Arc<News>>,
    replies: Vec<Reply>,
}

/// What the two tasks own.
pub(crate) struct Keeper {
    pub(super) state: State,
    pub(super) store: Store,
    pub(super) queue: mpsc::Receiver<Job>,
    pub(super) zone: watch::Sender<Arc<Zone>>,
    pub(super) news: broadcast::Sender<Arc<News>>,
}

impl Keeper {
    /// Keeps the state until nobody can ask any more.
    ///
    /// # Errors
    /// The store cannot be written.
    pub(crate) async fn keep(self) -> anyhow::Result<()> {
        let (sender, turns) = mpsc::channel(TURNS_LIMIT);
        let numbers = self.state.turns.clone();
        let mut write = pin!(write(self.store, turns, &numbers, self.zone, self.news.clone()));
        tokio::select! {
            written = &mut write => written,
            // The disk goes on until the state's last turn is written.
            () = change(self.state, self.queue, sender, self.news) => write.await,
        }
    }
}

async fn change(
    mut state: State,
    mut queue: mpsc::Receiver<Job>,
    turns: mpsc::Sender<Turn>,
    listeners: broadcast::Sender<Arc<News>>,
) {
    let mut jobs = Vec::new();
    let mut names_due = Instant::now();
    let mut news_due = Instant::now();
    loop {
        let names_wait = state.zone_is_changed().then_some(names_due);
        let news_wait = state.unheard.is_some().then_some(news_due);
        let came = queue.recv_many(&mut jobs, TURN_LIMIT);
        let came = match names_wait.into_iter().chain(news_wait).min() {
            Some(due) => timeout_at(due, came).await,
            None => Ok(came.await),
        };
        if came == Ok(0) {
            return;
        }
        state.now_ms = now_ms();
        state.turns.next();
        let mut replies = Vec::with_capacity(jobs.len());
        for Job(change) in jobs.drain(..) {
            match change(&mut state) {
                (reply, Wait::ForDisk) => replies.push(reply),
                (reply, Wait::No) => reply(),
            }
        }
        let writes = state.take_writes();
        // All names are written anew: not for each of a thousand nodes that are new within a second.
        let zone = if state.zone_is_changed() && Instant::now() >= names_due {
            names_due = Instant::now() + NAMES_PAUSE;
            Some(Arc::new(state.take_zone()))
        } else {
            None
        };
        if listeners.receiver_count() == 0 {
            state.unheard.forget();
        }
        let news = if state.unheard.is_some() && Instant::now() >= news_due {
            news_due = Instant::now() + NEWS_PAUSE;
            Some(Arc::new(state.take_news()))
        } else {
            None
        };
        // A disk that failed takes no more.
        if turns.send(Turn { number: state.turns.current(), writes, zone, news, replies }).await.is_err() {
            return;
        }
    }
}

async fn write(
    mut store: Store,
    mut turns: mpsc::Receiver<Turn>,
    numbers: &Turns,
    zone: watch::Sender<Arc<Zone>>,
    listeners: broadcast::Sender<Arc<News>>,
) -> anyhow::Result<()> {
    let mut waiting = Vec::new();
    while turns.recv_many(&mut waiting, TURNS_LIMIT).await > 0 {
        let writes: Vec<Write> =
            waiting.iter_mut().flat_map(|turn| std::mem::take(&mut turn.writes)).collect();
        store.write(&writes).await?;
        let crowded = waiting.len() >= CROWD;
        for turn in waiting.drain(..) {
            numbers.wrote(turn.number);
            if let Some(names) = turn.zone {
                zone.send_replace(names);
            }
            if let Some(news) = turn.news {
                // Nobody may listen any more.
                let _ = listeners.send(news);
            }
            turn.replies.into_iter().for_each(|reply| reply());
        }
        if crowded && !writes.is_empty() {
            tokio::time::sleep(GATHER).await;
        }
    }
    Ok(())
}
