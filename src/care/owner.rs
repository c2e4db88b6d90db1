//! Who owns the data directory: the running server, which is asked over its socket, or this process under the lock.
//! The commands say the same to both. [`Held`] keeps a lease alive while a command works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::counted;
use crate::mailstore::lock::DataLock;
use crate::mailstore::take_in::{TakenIn, Target};
use crate::mailstore::{Holder, Kept, LEASE_TIME, MailStore, Purpose, wait_for};
use crate::types::AccountId;

/// How often a lease is renewed: three times before it would end.
const RENEW_EVERY: Duration = Duration::from_secs(LEASE_TIME.as_secs() / 4);

/// What is asked of whoever owns the data directory. All of it blocks; an error is a sentence for a person.
pub trait Owner: Send + Sync {
    /// Begins or renews a lease on an account. For an exchange its sessions end and its files are closed before this
    /// returns. True: this command had the lease already, without a gap.
    fn hold(&self, account: AccountId, purpose: Purpose) -> Result<bool, String>;
    /// Ends the lease.
    fn release(&self, account: AccountId);
    /// Puts the staged files in the account's place. Gives the name under which the old ones are kept.
    fn exchange(&self, account: AccountId, kept: Kept) -> Result<Option<String>, String>;
    /// Takes in the folders that lie ready beside the account. The sentence says what came where.
    fn take_in(&self, account: AccountId, target: &Target) -> Result<String, String>;
}

/// What was taken in, in a sentence.
pub fn told(taken: &TakenIn) -> String {
    let (messages, folders) = (counted(taken.messages, "message"), counted(taken.folders, "folder"));
    let left_out = match taken.damaged {
        0 => String::new(),
        damaged => format!("; {} damaged in the backup and left out", counted(damaged, "message")),
    };
    format!("{messages} in {folders} came back into {}{left_out}", taken.folder)
}

/// This process is the owner, for as long as this value lives.
pub struct AtRest {
    store: MailStore,
    _lock: DataLock,
}

impl AtRest {
    /// A store that was opened under its directory's lock.
    pub fn new(store: MailStore, lock: DataLock) -> Self {
        AtRest { store, _lock: lock }
    }

    pub fn store(&self) -> &MailStore {
        &self.store
    }
}

impl Drop for AtRest {
    fn drop(&mut self) {
        self.store.close();
    }
}

/// The name under which this process holds leases.
pub fn own_holder() -> Holder {
    Holder { process: std::process::id(), number: 0 }
}

impl Owner for AtRest {
    fn hold(&self, account: AccountId, purpose: Purpose) -> Result<bool, String> {
        let held = wait_for(self.store.hold(account, purpose, own_holder(), LEASE_TIME));
        let was_held = held.map_err(|error| error.to_string())?;
        if purpose == Purpose::Exchange && !was_held {
            self.store.retire(account);
        }
        Ok(was_held)
    }

    fn release(&self, account: AccountId) {
        self.store.release(account, own_holder());
    }

    fn exchange(&self, account: AccountId, kept: Kept) -> Result<Option<String>, String> {
        self.store.exchange(account, own_holder(), kept).map_err(|error| error.to_string())
    }

    fn take_in(&self, account: AccountId, target: &Target) -> Result<String, String> {
        let taken = wait_for(self.store.take_in(account, target.clone()));
        taken.map(|taken| told(&taken)).map_err(|error| error.to_string())
    }
}

/// A lease that is kept alive; dropping this ends it.
pub struct Held {
    owner: Arc<dyn Owner>,
    account: AccountId,
    purpose: Purpose,
    is_broken: Arc<AtomicBool>,
    stop: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Held {
    /// Begins a lease, and a thread that renews it.
    pub fn begin(owner: &Arc<dyn Owner>, account: AccountId, purpose: Purpose) -> Result<Self, String> {
        owner.hold(account, purpose)?;
        let is_broken = Arc::new(AtomicBool::new(false));
        let (stop, stopped) = channel::<()>();
        let (renewed, broken) = (owner.clone(), is_broken.clone());
        let keeper = std::thread::Builder::new().name("lease".into()).spawn(move || {
            while stopped.recv_timeout(RENEW_EVERY) == Err(RecvTimeoutError::Timeout) {
                if renewed.hold(account, purpose) != Ok(true) {
                    broken.store(true, Ordering::Release);
                }
            }
        });
        let keeper = keeper.map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok(Held { owner: owner.clone(), account, purpose, is_broken, stop: Some(stop), keeper: Some(keeper) })
    }

    /// True once a renewal failed: what is under way is in vain.
    pub fn is_lost(&self) -> bool {
        self.is_broken.load(Ordering::Acquire)
    }

    /// Asks once more: true when nobody but us can have changed what the lease is for, from its beginning until now.
    pub fn is_unbroken(&self) -> bool {
        !self.is_lost() && self.owner.hold(self.account, self.purpose) == Ok(true)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(keeper) = self.keeper.take() {
            // A panic there has broken nothing here: the lease ends below or by itself.
            let _ = keeper.join();
        }
        self.owner.release(self.account);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::mailstore::{Options, lock};
    use std::path::Path;

    /// An owner of a data directory in a test.
    pub fn at_rest(data_dir: &Path) -> Arc<AtRest> {
        let data_dir = lock::prepare(data_dir).expect("made");
        let data_lock = DataLock::take(&data_dir).expect("free");
        let options = Options { min_free_bytes: 0, ..Options::default() };
        Arc::new(AtRest::new(MailStore::open(&data_dir, options).expect("opens"), data_lock))
    }

    #[test]
    fn a_lease_is_over_when_it_is_dropped_and_broken_when_it_was_lost() {
        let home = tempfile::tempdir().expect("a folder");
        let owner: Arc<dyn Owner> = at_rest(&home.path().join("data"));
        let one = AccountId(1);
        let held = Held::begin(&owner, one, Purpose::Backup).expect("held");
        assert!(held.is_unbroken());
        owner.release(one);
        assert!(!held.is_unbroken(), "a server that starts anew has forgotten it");
        drop(held);
        assert_eq!(owner.hold(one, Purpose::Backup), Ok(false));
    }
}
