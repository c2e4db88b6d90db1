//! The store's housekeeping thread: checkpoints so that no WAL grows long, sweeps, pages given back,
//! accounts that rest put away. It works in small steps and never holds a lock while it waits.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::account::AccountState;
use super::crash;
use super::error::Result;
use super::owner::lock;
use super::shared::Shared;

/// A WAL over this is checkpointed without disturbing anyone. Starting values, measured in the benchmark.
const PASSIVE_BYTES: u64 = 16 << 20;
/// A WAL over this is cut off, waiting up to [`TRUNCATE_WAIT`] for readers.
const TRUNCATE_BYTES: u64 = 64 << 20;
const TRUNCATE_WAIT: Duration = Duration::from_millis(200);
/// An account at rest for so many seconds with more than this in its WAL is cut off too: opening reads the WAL through.
const REST_SECS: i64 = 5;
const REST_BYTES: u64 = 256 * 1024;
/// Connections that nobody used for so many seconds are closed: an open one costs more memory than ten idle sessions, and
/// opening it again takes about a millisecond, and some room: while the disk is low they stay.
const CLOSE_SECS: i64 = 2;
/// An account nobody uses is put away after so many seconds.
const FORGET_SECS: i64 = 300;
/// How often the sweep looks at each account, in seconds.
const SWEEP_SECS: i64 = 600;
const ROUND: Duration = Duration::from_millis(1000);

/// The housekeeping thread; dropping it does not stop it, [`Care::stop`] does.
#[derive(Debug)]
pub struct Care {
    bell: Arc<(Mutex<bool>, Condvar)>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Care {
    pub fn start(shared: Arc<Shared>) -> std::io::Result<Self> {
        let bell = Arc::new((Mutex::new(false), Condvar::new()));
        let ring = bell.clone();
        // The sweep's orders are futures; this thread waits for them without any runtime of its own.
        let thread = std::thread::Builder::new().name("store-care".into()).spawn(move || {
            let mut swept_at = 0;
            loop {
                let stop = lock(&ring.0);
                let (stop, _) = ring.1.wait_timeout(stop, ROUND).unwrap_or_else(PoisonError::into_inner);
                if *stop {
                    return;
                }
                drop(stop);
                round(&shared, &mut swept_at);
            }
        })?;
        Ok(Care { bell, thread: Mutex::new(Some(thread)) })
    }

    pub fn stop(&self) {
        *lock(&self.bell.0) = true;
        self.bell.1.notify_all();
        if let Some(thread) = lock(&self.thread).take()
            && thread.join().is_err()
        {
            tracing::error!("the store's housekeeping ended in a panic");
        }
    }
}

fn round(shared: &Arc<Shared>, swept_at: &mut i64) {
    let now = shared.clock.now_secs();
    let is_low = shared.space.is_low();
    let is_due = is_low || now - *swept_at >= SWEEP_SECS;
    if is_due {
        *swept_at = now;
    }
    let accounts: Vec<Arc<AccountState>> = lock(&shared.accounts).values().cloned().collect();
    for account in &accounts {
        if shared.is_closing.load(Ordering::Relaxed) {
            return;
        }
        if let Err(error) = tend(account, now, is_due, is_low) {
            tracing::warn!(account = account.id.0, %error, "housekeeping of an account failed");
        }
    }
    drop(accounts);
    if is_due && !is_low {
        shared.space.lay_ballast();
    }
    put_away(shared, now);
}

fn tend(account: &Arc<AccountState>, now: i64, is_sweep_due: bool, is_low: bool) -> Result<()> {
    let is_resting = now - account.last_touched() >= REST_SECS && account.is_quiet();
    // Also at the first rest after opening: one who looks for mail once a day is gone before the next sweep.
    if is_sweep_due || (is_resting && !account.was_emptied.load(Ordering::Relaxed)) {
        account.was_emptied.store(true, Ordering::Relaxed);
        let expired = wait_for(account.empty_old())?;
        if expired > 0 {
            tracing::info!(account = account.id.0, messages = expired, "expunged by the rules on old mail");
        }
    }
    if is_sweep_due {
        // With the disk nearly full what was removed goes at once, oldest first.
        let keep = if is_low { 0 } else { account.shared.options.keep_removed_secs.max(3600) };
        let swept = wait_for(account.sweep(keep))?;
        if swept.contents > 0 || is_low {
            while wait_for(account.give_back_pages())? {
                checkpoint(account, is_low)?;
            }
            checkpoint(account, is_low)?;
        }
        if !is_low && is_resting {
            wait_for(account.unlink_strays())?;
        }
    }
    let wal = account.wal_bytes();
    if account.shared.options.external_checkpoints {
        return Ok(());
    }
    // A backup reads from one snapshot for long; waiting for it with the WAL locked would keep writers waiting.
    let is_copied = account.shared.leases.is_copied(account.id);
    if !is_copied && (wal > TRUNCATE_BYTES || (is_resting && wal > REST_BYTES)) {
        checkpoint(account, true)?;
    } else if wal > PASSIVE_BYTES {
        checkpoint(account, false)?;
    }
    if !is_low && now - account.last_touched() >= CLOSE_SECS && account.is_quiet() {
        account.close_idle_connections();
    }
    Ok(())
}

/// Writes the WAL's pages back into the database, and cuts the WAL off if asked to.
pub fn checkpoint(account: &AccountState, is_cut: bool) -> Result<()> {
    let touched = account.last_touched();
    crash::point("checkpoint.before");
    account.with_reader(|conn| {
        if is_cut {
            conn.busy_timeout(TRUNCATE_WAIT)?;
        }
        let sql = if is_cut { "PRAGMA wal_checkpoint(TRUNCATE)" } else { "PRAGMA wal_checkpoint(PASSIVE)" };
        let done = conn.query_row(sql, [], |row| row.get::<_, i64>(0));
        conn.busy_timeout(Duration::from_millis(5000))?;
        done?;
        Ok(())
    })?;
    crash::point("checkpoint.after");
    account.untouch(touched);
    Ok(())
}

/// Lets go of accounts that nobody holds.
fn put_away(shared: &Shared, now: i64) {
    let mut accounts = lock(&shared.accounts);
    accounts.retain(|_, account| {
        let is_idle = now - account.last_touched() >= FORGET_SECS && account.is_quiet();
        let is_held = Arc::strong_count(account) > 1 || !lock(&account.orphans).is_empty();
        if is_idle && !is_held {
            account.close_connections();
        }
        !is_idle || is_held
    });
}

/// Waits for a store future on a thread of ours.
pub fn wait_for<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::task::Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        std::thread::park();
    }
}
