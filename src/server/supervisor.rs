//! What the service manager is told (sd_notify(3)): ready, reloading, stopping, how it goes, and that the server is
//! alive. Without one (no NOTIFY_SOCKET) nothing is said and nothing is done.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tracing::{debug, error, info, warn};

use crate::care::counted;
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
    let status = format!("stopping, {} told to end", counted(sessions as u64, "session"));
    tell(&[NotifyState::Stopping, NotifyState::Status(&status), NotifyState::ExtendTimeoutUsec(most)]);
}

/// Says that the server is alive as long as it can read what it stores, how many sessions there are, and when the disk
/// is nearly full. Never ends.
pub(super) async fn attend(host: Arc<Host>, directory: Arc<Directory>) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return std::future::pending().await;
    }
    // Three times within the time, so that one slow look is no reason to be killed.
    let watchdog = sd_notify::watchdog_enabled().map(|within| within / 3);
    let every = watchdog.unwrap_or(STATUS_EVERY).min(STATUS_EVERY);
    let mut was_low = false;
    loop {
        tokio::time::sleep(every).await;
        match look(&host, directory.clone()).await {
            Ok(()) if watchdog.is_some() => tell(&[NotifyState::Watchdog]),
            Ok(()) => {}
            // A server that cannot read its store serves nobody: it is not said to be alive.
            Err(text) => {
                error!("what is stored cannot be read: {text}");
                tell(&[NotifyState::Status(&format!("what is stored cannot be read: {text}"))]);
                continue;
            }
        }
        let (is_low, free_bytes) = (host.store.is_disk_low(), host.store.free_bytes());
        match (was_low, is_low) {
            (false, true) => warn!(free_bytes, "the disk is nearly full: no new mail is taken"),
            (true, false) => info!(free_bytes, "the disk has room again: new mail is taken"),
            _ => {}
        }
        was_low = is_low;
        // Every time: what a reload said there must not stay as if it were so now.
        tell(&[NotifyState::Status(&serving(host.sessions.count(), is_low))]);
    }
}

fn serving(sessions: usize, is_disk_low: bool) -> String {
    let but = if is_disk_low { "; the disk is nearly full: no new mail is taken" } else { "" };
    format!("serving, {}{but}", counted(sessions as u64, "session"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_for_people_says_what_somebody_must_do_something_about() {
        assert_eq!(serving(1, false), "serving, 1 session");
        assert_eq!(serving(2, true), "serving, 2 sessions; the disk is nearly full: no new mail is taken");
    }
}
