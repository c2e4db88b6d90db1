//! Where mail is kept: accounts, mailboxes, messages, flags, bodies. This is the front door: questions
//! and orders in IMAP's terms, owned values in, owned values out. Each order is one transaction, and
//! when it returns its change would survive a power cut. No SQL, path or connection leaves this room.

mod account;
mod across;
pub mod aliases;
mod arrive;
pub mod backup;
mod binary;
mod blobs;
mod care;
mod changes;
mod check;
mod commit;
mod connection;
mod copy;
pub mod crash;
pub mod directory;
mod draft;
mod error;
mod events;
mod exchange;
mod expunge;
mod flagsets;
mod follow;
mod gate;
mod gather;
mod import;
mod kept_orders;
mod lease;
pub mod lock;
mod mailboxes;
mod migrate;
mod object_ids;
mod orders;
mod owner;
mod pages;
mod place;
mod quota;
mod reading;
mod received;
mod recount;
pub mod repair;
pub mod restore;
mod retention;
mod retold;
mod search;
mod shared;
mod snapshot;
mod space;
mod store_flags;
mod streams;
mod sweep;
pub mod take_in;
mod traces;
mod turn;
mod undelete;
mod view;

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use account::AccountState;
use care::Care;
use owner::lock as guard;
use shared::Shared;

pub use account::Mailbox;
pub use care::wait_for;
pub use check::Findings;
pub use copy::Copied;
pub use draft::{Draft, Prepared};
pub use error::{Error, Result};
pub use events::{Event, Kinds, News, What};
pub use exchange::{Kept, compact_time, is_pending, staged_dir};
pub use flagsets::{Interned, Table as FlagTable};
pub use follow::{Followed, Following, SourceId};
pub use gather::{Gather, Sorted, Sorting, Threading};
pub use import::{Adopt, Adopted, ImportKey, ImportOutcome, ImportedBatch, ImportedMessage};
pub use kept_orders::KeptOrder;
pub use lease::{Holder, LEASE_TIME, Purpose};
pub use mailboxes::Created;
pub use orders::{Listed, Status};
pub use pages::{Decoded, PAGE_BYTES, Page, PageRow, Piece, Wanted, WantedBinary, WantedSection, without_nul};
pub use place::{NewMessage, Placed};
pub use quota::{QuotaLimits, Usage};
pub use reading::Dates;
pub use received::Received;
pub use retention::EmptyAfter;
pub use shared::Options;
pub use snapshot::{Membership, Row};
pub use space::make_room_to_start;
pub use store_flags::{FlagsSet, SetFlags};
pub use streams::{BodyStream, DecodedPart, DecodedStream};
pub use sweep::Swept;
pub use turn::{ModSeqs, TreeChangeKind};
pub use undelete::{RemovedFilter, RemovedMessage, Undeleted};
pub use view::{Changes, View};

use crate::hub::Hub;
use crate::types::AccountId;

/// The store of one data directory. Whoever opens it holds the directory's lock.
#[derive(Clone)]
pub struct MailStore {
    shared: Arc<Shared>,
    care: Arc<Care>,
}

/// A cheap handle to one account.
#[derive(Debug, Clone)]
pub struct Account {
    state: Arc<AccountState>,
}

impl MailStore {
    /// Opens the store below `data_dir`, which exists and is ours alone.
    pub fn open(data_dir: &Path, options: Options) -> Result<Self> {
        let data_dir = data_dir.canonicalize()?;
        blobs::make_dir(&data_dir.join("accounts"))?;
        exchange::finish_all(&data_dir)?;
        let key = hash_key(&data_dir)?;
        let shared = Arc::new(Shared::new(data_dir, options, Hub::new(), key)?);
        let care = Arc::new(Care::start(shared.clone())?);
        Ok(MailStore { shared, care })
    }

    /// The account with this number; its store is made at the first use.
    pub async fn account(&self, id: AccountId) -> Result<Account> {
        if self.shared.is_closing.load(Ordering::Acquire) || self.shared.leases.is_parked(id) {
            return Err(Error::Unavailable);
        }
        let known = guard(&self.shared.accounts).get(&id).cloned();
        let state = match known {
            Some(state) => state,
            None => {
                let (reply, answer) = tokio::sync::oneshot::channel();
                let shared = self.shared.clone();
                self.shared.writers.run(move || {
                    let _ = reply.send(open_account(&shared, id));
                });
                answer.await.unwrap_or(Err(Error::Unavailable))?
            }
        };
        let account = Account { state };
        if account.state.tree().count() == 0 {
            account.furnish().await?;
        }
        Ok(account)
    }

    /// The accounts that have a store.
    pub fn accounts(&self) -> Result<Vec<AccountId>> {
        Ok(backup::accounts_in(&self.shared.data_dir)?)
    }

    /// True when the account's store was made.
    pub fn has_account(&self, id: AccountId) -> bool {
        self.shared.account_dir(id).join("mail.db").exists()
    }

    /// Reads a few octets from the disk on a thread that answers sessions' questions: whether the store is alive.
    pub async fn pulse(&self) -> Result<()> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let path = self.shared.data_dir.join("hash.key");
        self.shared.readers.run(move || {
            let _ = reply.send(fs::read(path).map(|_| ()).map_err(Error::from));
        });
        answer.await.unwrap_or(Err(Error::Unavailable))
    }

    /// Verifies every invariant of an account.
    pub async fn check(&self, id: AccountId) -> Result<Findings> {
        let account = self.account(id).await?;
        let state = account.state.clone();
        draft::on_writer(&account.state, move || state.with_reader(|conn| check::check(&state, conn))).await
    }

    /// The same for a caller that has no runtime.
    pub fn check_now(&self, id: AccountId) -> Result<Findings> {
        care::wait_for(self.check(id))
    }

    /// Puts other configured limits in force, for all accounts that have none of their own.
    pub fn set_quota_defaults(&self, limits: QuotaLimits) {
        self.shared.set_quota_defaults(limits);
    }

    /// True when so little disk is left that what grows is refused.
    pub fn is_disk_low(&self) -> bool {
        self.shared.space.is_low()
    }

    /// Octets free for us on the disk; the reading is a moment old.
    pub fn free_bytes(&self) -> u64 {
        self.shared.space.free_bytes()
    }

    /// Accounts whose store is open just now.
    pub fn accounts_open(&self) -> usize {
        guard(&self.shared.accounts).len()
    }

    pub fn hub(&self) -> &Arc<Hub> {
        &self.shared.hub
    }

    /// SQLite connections open just now.
    pub fn open_connections(&self) -> usize {
        self.shared.open_connections()
    }

    /// Memory that hot columns take just now, in bytes.
    pub fn snapshot_bytes(&self) -> i64 {
        self.shared.chunks.held_bytes()
    }

    /// Takes no more orders, writes every WAL back, and closes all files.
    pub fn close(&self) {
        self.shared.is_closing.store(true, Ordering::Release);
        self.care.stop();
        let accounts: Vec<_> = guard(&self.shared.accounts).drain().map(|(_, account)| account).collect();
        for account in accounts {
            if !self.shared.options.external_checkpoints
                && account.wal_bytes() > 0
                && let Err(error) = care::checkpoint(&account, true)
            {
                tracing::warn!(account = account.id.0, %error, "the WAL could not be written back");
            }
            account.close_connections();
        }
        self.shared.readers.close();
        self.shared.scanners.close();
        self.shared.writers.close();
    }
}

/// The key for hashing Message-IDs, made once for a data directory.
fn hash_key(data_dir: &Path) -> Result<[u8; 16]> {
    let path = data_dir.join("hash.key");
    if let Ok(octets) = fs::read(&path)
        && let Ok(key) = octets.try_into()
    {
        return Ok(key);
    }
    let mut key = [0u8; 16];
    getrandom::fill(&mut key).map_err(|error| Error::Fault(error.to_string()))?;
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    std::io::Write::write_all(&mut file, &key)?;
    file.sync_all()?;
    blobs::sync_dir(data_dir)?;
    Ok(key)
}

fn open_account(shared: &Arc<Shared>, id: AccountId) -> Result<Arc<AccountState>> {
    if let Some(state) = guard(&shared.accounts).get(&id) {
        return Ok(state.clone());
    }
    // One at a time: two that open the same new account at once would both want to make it.
    let _opening = guard(&shared.opening);
    if let Some(state) = guard(&shared.accounts).get(&id) {
        return Ok(state.clone());
    }
    // Half exchanged, which only a failing disk leaves in a running server: the next start finishes it.
    if shared.leases.is_parked(id) || exchange::is_pending(&shared.data_dir, id) {
        return Err(Error::Unavailable);
    }
    let dir = shared.account_dir(id);
    blobs::make_dir(&dir)?;
    let tmp = dir.join("tmp");
    blobs::make_dir(&tmp)?;
    // Nobody of this process writes there yet, and nobody else may: what is left are drafts of a process that died.
    for draft in fs::read_dir(&tmp)?.flatten() {
        let _ = fs::remove_file(draft.path());
    }
    refuse_to_start_over(&dir, id)?;
    let conn = migrate::open(&dir.join("mail.db"))?;
    let state = Arc::new(AccountState::read(id, dir, shared.clone(), conn)?);
    guard(&shared.accounts).insert(id, state.clone());
    Ok(state)
}

/// A `mail.db` that is gone must not be made afresh over bodies that are there: the sweep would take them all.
fn refuse_to_start_over(dir: &Path, id: AccountId) -> Result<()> {
    let is_gone = fs::metadata(dir.join("mail.db")).map_or(true, |file| file.len() == 0);
    let has_files = |shelf: fs::DirEntry| fs::read_dir(shelf.path()).is_ok_and(|mut files| files.next().is_some());
    if is_gone && fs::read_dir(dir.join("blobs")).is_ok_and(|shelves| shelves.flatten().any(has_files)) {
        return Err(Error::Fault(format!(
            "the database of account {id} is gone, but bodies are there; see `pillarbox check --repair` and `restore`"
        )));
    }
    Ok(())
}
