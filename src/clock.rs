//! Time as a value that is passed in, so that everything below can be tested at any moment of history.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the present comes from: the machine, or a test's hand.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    #[default]
    System,
    /// Stands still until [`Clock::advance`] moves it. Seconds since 1970.
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `unix_secs`.
    pub fn fixed(unix_secs: i64) -> Self {
        Clock::Fixed(Arc::new(AtomicI64::new(unix_secs)))
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub fn now_secs(&self) -> i64 {
        match self {
            Clock::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX)),
            Clock::Fixed(secs) => secs.load(Ordering::Relaxed),
        }
    }

    /// Moves a fixed clock; the machine's own cannot be moved and is left alone.
    pub fn advance(&self, secs: i64) {
        if let Clock::Fixed(at) = self {
            at.fetch_add(secs, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_clock_moves_only_by_hand() {
        let clock = Clock::fixed(100);
        assert_eq!(clock.now_secs(), 100);
        clock.advance(5);
        assert_eq!(clock.now_secs(), 105);
        assert!(Clock::System.now_secs() > 1_700_000_000);
    }
}
