//! What a run of the server may be asked to do besides serving: `serve` adds nothing, `try` fills the store first and
//! tells where the doors are.

use std::future::Future;

use crate::config::Listen;
use crate::mailstore::MailStore;
use crate::mailstore::directory::Directory;

/// What somebody adds to a run of the server.
pub trait Occasion {
    /// Runs before the doors open. Dropped at its next wait when the server is told to stop meanwhile; an error, a
    /// sentence for a person, ends the run.
    fn prepare(&self, directory: &Directory, store: &MailStore) -> impl Future<Output = Result<(), String>>;

    /// A door cannot be opened, and why: true lets all of them go to whatever ports are free.
    fn moves(&self, reason: &str) -> bool;

    /// The doors are open, with these real addresses.
    fn ready(&self, doors: &[Listen]);

    /// Whether SIGHUP, which a terminal sends when it goes, ends the run instead of reading the configuration again.
    fn ends_with_its_terminal(&self) -> bool;
}

/// Nothing special.
pub(super) struct Plain;

impl Occasion for Plain {
    async fn prepare(&self, _: &Directory, _: &MailStore) -> Result<(), String> {
        Ok(())
    }

    fn moves(&self, _: &str) -> bool {
        false
    }

    fn ready(&self, _: &[Listen]) {}

    fn ends_with_its_terminal(&self) -> bool {
        false
    }
}
