//! Leases: a command that copies an account or exchanges its files says so, and the server keeps out of the way. A
//! lease has a holder and an end; it is renewed while the command lives, so that one that was killed is in nobody's
//! way for long. Leases are memory of this process: a server that starts anew has none, and its holder is told so.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::MailStore;
use super::error::{Error, Result};
use super::exchange::{self, Kept};
use super::owner::lock;
use crate::types::AccountId;

/// How long a lease lasts unless it is renewed.
pub const LEASE_TIME: Duration = Duration::from_secs(120);
/// Most leases on one account at a time.
const MOST_LEASES: usize = 16;

/// What an account is held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It is being copied: the sweep lets no content go.
    Backup,
    /// Its files are to be exchanged: nobody opens it.
    Exchange,
}

/// Who holds a lease: a process, and a number of its own choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    pub process: u32,
    pub number: u64,
}

#[derive(Debug)]
struct Lease {
    purpose: Purpose,
    holder: Holder,
    until: Instant,
}

/// All leases of a store.
#[derive(Debug, Default)]
pub struct Leases {
    table: Mutex<HashMap<AccountId, Vec<Lease>>>,
}

impl Leases {
    /// Begins a lease or renews it. True: the holder had it already, without a gap.
    fn take(&self, id: AccountId, purpose: Purpose, holder: Holder, time: Duration) -> Result<bool> {
        let mut table = lock(&self.table);
        let leases = table.entry(id).or_default();
        let now = Instant::now();
        leases.retain(|lease| lease.until > now);
        if let Some(lease) = leases.iter_mut().find(|lease| lease.holder == holder && lease.purpose == purpose) {
            lease.until = now + time;
            return Ok(true);
        }
        if purpose == Purpose::Exchange && leases.iter().any(|lease| lease.purpose == Purpose::Exchange) {
            return Err(Error::Unavailable);
        }
        if leases.len() >= MOST_LEASES {
            return Err(Error::Limit("leases on an account"));
        }
        leases.push(Lease { purpose, holder, until: now + time });
        Ok(false)
    }

    fn release(&self, id: AccountId, holder: Holder) {
        let mut table = lock(&self.table);
        if let Some(leases) = table.get_mut(&id) {
            leases.retain(|lease| lease.holder != holder);
            if leases.is_empty() {
                table.remove(&id);
            }
        }
    }

    fn has(&self, id: AccountId, is_meant: impl Fn(&Lease) -> bool) -> bool {
        let now = Instant::now();
        lock(&self.table).get(&id).is_some_and(|leases| leases.iter().any(|lease| lease.until > now && is_meant(lease)))
    }

    /// True while somebody copies the account.
    pub fn is_copied(&self, id: AccountId) -> bool {
        self.has(id, |lease| lease.purpose == Purpose::Backup)
    }

    /// True while the account's files are being exchanged.
    pub fn is_parked(&self, id: AccountId) -> bool {
        self.has(id, |lease| lease.purpose == Purpose::Exchange)
    }
}

impl MailStore {
    /// Begins or renews a lease. When a lease for a backup is answered no content goes any more. One for an exchange
    /// keeps everybody from opening the account; after it come the end of the sessions and [`MailStore::retire`].
    /// True: it was held already, without a gap. With the disk nearly full nobody may stop the sweep.
    pub async fn hold(&self, id: AccountId, purpose: Purpose, holder: Holder, time: Duration) -> Result<bool> {
        if purpose == Purpose::Backup && self.is_disk_low() {
            return Err(Error::DiskFull);
        }
        let was_held = self.shared.leases.take(id, purpose, holder, time)?;
        let account = lock(&self.shared.accounts).get(&id).cloned();
        if let Some(account) = account.filter(|_| !was_held && purpose == Purpose::Backup) {
            // A turn that began before the lease may be sweeping; behind it in the queue nothing sweeps.
            account.order(|_| Ok(())).await?;
        }
        Ok(was_held)
    }

    /// Ends a lease.
    pub fn release(&self, id: AccountId, holder: Holder) {
        self.shared.leases.release(id, holder);
    }

    /// Ends all use of an account: handles that are still out there are refused from now on. Blocks until the last
    /// visit has left and all files are closed.
    pub fn retire(&self, id: AccountId) {
        let account = {
            let _opening = lock(&self.shared.opening);
            lock(&self.shared.accounts).remove(&id)
        };
        if let Some(account) = account {
            account.gate.shut();
            account.close_connections();
        }
    }

    /// Puts the files staged for an account in its place, in one step that a crash cannot halve. Gives the name under
    /// which the old ones are kept, if there were any. The holder must have the account parked and retired.
    pub fn exchange(&self, id: AccountId, holder: Holder, kept: Kept) -> Result<Option<String>> {
        let _opening = lock(&self.shared.opening);
        let is_parked =
            self.shared.leases.has(id, |lease| lease.purpose == Purpose::Exchange && lease.holder == holder);
        if !is_parked || lock(&self.shared.accounts).contains_key(&id) {
            return Err(Error::Unavailable);
        }
        Ok(exchange::exchange(&self.shared.data_dir, id, kept, self.shared.clock.now_secs())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::clock::Clock;
    use crate::mailstore::{Account, NewMessage, Options, RemovedFilter};
    use crate::types::{FlagSet, MailboxName, UidRuns};

    const ONE: AccountId = AccountId(1);
    const ANNA: Holder = Holder { process: 7, number: 1 };
    const BERT: Holder = Holder { process: 8, number: 1 };

    #[test]
    fn a_lease_ends_by_itself_and_its_holder_is_told_of_the_gap() {
        let leases = Leases::default();
        assert_eq!(leases.take(ONE, Purpose::Backup, ANNA, Duration::ZERO), Ok(false));
        assert!(!leases.is_copied(ONE), "over at once");
        assert_eq!(leases.take(ONE, Purpose::Backup, ANNA, LEASE_TIME), Ok(false), "there was a gap");
        assert_eq!(leases.take(ONE, Purpose::Backup, ANNA, LEASE_TIME), Ok(true));
        assert_eq!(leases.take(ONE, Purpose::Backup, BERT, LEASE_TIME), Ok(false));
        leases.release(ONE, ANNA);
        assert!(leases.is_copied(ONE), "the other is still at work");
        leases.release(ONE, BERT);
        assert!(!leases.is_copied(ONE));
        assert!(lock(&leases.table).is_empty());
    }

    #[test]
    fn only_one_at_a_time_exchanges() {
        let leases = Leases::default();
        assert_eq!(leases.take(ONE, Purpose::Exchange, ANNA, LEASE_TIME), Ok(false));
        assert_eq!(leases.take(ONE, Purpose::Exchange, BERT, LEASE_TIME), Err(Error::Unavailable));
        assert_eq!(leases.take(AccountId(2), Purpose::Exchange, BERT, LEASE_TIME), Ok(false));
        assert!(leases.is_parked(ONE) && !leases.is_copied(ONE));
        for number in 0..2 * MOST_LEASES as u64 {
            let holder = Holder { process: 9, number };
            let taken = leases.take(ONE, Purpose::Backup, holder, LEASE_TIME);
            assert_eq!(taken.is_ok(), number + 1 < MOST_LEASES as u64);
        }
    }

    fn open(home: &tempfile::TempDir, clock: &Clock) -> MailStore {
        let options = Options { clock: clock.clone(), min_free_bytes: 0, ..Options::default() };
        MailStore::open(home.path(), options).expect("opens")
    }

    async fn place(account: &Account, octets: usize) {
        let mut draft = account.draft();
        draft.write(&vec![b'x'; octets]).await.expect("taken");
        let prepared = draft.finish().await.expect("taken");
        let message = NewMessage { prepared, flags: FlagSet::new(), internal_date: None };
        account.place(&MailboxName::inbox(), vec![message]).await.expect("placed");
    }

    #[tokio::test]
    async fn no_content_goes_while_a_backup_holds_the_account() {
        let (home, clock) = (tempfile::tempdir().expect("a folder"), Clock::fixed(1_800_000_000));
        let store = open(&home, &clock);
        let account = store.account(ONE).await.expect("opens");
        place(&account, 300_000).await;
        let view = account.open(&MailboxName::inbox(), false).await.expect("opens");
        view.move_to_mailbox(UidRuns::one(1), &MailboxName::new("Trash").expect("a name")).await.expect("moved");
        drop(view);
        account.delete(&MailboxName::new("Trash").expect("a name")).await.expect("deleted");
        clock.advance(30 * 86_400);
        assert_eq!(store.hold(ONE, Purpose::Backup, ANNA, LEASE_TIME).await, Ok(false));
        let swept = account.sweep(3600).await.expect("swept");
        assert_eq!((swept.messages, swept.contents), (0, 0));
        assert_eq!(store.hold(ONE, Purpose::Backup, ANNA, LEASE_TIME).await, Ok(true));
        store.release(ONE, ANNA);
        let swept = account.sweep(3600).await.expect("swept");
        assert_eq!((swept.messages, swept.contents, swept.files), (2, 1, 1));
    }

    #[tokio::test]
    async fn old_handles_never_touch_the_files_that_took_the_place() {
        let (home, clock) = (tempfile::tempdir().expect("a folder"), Clock::System);
        let store = open(&home, &clock);
        let account = store.account(ONE).await.expect("opens");
        place(&account, 100).await;
        let view = account.open(&MailboxName::inbox(), false).await.expect("opens");
        // A second store's account becomes the new one.
        let other = tempfile::tempdir().expect("a folder");
        let elsewhere = open(&other, &clock);
        elsewhere.account(ONE).await.expect("opens");
        elsewhere.close();
        let accounts = home.path().join("accounts");
        std::fs::rename(other.path().join("accounts/1"), accounts.join("1.staged")).expect("moved");

        assert_eq!(store.exchange(ONE, ANNA, Kept::Replaced), Err(Error::Unavailable), "not parked");
        assert_eq!(store.hold(ONE, Purpose::Exchange, ANNA, LEASE_TIME).await, Ok(false));
        assert_eq!(store.account(ONE).await.err(), Some(Error::Unavailable));
        assert_eq!(store.exchange(ONE, ANNA, Kept::Replaced), Err(Error::Unavailable), "not retired");
        let retired = store.clone();
        tokio::task::spawn_blocking(move || retired.retire(ONE)).await.expect("retired");
        assert_eq!(store.exchange(ONE, BERT, Kept::Replaced), Err(Error::Unavailable), "not his");
        let kept = store.exchange(ONE, ANNA, Kept::Replaced).expect("exchanged").expect("there was one");
        assert!(accounts.join(kept).join("mail.db").exists());
        store.release(ONE, ANNA);

        assert_eq!(view.expunge(None).await, Err(Error::Unavailable));
        assert_eq!(account.removed(RemovedFilter::default(), 1).await.err(), Some(Error::Unavailable));
        let anew = store.account(ONE).await.expect("opens");
        assert_eq!(anew.status(&MailboxName::inbox()).await.expect("told").messages, 0);
        assert_eq!(store.check(ONE).await.expect("checked").problems, Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_database_that_is_gone_is_not_made_afresh_over_bodies() {
        let (home, clock) = (tempfile::tempdir().expect("a folder"), Clock::System);
        let store = open(&home, &clock);
        place(&store.account(ONE).await.expect("opens"), 300_000).await;
        store.close();
        let database = home.path().join("accounts/1/mail.db");
        for is_empty in [true, false] {
            let gone = if is_empty { std::fs::write(&database, "") } else { std::fs::remove_file(&database) };
            gone.expect("gone");
            let store = open(&home, &clock);
            assert!(matches!(store.account(ONE).await.err(), Some(Error::Fault(_))));
            store.close();
        }
    }
}
