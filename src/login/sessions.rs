//! The register of sessions: how many there are, from where and whose, and how they are told to end.
//! A session holds a [`Ticket`]; dropping it takes the session off the register, however it ended.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::address::AddressKey;
use super::is_trusted;
use crate::config::Config;
use crate::types::AccountId;

/// All sessions of this server.
pub struct Sessions {
    config: Arc<ArcSwap<Config>>,
    table: Mutex<Table>,
    /// Told when the last session is gone.
    emptied: Notify,
}

#[derive(Default)]
struct Table {
    next: u64,
    open: HashMap<u64, Weak<Ticket>>,
    by_address: HashMap<AddressKey, OfAddress>,
    by_account: HashMap<AccountId, Vec<u64>>,
    /// Sessions in which this account acts on behalf of another.
    acting: HashMap<AccountId, Vec<u64>>,
    /// Accounts whose user is gone. Their numbers never come back, so a log-in that was under way during the removal
    /// finds itself here.
    removed: HashSet<AccountId>,
    is_closing: bool,
}

/// What is known of one address while it has a session.
#[derive(Default)]
struct OfAddress {
    sessions: usize,
    /// A permit for each TLS handshake that may go on; made at the first.
    handshakes: Option<Arc<Semaphore>>,
}

/// One session's entry. An idle session keeps it, so it is small.
pub struct Ticket {
    sessions: Arc<Sessions>,
    number: u64,
    /// `None`: not counted by address.
    address: Option<AddressKey>,
    user: Mutex<User>,
    end: AtomicU8,
    ended: Notify,
}

/// Whose a session is, and who acts in it on his behalf.
#[derive(Default, Clone, Copy)]
struct User {
    account: Option<AccountId>,
    acting: Option<AccountId>,
}

/// Why a session is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum EndReason {
    /// The server stops.
    Shutdown = 1,
    UserRemoved = 2,
    UserDisabled = 3,
}

impl EndReason {
    /// What stands behind `* BYE`.
    pub fn text(self) -> &'static str {
        match self {
            // RFC 5530 §3: UNAVAILABLE is "temporarily", so that clients come back without asking for a password.
            EndReason::Shutdown => "[UNAVAILABLE] Pillarbox is shutting down, please come back later",
            EndReason::UserRemoved => "this user was removed",
            EndReason::UserDisabled => "[CONTACTADMIN] this user was disabled",
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        [EndReason::Shutdown, EndReason::UserRemoved, EndReason::UserDisabled]
            .into_iter()
            .find(|reason| *reason as u8 == number)
    }
}

/// Why there is no room for a session. Its text is for `NO [LIMIT]` or `* BYE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotAdmitted {
    Address { sessions: usize },
    User { sessions: usize },
    Server,
    ShuttingDown,
}

impl NotAdmitted {
    /// The response code (RFC 5530 §3).
    pub fn code(&self) -> &'static str {
        match self {
            NotAdmitted::ShuttingDown => "UNAVAILABLE",
            NotAdmitted::Address { .. } | NotAdmitted::User { .. } | NotAdmitted::Server => "LIMIT",
        }
    }
}

impl fmt::Display for NotAdmitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotAdmitted::Address { sessions } => {
                write!(f, "too many connections ({sessions} from your address: close some, or ask the administrator)")
            }
            NotAdmitted::User { sessions } => {
                write!(f, "too many connections ({sessions} of this user: close a mail program, or try later)")
            }
            NotAdmitted::Server => f.write_str("too many connections to this server, try later"),
            NotAdmitted::ShuttingDown => f.write_str("the server is shutting down"),
        }
    }
}

impl Sessions {
    pub fn new(config: Arc<ArcSwap<Config>>) -> Arc<Sessions> {
        Arc::new(Sessions { config, table: Mutex::default(), emptied: Notify::new() })
    }

    /// Lets a connection in, or says why not. `peer` is `None` for a local socket.
    pub fn admit(self: &Arc<Self>, peer: Option<SocketAddr>) -> Result<Arc<Ticket>, NotAdmitted> {
        let config = self.config.load();
        let counted = peer.map(|peer| peer.ip().to_canonical()).filter(|ip| !is_trusted(*ip, &config));
        let address = counted.map(AddressKey::of);
        let mut table = self.table();
        if table.is_closing {
            return Err(NotAdmitted::ShuttingDown);
        }
        if table.open.len() >= config.limits.sessions {
            return Err(NotAdmitted::Server);
        }
        if let Some(address) = address {
            let known = table.by_address.entry(address).or_default();
            if known.sessions >= config.limits.sessions_per_address {
                return Err(NotAdmitted::Address { sessions: known.sessions });
            }
            known.sessions += 1;
        }
        table.next += 1;
        let number = table.next;
        let ticket = Arc::new(Ticket {
            sessions: self.clone(),
            number,
            address,
            user: Mutex::default(),
            end: AtomicU8::new(0),
            ended: Notify::new(),
        });
        table.open.insert(number, Arc::downgrade(&ticket));
        Ok(ticket)
    }

    /// Tells every session of an account to end, those too in which it acts for another; how many there are. After `UserRemoved` no session of that account
    /// begins any more.
    pub fn end_account(&self, account: AccountId, reason: EndReason) -> usize {
        let tickets: Vec<Arc<Ticket>> = {
            let mut table = self.table();
            if reason == EndReason::UserRemoved {
                table.removed.insert(account);
            }
            let of = |table: &HashMap<AccountId, Vec<u64>>| table.get(&account).cloned().unwrap_or_default();
            let numbers = [of(&table.by_account), of(&table.acting)].concat();
            numbers.iter().filter_map(|number| table.open.get(number)?.upgrade()).collect()
        };
        // Outside the lock: whoever drops the last handle of a ticket takes the lock again.
        for ticket in &tickets {
            ticket.end(reason);
        }
        tickets.len()
    }

    /// Tells every session to end; how many there are. After `Shutdown` none begins any more.
    pub fn end_all(&self, reason: EndReason) -> usize {
        let tickets: Vec<Arc<Ticket>> = {
            let mut table = self.table();
            table.is_closing |= reason == EndReason::Shutdown;
            table.open.values().filter_map(Weak::upgrade).collect()
        };
        for ticket in &tickets {
            ticket.end(reason);
        }
        tickets.len()
    }

    /// How many sessions there are.
    pub fn count(&self) -> usize {
        self.table().open.len()
    }

    /// How many sessions an account has, those too in which it acts for another.
    pub fn count_of(&self, account: AccountId) -> usize {
        let table = self.table();
        let count = |table: &HashMap<AccountId, Vec<u64>>| table.get(&account).map_or(0, Vec::len);
        count(&table.by_account) + count(&table.acting)
    }

    /// Waits until there is no session, at most this long. True: there is none.
    pub async fn wait_empty(&self, most: Duration) -> bool {
        self.wait_until(most, || self.count() == 0).await
    }

    /// Waits until an account has no session, at most this long. True: it has none.
    pub async fn wait_account_empty(&self, account: AccountId, most: Duration) -> bool {
        self.wait_until(most, || self.count_of(account) == 0).await
    }

    async fn wait_until(&self, most: Duration, is_done: impl Fn() -> bool) -> bool {
        let wait = async {
            loop {
                // Registered before the look, so that an end between the look and the wait is not missed.
                let emptied = self.emptied.notified();
                tokio::pin!(emptied);
                emptied.as_mut().enable();
                if is_done() {
                    return;
                }
                emptied.await;
            }
        };
        tokio::time::timeout(most, wait).await.is_ok()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// A number for the logs, unique while the server runs.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Notes whose session this is now, if that user may have one more. A session that had another user before
    /// (RFC 8437 §3) changes over.
    pub fn signed_in(&self, account: AccountId, name: &str) -> Result<(), NotAdmitted> {
        let most = self.sessions.config.load().limits.sessions_per_user;
        let is_removed = {
            let mut table = self.sessions.table();
            let sessions = table.by_account.get(&account).map_or(0, Vec::len);
            if sessions >= most {
                tracing::info!(user = ?name, sessions, "too many sessions of one user");
                return Err(NotAdmitted::User { sessions });
            }
            let before = std::mem::replace(&mut *self.user(), User { account: Some(account), acting: None });
            table.leave(before, self.number);
            table.by_account.entry(account).or_default().push(self.number);
            table.removed.contains(&account)
        };
        if is_removed {
            self.end(EndReason::UserRemoved);
        }
        Ok(())
    }

    /// Notes who acts on behalf of the user who is signed in now: when he is barred, this session ends too.
    pub fn acted_by(&self, account: AccountId) {
        let mut table = self.sessions.table();
        self.user().acting = Some(account);
        table.acting.entry(account).or_default().push(self.number);
    }

    /// Notes that this session has no user any more (UNAUTHENTICATE, RFC 8437 §3).
    pub fn signed_out(&self) {
        let mut table = self.sessions.table();
        let before = std::mem::take(&mut *self.user());
        table.leave(before, self.number);
    }

    /// Waits until this session's network may begin one more TLS handshake; the permit is for its time. `None`: it is
    /// not bounded. Whoever is slow at it holds up his own network and nobody else.
    pub async fn handshake(&self) -> Option<OwnedSemaphorePermit> {
        let most = self.sessions.config.load().tls.handshakes_per_network;
        let permits = {
            let mut table = self.sessions.table();
            let known = table.by_address.get_mut(&self.address?)?;
            known.handshakes.get_or_insert_with(|| Arc::new(Semaphore::new(most))).clone()
        };
        permits.acquire_owned().await.ok()
    }

    /// Why this session is to end, once it is.
    pub fn ended(&self) -> Option<EndReason> {
        EndReason::from_number(self.end.load(Ordering::Acquire))
    }

    /// Waits until this session is to end. May be dropped and called again at will.
    pub async fn wait_end(&self) -> EndReason {
        loop {
            let told = self.ended.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if let Some(reason) = self.ended() {
                return reason;
            }
            told.await;
        }
    }

    /// The first reason stays.
    fn end(&self, reason: EndReason) {
        if self.end.compare_exchange(0, reason as u8, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.ended.notify_waiters();
        }
    }

    fn user(&self) -> MutexGuard<'_, User> {
        self.user.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn leave(&mut self, user: User, number: u64) {
        for (table, account) in [(&mut self.by_account, user.account), (&mut self.acting, user.acting)] {
            let Some(account) = account else { continue };
            if let Some(numbers) = table.get_mut(&account) {
                numbers.retain(|other| *other != number);
                if numbers.is_empty() {
                    table.remove(&account);
                }
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let user = std::mem::take(&mut *self.user());
        let mut table = self.sessions.table();
        table.open.remove(&self.number);
        table.leave(user, self.number);
        if let Some(address) = self.address {
            match table.by_address.get_mut(&address) {
                Some(known) if known.sessions > 1 => known.sessions -= 1,
                _ => drop(table.by_address.remove(&address)),
            }
        }
        drop(table);
        self.sessions.emptied.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions(change: impl FnOnce(&mut Config)) -> Arc<Sessions> {
        let mut config = Config::default();
        change(&mut config);
        Sessions::new(Arc::new(ArcSwap::from_pointee(config)))
    }

    fn peer(text: &str) -> Option<SocketAddr> {
        Some(SocketAddr::new(text.parse().expect("an address"), 4711))
    }

    #[test]
    fn an_address_has_its_share_and_trusted_ones_are_not_counted() {
        let sessions = sessions(|config| {
            config.limits.sessions_per_address = 2;
            config.limits.trusted_networks = vec!["10.0.0.0/8".parse().expect("a network")];
        });
        let first = sessions.admit(peer("192.0.2.1")).expect("room");
        let _second = sessions.admit(peer("::ffff:192.0.2.1")).expect("room");
        let refused = sessions.admit(peer("192.0.2.1")).map(|_| ()).expect_err("full");
        assert_eq!(refused, NotAdmitted::Address { sessions: 2 });
        assert!(refused.to_string().contains("2 from your address"));
        let others: Vec<_> =
            (0..5).flat_map(|_| ["127.0.0.1", "::1", "10.1.1.1"]).map(|ip| sessions.admit(peer(ip))).collect();
        assert!(others.iter().all(Result::is_ok));
        drop(first);
        assert!(sessions.admit(peer("192.0.2.1")).is_ok());
        drop(others);
        assert_eq!(sessions.count(), 1);
    }

    #[test]
    fn a_user_has_his_share_over_all_addresses() {
        let sessions = sessions(|config| config.limits.sessions_per_user = 1);
        let first = sessions.admit(peer("192.0.2.1")).expect("room");
        let second = sessions.admit(peer("192.0.2.2")).expect("room");
        first.signed_in(AccountId(7), "anna").expect("room");
        assert_eq!(second.signed_in(AccountId(7), "anna"), Err(NotAdmitted::User { sessions: 1 }));
        second.signed_in(AccountId(8), "bert").expect("room");
        first.signed_out();
        second.signed_in(AccountId(7), "anna").expect("room");
        assert_eq!((sessions.count_of(AccountId(7)), sessions.count_of(AccountId(8))), (1, 0));
        drop(second);
        assert_eq!(sessions.count_of(AccountId(7)), 0);
    }

    #[test]
    fn all_together_have_a_bound() {
        let sessions = sessions(|config| config.limits.sessions = 1);
        let _first = sessions.admit(peer("127.0.0.1")).expect("room");
        assert_eq!(sessions.admit(None).map(|_| ()), Err(NotAdmitted::Server));
    }

    #[tokio::test]
    async fn ending_an_account_reaches_its_sessions_and_no_others() {
        let sessions = sessions(|_| {});
        let [mine, other] = [7, 8].map(|account| {
            let ticket = sessions.admit(peer("127.0.0.1")).expect("room");
            ticket.signed_in(AccountId(account), "somebody").expect("room");
            ticket
        });
        let waiting = tokio::spawn({
            let mine = mine.clone();
            async move { mine.wait_end().await }
        });
        tokio::task::yield_now().await;
        assert_eq!(sessions.end_account(AccountId(7), EndReason::UserRemoved), 1);
        assert_eq!(waiting.await.expect("joined"), EndReason::UserRemoved);
        assert_eq!(mine.wait_end().await, EndReason::UserRemoved, "again at once");
        assert_eq!(other.ended(), None);
        // A log-in that was under way when the user was removed.
        let late = sessions.admit(peer("127.0.0.1")).expect("room");
        late.signed_in(AccountId(7), "anna").expect("room");
        assert_eq!(late.ended(), Some(EndReason::UserRemoved));
    }

    #[tokio::test]
    async fn a_shutdown_ends_all_admits_none_and_waits() {
        let sessions = sessions(|_| {});
        let ticket = sessions.admit(peer("127.0.0.1")).expect("room");
        assert_eq!(sessions.end_all(EndReason::Shutdown), 1);
        assert_eq!(sessions.admit(None).map(|_| ()), Err(NotAdmitted::ShuttingDown));
        assert!(!sessions.wait_empty(Duration::from_millis(1)).await);
        let session = tokio::spawn(async move {
            ticket.wait_end().await;
        });
        assert!(sessions.wait_empty(Duration::from_secs(10)).await);
        session.await.expect("joined");
    }

    #[tokio::test]
    async fn who_acts_for_another_ends_with_himself_too() {
        let sessions = sessions(|_| {});
        let ticket = sessions.admit(peer("192.0.2.1")).expect("room");
        ticket.signed_in(AccountId(7), "anna").expect("room");
        ticket.acted_by(AccountId(1));
        assert_eq!((sessions.count_of(AccountId(7)), sessions.count_of(AccountId(1))), (1, 1));
        ticket.signed_out();
        assert_eq!((sessions.count_of(AccountId(7)), sessions.count_of(AccountId(1))), (0, 0));
        ticket.signed_in(AccountId(7), "anna").expect("room");
        ticket.acted_by(AccountId(1));
        assert_eq!(sessions.end_account(AccountId(1), EndReason::UserDisabled), 1);
        assert_eq!(ticket.ended(), Some(EndReason::UserDisabled));
        drop(ticket);
        assert_eq!((sessions.count_of(AccountId(7)), sessions.count_of(AccountId(1))), (0, 0));
    }

    #[tokio::test]
    async fn slow_handshakes_hold_up_their_own_network_only() {
        let sessions = sessions(|config| config.tls.handshakes_per_network = 2);
        let admit = |address| sessions.admit(peer(address)).expect("room");
        let tickets: Vec<_> = (0..3).map(|_| admit("192.0.2.1")).collect();
        let _first = tickets[0].handshake().await.expect("counted");
        let second = tickets[1].handshake().await.expect("counted");
        let mut third = Box::pin(tickets[2].handshake());
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut third).await.is_err(), "waits");
        assert!(admit("192.0.2.2").handshake().await.is_some(), "another network");
        assert!(admit("127.0.0.1").handshake().await.is_none(), "not bounded");
        drop(second);
        assert!(third.await.is_some());
    }

    #[test]
    fn a_ticket_is_small() {
        assert!(size_of::<Ticket>() <= 160, "{}", size_of::<Ticket>());
    }
}
