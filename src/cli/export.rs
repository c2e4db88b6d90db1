//! `pillarbox export maildir` and `mbox`: a user's mail as files that other programs read.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::progress::Progress;
use super::source::with_account;
use super::{Failure, Place};
use crate::transfer::outlet::Outlet;
use crate::transfer::talk::MailboxLine;
use crate::transfer::{Stopped, Tally, Watch, maildir, mbox};

#[derive(Debug, Subcommand)]
pub(super) enum ExportCommand {
    /// Write a Maildir++ with Dovecot's lists of UIDs, keywords and subscriptions beside it
    Maildir {
        user: String,
        /// A new or empty directory
        directory: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Write one mbox for each mailbox
    Mbox {
        user: String,
        /// A new or empty directory
        directory: PathBuf,
        #[command(flatten)]
        place: Place,
    },
}

type Write = fn(&Path, &[MailboxLine], &mut Outlet, &mut dyn Watch) -> Result<Tally, Stopped>;

pub(super) fn obey(command: ExportCommand) -> Result<(), Failure> {
    match command {
        ExportCommand::Maildir { user, directory, place } => export(&user, &directory, &place, maildir::export::export),
        ExportCommand::Mbox { user, directory, place } => export(&user, &directory, &place, mbox::export::export),
    }
}

fn export(user: &str, directory: &Path, place: &Place, write: Write) -> Result<(), Failure> {
    let config = place.load()?;
    match std::fs::read_dir(directory).map(|mut entries| entries.next().is_none()) {
        Ok(true) => {}
        Ok(false) => {
            let text = format!("{} holds other things; name a new or empty directory", directory.display());
            return Err(Failure::Failed(text));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(Failure::Failed(format!("{}: {error}", directory.display()))),
    }
    let ended = with_account(&config, user, |line| {
        let mut progress = Progress::new().ended_by_interrupt("begin again in another directory");
        let mut outlet = Outlet::new(line);
        let outcome = outlet.list().and_then(|mailboxes| write(directory, &mailboxes, &mut outlet, &mut progress));
        match outcome {
            Ok(tally) => progress.end("written:", tally, Ok(())),
            Err(stopped) => Err(format!("{stopped}; what is in {} is not whole", directory.display())),
        }
    })?;
    ended.map_err(Failure::Failed)
}
