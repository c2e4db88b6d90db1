//! What the service manager is told (sd_notify(3)): ready, reloading, stopping, how it goes, and that the server is
//! alive. Without one (no NOTIFY_SOCKET) nothing is said and nothing is done.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tracing::{debug, error};

use crate::imap::Host;
use crate::mailstore::directory::Directory;
use crate::types::AccountId;

/// How often the line of `systemctl status` is brought up to date.
const STATUS_EVERY: Duration = Duration::from_secs(30);
/// What a stop may take beyond the patience for sessions: closing the mail store.
const CLOSING: Duration = Duration::from_secs(60);

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "the service manager cannot be told");
    }
}

/// All doors are open, or a reload is over; `status` is for people.
pub(super) fn tell_ready(status: &str) {
    tell(&[NotifyState::Status(status), NotifyState::Ready]);
}

/// Configuration and certificate are being read; [`tell_ready`] follows, whatever comes of it.
pub(super) fn tell_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The doors are closed; sessions have `patience` to finish.
pub(super) fn tell_stopping(patience: Duration, sessions: usize) {
    let most = u32::try_from((patience + CLOSING).as_micros()).unwrap_or(u32::MAX);
    let status = format!("stopping, {sessions} sessions are told to end");
    tell(&[NotifyState::Stopping, NotifyState::Status(&status), NotifyState::ExtendTimeoutUsec(most)]);
}

/// Says that the server is alive as long as it can read what it stores, and how many sessions there are. Never ends.
pub(super) async fn attend(host: Arc<Host>, directory: Arc<Directory>) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return std::future::pending().await;
    }
    // Three times within the time, so that one slow look is no reason to be killed.
    let watchdog = sd_notify::watchdog_enabled().map(|within| within / 3);
    let every = watchdog.unwrap_or(STATUS_EVERY).min(STATUS_EVERY);
    let mut told = None;
    loop {
        tokio::time::sleep(every).await;
        match look(&host, directory.clone()).await {
            Ok(()) if watchdog.is_some() => tell(&[NotifyState::Watchdog]),
            Ok(()) => {}
            // A server that cannot read its store serves nobody: it is not said to be alive.
            Err(text) => {
                error!("what is stored cannot be read: {text}");
                tell(&[NotifyState::Status(&format!("what is stored cannot be read: {text}"))]);
                told = None;
                continue;
            }
        }
        let sessions = host.sessions.count();
        if told.replace(sessions) != Some(sessions) {
            tell(&[NotifyState::Status(&format!("serving, {sessions} sessions"))]);
        }
    }
}

/// One reading from the mail store and one from the directory of users, each the way sessions take.
pub(super) async fn look(host: &Host, directory: Arc<Directory>) -> Result<(), String> {
    host.store.pulse().await.map_err(|error| error.to_string())?;
    let read = tokio::task::spawn_blocking(move || directory.is_removed(AccountId(0))).await;
    match read {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
