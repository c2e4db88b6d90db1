//! What the running server says of itself when it is asked for its status.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The numbers of the mail store that go up and down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Accounts whose store is open.
    pub accounts_open: usize,
    /// SQLite connections open just now.
    pub connections_open: usize,
    /// Memory for the flags and numbers of open mailboxes, in octets.
    pub snapshot_bytes: u64,
    pub disk_free_bytes: u64,
    /// So little disk is left that no new mail is taken.
    pub disk_is_low: bool,
}

/// The answer to `Status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub process: u32,
    pub uptime_seconds: u64,
    pub sessions: usize,
    /// Of these, the ones that somebody logged in to.
    pub sessions_signed_in: usize,
    pub store: Figures,
    /// The limits of logging in and how far each is used.
    pub login_limits: BTreeMap<String, String>,
    /// Since the start.
    pub counters: BTreeMap<String, u64>,
}

impl Status {
    /// For people: a name and a value a line.
    pub fn lines(&self) -> Vec<String> {
        let store = &self.store;
        let low = if store.disk_is_low { ", too little: no new mail is taken" } else { "" };
        let mut lines = vec![
            format!("version\t{}", self.version),
            format!("process\t{}", self.process),
            format!("uptime\t{}", spell(self.uptime_seconds)),
            format!("sessions\t{}, {} signed in", self.sessions, self.sessions_signed_in),
            format!("accounts open\t{} ({} database connections)", store.accounts_open, store.connections_open),
            format!("snapshots\t{} octets", store.snapshot_bytes),
            format!("disk free\t{} octets{low}", store.disk_free_bytes),
        ];
        lines.extend(self.login_limits.iter().map(|(name, use_of)| format!("login: {name}\t{use_of}")));
        lines.extend(self.counters.iter().map(|(name, count)| format!("since start: {name}\t{count}")));
        lines
    }

    /// For programs: one object.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A time as people read it: the two largest units.
pub fn spell(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, ..) => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours:02}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let cases = [(0, "0s"), (59, "59s"), (61, "1m01s"), (3600, "1h00m"), (90_000, "1d01h")];
        for (seconds, text) in cases {
            assert_eq!(spell(seconds), text);
        }
    }
}
