//! What `pillarbox deliver` needs of the server: the answer to its question on the control socket, and the same work on
//! a data directory on which no server runs.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::store_options;
use crate::config::Config;
use crate::control::Reply;
use crate::control::service::{Asked, Message};
use crate::lmtp::{Host, Local, Order, Refusal, Rooms};
use crate::login::Sessions;
use crate::mailstore::MailStore;
use crate::mailstore::directory::Directory;
use crate::mailstore::lock::{self, DataLock, LockError};

/// Why a message was not delivered while no server runs.
#[derive(Debug)]
pub enum Undelivered {
    /// Somebody else has the data directory just now: a server that starts, or another delivery.
    Held,
    Refused(Refusal),
    /// The message could not be read.
    Input(io::Error),
    /// This user may not use the data directory.
    NotAllowed(String),
    Trouble(String),
}

/// Takes a message from the control socket and delivers it.
pub(super) async fn answer(host: Arc<Host>, asked: Asked, mut message: Message) -> Reply {
    let Asked { user, mailbox, sender } = asked;
    let order = Order { recipient: user, mailbox, sender };
    let mut local = match Box::pin(Local::begin(&host, &order)).await {
        Ok(local) => local,
        Err(refusal) => return told(&refusal),
    };
    message.ask().await;
    loop {
        match message.next().await {
            Ok(Some(piece)) => local.write(&piece).await,
            Ok(None) => break,
            // Half a message is none.
            Err(error) => return Reply::Failed(format!("the message did not come to its end: {error}")),
        }
    }
    match local.finish().await {
        Ok(sentence) => Reply::Done(sentence),
        Err(refusal) => told(&refusal),
    }
}

fn told(refusal: &Refusal) -> Reply {
    Reply::Undelivered { exit: refusal.exit_code(), reason: refusal.reply().text.into_owned() }
}

/// Delivers one message while no server runs. `next` gives its pieces, and `None` at its end. Blocks.
pub fn deliver_at_rest(
    config: &Config,
    order: &Order,
    next: &mut dyn FnMut() -> io::Result<Option<Vec<u8>>>,
) -> Result<String, Undelivered> {
    let trouble = |error: &dyn std::fmt::Display| Undelivered::Trouble(error.to_string());
    let data_dir = lock::find(&config.data_dir).map_err(of_lock)?;
    // Before anything is read: without it the message is still whole for another try.
    let _lock = DataLock::take(&data_dir).map_err(of_lock)?;
    let directory = Directory::open_existing(&data_dir).map_err(|error| trouble(&error))?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| trouble(&error))?;
    let store = MailStore::open(&data_dir, store_options(config)).map_err(|error| trouble(&error))?;
    let config = Arc::new(ArcSwap::from_pointee(config.clone()));
    let rooms = Rooms { store: store.clone(), directory: Arc::new(directory) };
    let host = Arc::new(Host::new(rooms, Sessions::new(config.clone()), config));
    let outcome = runtime.block_on(async {
        let mut local = Local::begin(&host, order).await.map_err(Undelivered::Refused)?;
        while let Some(piece) = next().map_err(Undelivered::Input)? {
            local.write(&piece).await;
        }
        local.finish().await.map_err(Undelivered::Refused)
    });
    store.close();
    outcome
}

fn of_lock(error: LockError) -> Undelivered {
    match error {
        LockError::Held { .. } => Undelivered::Held,
        LockError::Trouble { error: cause, .. } if cause.kind() == io::ErrorKind::PermissionDenied => {
            Undelivered::NotAllowed(cause.to_string())
        }
        other => Undelivered::Trouble(other.to_string()),
    }
}
