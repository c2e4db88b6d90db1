//! Plain counters the operator can read. Every limit that bites and every fault counts here.

use std::sync::atomic::{AtomicU64, Ordering};

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

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// All counters of the process.
        #[derive(Debug, Default)]
        pub struct Metrics { $($(#[$doc])* pub $name: Counter),* }

        impl Metrics {
            pub const fn new() -> Self {
                Metrics { $($name: Counter::new()),* }
            }

            /// Every counter with its name, in the order declared.
            pub fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.read())),*]
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
    /// Sessions that ended in a panic.
    session_panics,
    /// Sessions accepted.
    sessions_accepted,
    /// Log-ins that failed for a wrong name or password.
    logins_failed,
    /// Connections or log-ins refused by a limit.
    limit_refusals,
}

/// The counters of this process.
pub static METRICS: Metrics = Metrics::new();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_listed_by_name() {
        let metrics = Metrics::new();
        metrics.store_commits.add(2);
        assert!(metrics.list().contains(&("store_commits", 2)));
    }
}
