//! What all accounts of a store share: the threads, the clock, the hub, the caches and their bounds.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::account::AccountState;
use super::kept_orders::KeptOrders;
use super::lease::Leases;
use super::owner::{Pool, lock};
use super::quota::QuotaLimits;
use super::retention::EmptyAfter;
use super::snapshot::ChunkCache;
use super::space::Space;
use crate::clock::Clock;
use crate::hub::Hub;
use crate::types::AccountId;

/// The bounds and rules a store is opened with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Memory for hot columns over all accounts, in bytes.
    pub snapshot_bytes: u64,
    /// Under so many free bytes what grows is refused.
    pub min_free_bytes: u64,
    /// SQLite connections kept open over all accounts.
    pub account_connections: usize,
    /// How long an expunged message is kept, in seconds; never under an hour.
    pub keep_removed_secs: i64,
    /// Mailboxes that empty themselves; none by default.
    pub empty_after: Vec<EmptyAfter>,
    /// Most keywords in one mailbox.
    pub keywords_per_mailbox: usize,
    /// Most mailboxes in one account.
    pub mailboxes: usize,
    /// Most messages in one mailbox's memory of expunges, in ranges (QRESYNC).
    pub expunged_ranges: u32,
    /// Mailboxes a new account begins with besides INBOX, each with its special-use attribute or "".
    pub new_account_mailboxes: Vec<(String, String)>,
    /// Threads for reading; 0: as many as cores, at least 2.
    pub reader_threads: usize,
    /// What an account may use, unless it has limits of its own.
    pub quota: QuotaLimits,
    /// True leaves checkpoints to a tool that streams the WAL away.
    pub external_checkpoints: bool,
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        let folder = |name: &str| (name.to_string(), format!("\\{name}"));
        Options {
            snapshot_bytes: 64 << 20,
            min_free_bytes: 256 << 20,
            account_connections: 512,
            keep_removed_secs: 7 * 86_400,
            empty_after: Vec::new(),
            keywords_per_mailbox: 1000,
            mailboxes: 100_000,
            expunged_ranges: 100_000,
            new_account_mailboxes: ["Drafts", "Sent", "Trash", "Junk", "Archive"].map(folder).to_vec(),
            reader_threads: 0,
            quota: QuotaLimits::default(),
            external_checkpoints: false,
            clock: Clock::System,
        }
    }
}

/// Threads that write: they mostly wait for the disk.
const WRITER_THREADS: usize = 16;

/// How far the threads of long questions stand back behind the others.
const SCAN_NICENESS: i32 = 5;

/// The common part of all accounts.
#[derive(Debug)]
pub struct Shared {
    pub data_dir: PathBuf,
    pub options: Options,
    pub clock: Clock,
    pub hub: Arc<Hub>,
    pub chunks: ChunkCache,
    pub kept_orders: KeptOrders,
    pub space: Space,
    pub readers: Pool,
    /// For questions that read much and compute long: text search, sorting, checks.
    pub scanners: Pool,
    pub writers: Pool,
    pub accounts: Mutex<HashMap<AccountId, Arc<AccountState>>>,
    /// Held while an account's files are opened or made.
    pub opening: Mutex<()>,
    /// Who copies or exchanges which account.
    pub leases: Leases,
    pub is_closing: AtomicBool,
    quota_defaults: RwLock<QuotaLimits>,
    open_connections: AtomicUsize,
    /// The key under which Message-IDs are hashed, so that nobody can make them collide.
    pub hash_key: [u8; 16],
}

impl Shared {
    pub fn new(data_dir: PathBuf, options: Options, hub: Arc<Hub>, hash_key: [u8; 16]) -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let readers = if options.reader_threads > 0 { options.reader_threads } else { cores.max(2) };
        Ok(Shared {
            chunks: ChunkCache::new(options.snapshot_bytes),
            kept_orders: KeptOrders::default(),
            space: Space::new(&data_dir, options.min_free_bytes),
            readers: Pool::new("store-read", readers)?,
            scanners: Pool::with_niceness("store-scan", readers, SCAN_NICENESS)?,
            writers: Pool::new("store-write", WRITER_THREADS)?,
            accounts: Mutex::default(),
            opening: Mutex::default(),
            leases: Leases::default(),
            is_closing: AtomicBool::new(false),
            quota_defaults: RwLock::new(options.quota),
            open_connections: AtomicUsize::new(0),
            clock: options.clock.clone(),
            data_dir,
            options,
            hub,
            hash_key,
        })
    }

    pub fn account_dir(&self, id: AccountId) -> PathBuf {
        self.data_dir.join("accounts").join(id.to_string())
    }

    pub fn quota_defaults(&self) -> QuotaLimits {
        *self.quota_defaults.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_quota_defaults(&self, limits: QuotaLimits) {
        *self.quota_defaults.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// Counts a connection; over the bound the accounts that rested longest close theirs.
    pub fn connection_opened(&self, by: AccountId) {
        let open = self.open_connections.fetch_add(1, Ordering::Relaxed) + 1;
        if open <= self.options.account_connections {
            return;
        }
        let mut accounts: Vec<_> = lock(&self.accounts).values().filter(|a| a.id != by).cloned().collect();
        accounts.sort_by_key(|a| a.last_touched());
        for account in accounts {
            if self.open_connections.load(Ordering::Relaxed) <= self.options.account_connections {
                break;
            }
            account.close_idle_connections();
        }
    }

    pub fn connections_closed(&self, count: usize) {
        self.open_connections.fetch_sub(count, Ordering::Relaxed);
    }

    pub fn open_connections(&self) -> usize {
        self.open_connections.load(Ordering::Relaxed)
    }
}
