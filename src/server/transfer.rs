//! What moving mail in and out needs of the server: the answer to the question on the control socket, and the same work
//! on a data directory on which no server runs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// Serves a transfer that was asked for on the control socket, until the asker hangs up.
pub(super) async fn answer(
    (store, data_dir, config): (MailStore, PathBuf, Arc<Config>),
    user: String,
    stream: Stream,
) -> io::Result<()> {
    let name = user.clone();
    let found = tokio::task::spawn_blocking(move || find(&data_dir, &config, &name)).await.map_err(io::Error::other)?;
    let account = match found {
        Ok(id) => store.account(id).await.map_err(|error| error.to_string()),
        Err(reason) => Err(reason),
    };
    match account {
        Ok(account) => {
            info!(user = ?user, "a transfer begins");
            let (reader, writer) = stream.begin().await?;
            let served = host::serve(&store, &account, reader, writer).await;
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
    tokio::spawn(async move { host::serve(&store, &account, reader, writer).await });
    let reader = ours.try_clone()?;
    Ok(Line::new(Box::new(reader), Box::new(ours)))
}
