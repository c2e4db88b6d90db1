//! What moving mail in and out needs of the server: the answer to the question on the control socket, and the same work
//! on a data directory on which no server runs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::info;

use super::store_options;
use crate::config::Config;
use crate::control::service::Stream;
use crate::login::names;
use crate::mailstore::directory::Directory;
use crate::mailstore::lock::{self, DataLock};
use crate::mailstore::{Account, MailStore};
use crate::transfer::host;
use crate::transfer::intake::Line;
use crate::types::AccountId;

/// How long whoever removes a user waits for his transfers to end.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// The transfers under way. When a user is removed his are ended, before his mail may be deleted.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    table: Mutex<Vec<(AccountId, Arc<Notify>)>>,
    left: Condvar,
}

/// A transfer in the table, until it is dropped.
struct Entered {
    transfers: Arc<Transfers>,
    end: Arc<Notify>,
}

impl Transfers {
    fn enter(self: &Arc<Self>, id: AccountId) -> Entered {
        let end = Arc::new(Notify::new());
        self.table.lock().unwrap_or_else(PoisonError::into_inner).push((id, end.clone()));
        Entered { transfers: self.clone(), end }
    }

    /// Tells those of an account to end, and waits until they have; how many. Blocks.
    pub(super) fn end(&self, id: AccountId) -> usize {
        let until = Instant::now() + END_PATIENCE;
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let of_account: Vec<_> = table.iter().filter(|(of, _)| *of == id).map(|(_, end)| end.clone()).collect();
        // Kept for one that does not listen just now.
        of_account.iter().for_each(|end| end.notify_one());
        while table.iter().any(|(of, _)| *of == id) {
            let Some(rest) = until.checked_duration_since(Instant::now()) else { break };
            table = self.left.wait_timeout(table, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
        of_account.len()
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut table = self.transfers.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.retain(|(_, end)| !Arc::ptr_eq(end, &self.end));
        self.transfers.left.notify_all();
    }
}

/// What a transfer is answered with.
#[derive(Clone)]
pub(super) struct Desk {
    pub store: MailStore,
    pub data_dir: PathBuf,
    pub config: Arc<Config>,
    pub transfers: Arc<Transfers>,
}

impl Desk {
    /// The user's account, in the table.
    async fn enter(&self, user: &str) -> Result<(Account, Entered), String> {
        let id = self.look_up(user).await?;
        let entered = self.transfers.enter(id);
        // Who was removed before he stood in the table was not told to end: opening his account now would leave
        // files of nobody.
        if self.look_up(user).await? != id {
            return Err(format!("{user} was removed"));
        }
        let account = self.store.account(id).await.map_err(|error| error.to_string())?;
        Ok((account, entered))
    }

    async fn look_up(&self, user: &str) -> Result<AccountId, String> {
        let (desk, user) = (self.clone(), user.to_owned());
        let found = tokio::task::spawn_blocking(move || find(&desk.data_dir, &desk.config, &user)).await;
        found.map_err(|error| error.to_string())?
    }
}

/// Serves a transfer that was asked for on the control socket, until the asker hangs up or its user is removed.
pub(super) async fn answer(desk: Desk, user: String, stream: Stream) -> io::Result<()> {
    match desk.enter(&user).await {
        Ok((account, entered)) => {
            info!(user = ?user, "a transfer begins");
            let (reader, writer) = stream.begin().await?;
            let served = host::serve(&desk.store, &account, reader, writer, &entered.end).await;
            info!(user = ?user, "a transfer ended");
            served
        }
        Err(reason) => stream.refuse(reason).await,
    }
}

fn find(data_dir: &Path, config: &Config, user: &str) -> Result<AccountId, String> {
    let directory = Directory::open_existing(data_dir).map_err(|error| error.to_string())?;
    let found = names::find_user(&directory, user, &config.login.default_domain).map_err(|error| error.to_string())?;
    found.map(|user| user.account).ok_or_else(|| format!("there is no user {user}"))
}

/// Runs `work` with the way to a user's account while no server runs. Blocks.
pub fn at_rest<T>(config: &Config, user: &str, work: impl FnOnce(Line) -> T) -> Result<T, String> {
    let data_dir = lock::find(&config.data_dir).map_err(|error| error.to_string())?;
    let _lock = DataLock::take(&data_dir).map_err(|error| error.to_string())?;
    let id = find(&data_dir, config, user)?;
    let store = MailStore::open(&data_dir, store_options(config)).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let opened = runtime.block_on(store.account(id)).map_err(|error| error.to_string());
    let outcome = opened.and_then(|account| {
        let _inside = runtime.enter();
        let line = beside(&store, &account).map_err(|error| error.to_string())?;
        Ok(work(line))
    });
    // What was told as taken is durable; the other side ended when its stream did.
    drop(runtime);
    store.close();
    outcome
}

/// Serves an account to this same process. Must be called inside the runtime.
pub fn beside(store: &MailStore, account: &Account) -> io::Result<Line> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    theirs.set_nonblocking(true)?;
    let (reader, writer) = tokio::net::UnixStream::from_std(theirs)?.into_split();
    let (store, account) = (store.clone(), account.clone());
    // Whoever is beside the store holds its lock: nobody removes a user meanwhile.
    tokio::spawn(async move { host::serve(&store, &account, reader, writer, &Notify::new()).await });
    let reader = ours.try_clone()?;
    Ok(Line::new(Box::new(reader), Box::new(ours)))
}
