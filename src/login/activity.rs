//! What a session is doing, as the operator is shown it. Every session keeps one of these, so it is small; and each
//! command notes what it changes, so that looking costs the sessions nothing.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Longest text that is kept of what a client calls itself, in octets.
const MOST_CLIENT_OCTETS: usize = 80;

/// What one session does and has done.
pub struct Activity {
    begun: Instant,
    /// When the last command began or ended, in milliseconds after `begun`.
    moved_millis: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    commands: AtomicU64,
    shown: Mutex<Shown>,
}

/// What changes rarely.
struct Shown {
    protocol: &'static str,
    address: Option<SocketAddr>,
    is_tls: bool,
    user: Box<str>,
    acting: Box<str>,
    client: Box<str>,
    mailbox: Box<str>,
    /// The command that is being carried out.
    doing: &'static str,
}

/// A session at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Glance {
    /// Its number in the log.
    pub session: u64,
    /// `IMAP` or `LMTP`.
    pub protocol: String,
    /// Empty for a local socket.
    pub address: String,
    pub tls: bool,
    /// Empty before the log-in.
    pub user: String,
    /// Who acts on behalf of the user; mostly empty.
    pub acting: String,
    /// What the client calls itself (RFC 2971).
    pub client: String,
    /// As RFC 3501 §3 has it, in one word.
    pub state: String,
    /// The mailbox that is selected.
    pub mailbox: String,
    /// The command that is being carried out; empty between two.
    pub doing: String,
    pub age_seconds: u64,
    /// Since the last command began or ended.
    pub idle_seconds: u64,
    pub received: u64,
    pub sent: u64,
    pub commands: u64,
}

impl Glance {
    /// As one JSON object.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Activity {
    /// Of an IMAP session, until something else is said.
    pub(super) fn new(address: Option<SocketAddr>) -> Activity {
        let shown = Shown {
            protocol: "IMAP",
            address,
            is_tls: false,
            user: "".into(),
            acting: "".into(),
            client: "".into(),
            mailbox: "".into(),
            doing: "",
        };
        Activity {
            begun: Instant::now(),
            moved_millis: AtomicU64::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            commands: AtomicU64::new(0),
            shown: Mutex::new(shown),
        }
    }

    /// How long the session has lasted.
    pub fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// It is one of LMTP, from this address.
    pub fn is_lmtp(&self, address: Option<SocketAddr>) {
        let mut shown = self.shown();
        (shown.protocol, shown.address) = ("LMTP", address);
    }

    /// TLS is on.
    pub fn is_secured(&self) {
        self.shown().is_tls = true;
    }

    /// What the client calls itself; cut where it is too long.
    pub fn is_client(&self, name: &str) {
        let most = name.floor_char_boundary(name.len().min(MOST_CLIENT_OCTETS));
        self.shown().client = name[..most].into();
    }

    /// Empty: nobody.
    pub(super) fn is_user(&self, user: &str) {
        let mut shown = self.shown();
        (shown.user, shown.acting) = (user.into(), "".into());
    }

    /// Who acts on behalf of the user.
    pub fn is_acted_by(&self, acting: &str) {
        self.shown().acting = acting.into();
    }

    /// Empty: none is selected.
    pub fn has_selected(&self, mailbox: &str) {
        let mut shown = self.shown();
        if *shown.mailbox != *mailbox {
            shown.mailbox = mailbox.into();
        }
    }

    /// A command begins.
    pub fn begins(&self, command: &'static str) {
        self.shown().doing = command;
        self.moves();
    }

    /// It has ended; so much came and went since the session began.
    pub fn ends(&self, received: u64, sent: u64) {
        self.shown().doing = "";
        self.received.store(received, Ordering::Relaxed);
        self.sent.store(sent, Ordering::Relaxed);
        self.commands.fetch_add(1, Ordering::Relaxed);
        self.moves();
    }

    fn moves(&self) {
        self.moved_millis.store(u64::try_from(self.age().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How it is now.
    pub(super) fn glance(&self, session: u64) -> Glance {
        let (age, shown) = (self.age(), self.shown());
        let idle = age.saturating_sub(Duration::from_millis(self.moved_millis.load(Ordering::Relaxed)));
        let state = match (shown.user.is_empty(), shown.mailbox.is_empty()) {
            (true, _) => "not-authenticated",
            (false, true) => "authenticated",
            (false, false) => "selected",
        };
        Glance {
            session,
            protocol: shown.protocol.into(),
            address: shown.address.map(|address| address.to_string()).unwrap_or_default(),
            tls: shown.is_tls,
            user: shown.user.to_string(),
            acting: shown.acting.to_string(),
            client: shown.client.to_string(),
            state: if shown.protocol == "IMAP" { state.into() } else { String::new() },
            mailbox: shown.mailbox.to_string(),
            doing: shown.doing.into(),
            age_seconds: age.as_secs(),
            idle_seconds: idle.as_secs(),
            received: self.received.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            commands: self.commands.load(Ordering::Relaxed),
        }
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        // Each field is replaced whole.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glance_shows_what_was_noted() {
        let activity = Activity::new(Some("192.0.2.1:4711".parse().expect("an address")));
        assert_eq!(activity.glance(7).state, "not-authenticated");
        activity.is_user("anna");
        activity.is_client(&"ü".repeat(100));
        activity.has_selected("INBOX");
        activity.begins("IDLE");
        let glance = activity.glance(7);
        assert_eq!((glance.session, glance.state.as_str(), glance.doing.as_str()), (7, "selected", "IDLE"));
        assert_eq!(glance.client, "ü".repeat(40));
        activity.ends(10, 20);
        activity.has_selected("");
        let glance = activity.glance(7);
        assert_eq!((glance.received, glance.sent, glance.commands), (10, 20, 1));
        assert_eq!((glance.state.as_str(), glance.doing.as_str()), ("authenticated", ""));
    }

    #[test]
    fn an_idle_session_pays_little_for_it() {
        assert!(size_of::<Activity>() <= 192, "{}", size_of::<Activity>());
    }
}
