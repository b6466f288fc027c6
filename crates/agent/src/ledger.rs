//! Which orders this boot has seen, and how they ended. On file, for an agent that is restarted: it
//! must not carry out an order twice.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use cluster::report::Outcome;
use serde::{Deserialize, Serialize};

use crate::outbox::Outbox;

/// The ledger.
pub(crate) struct Ledger {
    pages: Mutex<Pages>,
}

struct Pages {
    file: File,
    /// By number; without an outcome while it is under way.
    orders: BTreeMap<u64, Option<Outcome>>,
}

/// One line of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Seen(u64),
    Ended(Outcome),
}

/// What the ledger says of an order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Never seen; from now on it is.
    New,
    /// Seen and not ended.
    UnderWay,
    /// Ended like this.
    Ended(Outcome),
}

impl Ledger {
    /// Opens the ledger. Orders that the last agent began and did not end count as failed; that is
    /// put into the outbox.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn open(path: &Path, outbox: &Outbox) -> Result<Self> {
        let orders = read(&fs::read_to_string(path).unwrap_or_default());
        let file =
            File::options().create(true).append(true).open(path).context("opening the orders' ledger")?;
        let open: Vec<u64> =
            orders.iter().filter(|(_, ended)| ended.is_none()).map(|(number, _)| *number).collect();
        let ledger = Self { pages: Mutex::new(Pages { file, orders }) };
        for order in open {
            let error = Some("the agent was restarted while it carried this out".to_owned());
            ledger.end(Outcome::of(order, error), outbox);
        }
        Ok(ledger)
    }

    /// Looks an order up, and enters it if it is new.
    pub(crate) fn see(&self, number: u64) -> Entry {
        let mut pages = self.pages();
        match pages.orders.get(&number) {
            Some(Some(outcome)) => return Entry::Ended(outcome.clone()),
            Some(None) => return Entry::UnderWay,
            None => {}
        }
        pages.write(&Line::Seen(number));
        pages.orders.insert(number, None);
        Entry::New
    }

    /// Enters how an order ended, and puts it into the outbox.
    pub(crate) fn end(&self, outcome: Outcome, outbox: &Outbox) {
        let mut pages = self.pages();
        pages.write(&Line::Ended(outcome.clone()));
        pages.orders.insert(outcome.order, Some(outcome.clone()));
        outbox.outcome(outcome);
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    /// The file lies in memory: if it cannot be written, the node has worse troubles.
    fn write(&mut self, line: &Line) {
        if let Ok(json) = serde_json::to_string(line) {
            let _ = self.file.write_all(format!("{json}\n").as_bytes());
        }
    }
}

fn read(text: &str) -> BTreeMap<u64, Option<Outcome>> {
    let mut orders = BTreeMap::new();
    for line in text.lines() {
        match serde_json::from_str(line) {
            Ok(Line::Seen(number)) => drop(orders.entry(number).or_insert(None)),
            Ok(Line::Ended(outcome)) => drop(orders.insert(outcome.order, Some(outcome))),
            // Half a line: the last agent died while it wrote.
            Err(_) => {}
        }
    }
    orders
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_restarted_agent_knows_what_it_has_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (path, outbox) = (folder.path().join("orders"), Outbox::default());
        let ledger = Ledger::open(&path, &outbox).unwrap();
        assert_eq!(ledger.see(7), Entry::New);
        assert_eq!(ledger.see(7), Entry::UnderWay);
        ledger.end(Outcome::of(7, None), &outbox);
        assert_eq!(ledger.see(8), Entry::New);
        drop(ledger);

        let outbox = Outbox::default();
        let ledger = Ledger::open(&path, &outbox).unwrap();
        assert_eq!(ledger.see(7), Entry::Ended(Outcome::of(7, None)));
        assert!(matches!(ledger.see(8), Entry::Ended(Outcome { order: 8, error: Some(_), .. })));
        assert_eq!(outbox.report().outcomes.len(), 1);
    }
}
