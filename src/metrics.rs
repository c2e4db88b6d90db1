//! Plain counters the operator can read, and how long things took. Every limit that bites and every fault counts here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// One number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub const fn new() -> Self {
        Counter(AtomicU64::new(0))
    }

    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Up to where the classes of a [`Histogram`] go, in microseconds; what took longer than the last is a class too.
pub const CLASSES_MICROS: [u64; 8] = [500, 2_000, 10_000, 50_000, 250_000, 1_000_000, 5_000_000, 30_000_000];
const CLASSES: usize = CLASSES_MICROS.len() + 1;

/// How often something took how long.
#[derive(Debug, Default)]
pub struct Histogram {
    classes: [Counter; CLASSES],
    micros: Counter,
}

/// A histogram as it was at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistogramReading {
    /// How many fell into each class; the last is above all bounds.
    pub classes: [u64; CLASSES],
    /// All of them together, in microseconds.
    pub micros: u64,
}

impl Histogram {
    pub const fn new() -> Self {
        Histogram { classes: [const { Counter::new() }; CLASSES], micros: Counter::new() }
    }

    pub fn note(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let class = CLASSES_MICROS.iter().position(|most| micros <= *most).unwrap_or(CLASSES - 1);
        self.classes[class].add(1);
        self.micros.add(micros);
    }

    pub fn read(&self) -> HistogramReading {
        HistogramReading {
            classes: std::array::from_fn(|class| self.classes[class].read()),
            micros: self.micros.read(),
        }
    }
}

/// A histogram for each of some names that the program itself gives, so there are never more than it has.
#[derive(Debug, Default)]
pub struct Histograms(RwLock<BTreeMap<&'static str, Arc<Histogram>>>);

impl Histograms {
    pub const fn new() -> Self {
        Histograms(RwLock::new(BTreeMap::new()))
    }

    pub fn note(&self, name: &'static str, took: Duration) {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        let histogram = known
            .unwrap_or_else(|| self.0.write().unwrap_or_else(PoisonError::into_inner).entry(name).or_default().clone());
        histogram.note(took);
    }

    /// Every name that was noted, in order.
    pub fn read(&self) -> Vec<(&'static str, HistogramReading)> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table.iter().map(|(name, histogram)| (*name, histogram.read())).collect()
    }
}

/// A counter as it was at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    pub name: &'static str,
    /// What it counts, in a sentence.
    pub meaning: &'static str,
    pub count: u64,
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident),* $(,)?) => {
        /// All counters of the process.
        #[derive(Debug, Default)]
        pub struct Metrics { $($(#[doc = $doc])* pub $name: Counter),* }

        impl Metrics {
            pub const fn new() -> Self {
                Metrics { $($name: Counter::new()),* }
            }

            /// Every counter, in the order declared.
            pub fn list(&self) -> Vec<Reading> {
                vec![$(Reading {
                    name: stringify!($name),
                    meaning: concat!($($doc),*).trim_ascii(),
                    count: self.$name.read(),
                }),*]
            }
        }
    };
}

counters! {
    /// Messages placed by APPEND, delivery or import.
    messages_placed,
    /// Messages that came in by delivery, whatever became of them.
    messages_received,
    /// Recipients for whom a message was stored.
    recipients_served,
    /// Recipients for whom a message was refused after it had come, for now or for good.
    recipients_refused,
    /// Transactions committed in account stores.
    store_commits,
    /// Orders that shared a commit with others and so cost no sync of their own.
    store_orders,
    /// Visits and orders that failed by our own fault.
    store_faults,
    /// Bodies whose octets no longer matched their hash when read.
    bodies_corrupt,
    /// Orders refused because the disk is nearly full.
    disk_low_refusals,
    /// Content rows and files the sweep took away.
    contents_swept,
    /// Messages that a rule such as `empty_trash_after` expunged.
    messages_expired,
    /// Sessions that ended in a panic.
    session_panics,
    /// Sessions accepted, of IMAP and LMTP.
    sessions_accepted,
    /// Log-ins that succeeded.
    logins_succeeded,
    /// Log-ins that failed for a wrong name or password.
    logins_failed,
    /// Connections or log-ins refused by a limit.
    limit_refusals,
    /// Commands answered with NO or BAD.
    commands_refused,
    /// Octets that came from IMAP clients, after TLS and before COMPRESS is undone.
    octets_received,
    /// Octets that went to IMAP clients, before COMPRESS and TLS.
    octets_sent,
    /// Commands that took longer than log.slow_command_ms.
    slow_commands,
}

/// The counters of this process.
pub static METRICS: Metrics = Metrics::new();
/// IMAP commands by their word. IDLE is counted with no time: it lasts as long as the client likes.
pub static COMMANDS: Histograms = Histograms::new();
/// Commits of the mail store, each with its sync.
pub static COMMITS: Histogram = Histogram::new();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_listed_by_name_with_their_meaning() {
        let metrics = Metrics::new();
        metrics.store_commits.add(2);
        let meaning = "Transactions committed in account stores.";
        assert!(metrics.list().contains(&Reading { name: "store_commits", meaning, count: 2 }));
    }

    #[test]
    fn a_time_falls_into_its_class() {
        let histograms = Histograms::new();
        for micros in [0, 500, 501, 30_000_000, 30_000_001] {
            histograms.note("FETCH", Duration::from_micros(micros));
        }
        histograms.note("NOOP", Duration::ZERO);
        let read = histograms.read();
        assert_eq!(read.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["FETCH", "NOOP"]);
        assert_eq!(read[0].1, HistogramReading { classes: [2, 1, 0, 0, 0, 0, 0, 1, 1], micros: 60_001_002 });
    }
}
