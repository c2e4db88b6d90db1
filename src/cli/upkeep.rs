//! `pillarbox backup` and `pillarbox undelete`: with a running server through it, else under the lock.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Failure, Place, say};
use crate::care::backup::{self, Order};
use crate::care::{AtRest, Owner, Watch, moment, undelete, verify};
use crate::config::Config;
use crate::control::running::Running;
use crate::control::upkeep::Upkeep;
use crate::control::{AskError, Request, client};
use crate::login::names;
use crate::mailstore::backup::accounts_in;
use crate::mailstore::directory::{Directory, DirectoryError, UserRecord};
use crate::mailstore::{RemovedFilter, lock};
use crate::server;
use crate::types::{AccountId, MailboxName};

#[derive(Debug, Args)]
pub(super) struct BackupLine {
    /// Where the backup is kept, or shall be; the same each time, so that only what is new is copied
    dir: PathBuf,
    /// Only these users; without any, every account
    #[arg(conflicts_with = "verify")]
    users: Vec<String>,
    /// Read the whole backup and say whether it is complete and whole
    #[arg(long)]
    verify: bool,
    /// Take away large messages that the newest copy no longer needs
    #[arg(long, conflicts_with = "verify")]
    prune: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct UndeleteLine {
    /// Whose mail
    user: String,
    /// Only say what would come back
    #[arg(long)]
    list: bool,
    /// Only what was removed then or later: `2026-01-31`, `2026-01-31T09:00` (UTC), or how long ago: `90m`, `12h`, `3d`
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only what was in this folder
    #[arg(long, value_name = "NAME")]
    mailbox: Option<String>,
    /// Bring it back into this folder instead of the one it was in
    #[arg(long, value_name = "NAME", conflicts_with = "list")]
    to: Option<String>,
    /// Also what is still in some other folder
    #[arg(long)]
    copies: bool,
    #[command(flatten)]
    place: Place,
}

/// Who owns the data directory now.
pub(super) enum Master {
    Running(Arc<Running>),
    AtRest(Arc<AtRest>),
}

impl Master {
    /// The running server, or this process from now on.
    pub fn of(config: &Config) -> Result<Master, Failure> {
        // What a command makes is for the server's user only, like what the server makes.
        rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
        match client::ask(&config.data_dir, &Request::Status, |_| {}) {
            Ok(_) => Ok(Master::Running(Arc::new(Running::new(config.data_dir.clone())))),
            Err(AskError::NotRunning) => {
                server::at_rest(config).map(|owner| Master::AtRest(Arc::new(owner))).map_err(Failure::Failed)
            }
            Err(broken) => Err(Failure::of(broken)),
        }
    }

    pub fn owner(&self) -> Arc<dyn Owner> {
        match self {
            Master::Running(server) => server.clone(),
            Master::AtRest(owner) => owner.clone(),
        }
    }
}

/// The directory of users; there must be one.
pub(super) fn users(config: &Config) -> Result<Directory, Failure> {
    let data_dir = lock::find(&config.data_dir).map_err(Failure::of)?;
    Directory::open_existing(&data_dir).map_err(Failure::of)
}

/// The user of that name.
pub(super) fn find(directory: &Directory, name: &str, config: &Config) -> Result<UserRecord, Failure> {
    let found = names::find_user(directory, name, &config.login.default_domain).map_err(Failure::of)?;
    found.ok_or_else(|| Failure::of(DirectoryError::Missing(name.to_owned())))
}

pub(super) fn now_secs() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A mailbox name from the command line.
pub(super) fn mailbox(text: Option<&str>) -> Result<Option<MailboxName>, Failure> {
    text.map(MailboxName::new).transpose().map_err(Failure::of)
}

pub(super) fn backup(line: BackupLine) -> Result<(), Failure> {
    let mut screen = Screen::default();
    if line.verify {
        return match verify::verify(&line.dir, &mut screen).map_err(Failure::Failed)? {
            true => Ok(()),
            false => Err(Failure::Failed("the backup is not complete and whole".into())),
        };
    }
    let config = line.place.load()?;
    let directory = users(&config)?;
    let data_dir = lock::find(&config.data_dir).map_err(Failure::of)?;
    let mut accounts: Vec<(AccountId, String)> = Vec::new();
    if line.users.is_empty() {
        let users = directory.users().map_err(Failure::of)?;
        accounts.extend(users.into_iter().map(|user| (user.account, user.name)));
        // Mail of users that were removed is there until somebody deletes it.
        let ids = accounts_in(&data_dir).map_err(Failure::of)?;
        let orphans: Vec<_> = ids.into_iter().filter(|id| accounts.iter().all(|(known, _)| known != id)).collect();
        accounts.extend(orphans.into_iter().map(|id| (id, String::new())));
    }
    for name in &line.users {
        let user = find(&directory, name, &config)?;
        accounts.push((user.account, user.name));
    }
    drop(directory);
    let owner = Master::of(&config)?.owner();
    let order = Order { data_dir: &data_dir, dir: &line.dir, accounts, prune: line.prune, now_secs: now_secs() };
    let outcome = backup::backup(&order, &owner, &mut screen).map_err(Failure::Failed)?;
    match (outcome.incomplete, outcome.failed) {
        (0, 0) => Ok(()),
        (incomplete, failed) => {
            Err(Failure::Failed(format!("{incomplete} accounts are incomplete, {failed} were not backed up")))
        }
    }
}

pub(super) fn undelete(line: UndeleteLine) -> Result<(), Failure> {
    let config = line.place.load()?;
    let account = find(&users(&config)?, &line.user, &config)?.account;
    let since = match &line.since {
        Some(text) => Some(moment::parse(text, now_secs()).ok_or_else(|| {
            Failure::Failed(format!("{text:?} is no time; write it like 2026-01-31, 2026-01-31T09:00 or 12h"))
        })?),
        None => None,
    };
    let (from, to) = (mailbox(line.mailbox.as_deref())?, mailbox(line.to.as_deref())?);
    let told = match Master::of(&config)? {
        Master::Running(server) => {
            let question = Upkeep::Undelete {
                account: account.0,
                list: line.list,
                since,
                mailbox: from.map(|name| name.to_string()),
                to: to.map(|name| name.to_string()),
                copies: line.copies,
            };
            server.ask(question, &mut say)
        }
        Master::AtRest(owner) => {
            let filter = RemovedFilter { since, mailbox: from, with_copies: line.copies };
            let wish = undelete::Wish { filter, to, is_list: line.list };
            undelete::undelete(owner.store(), account, wish, &mut |line| say(&line))
        }
    };
    say(&told.map_err(Failure::Failed)?);
    Ok(())
}

/// Lines on standard output, and a bar on standard error while that is a terminal.
#[derive(Default)]
pub(super) struct Screen {
    bar: Option<(String, ProgressBar)>,
}

impl Screen {
    fn bar(&mut self, what: &str, total: u64) -> &ProgressBar {
        if self.bar.as_ref().is_none_or(|(shown, _)| shown != what) {
            self.clear();
            let bar = ProgressBar::new(total);
            let style = ProgressStyle::with_template("{msg} [{bar:30}] {bytes} of {total_bytes}, {eta} left");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(what.to_owned());
            self.bar = Some((what.to_owned(), bar));
        }
        &self.bar.as_ref().expect("made above").1
    }

    fn clear(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Watch for Screen {
    fn say(&mut self, line: &str) {
        self.clear();
        say(line);
    }

    fn progress(&mut self, what: &str, done: u64, total: u64) {
        let bar = self.bar(what, total);
        bar.set_length(total);
        bar.set_position(done);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.clear();
    }
}
