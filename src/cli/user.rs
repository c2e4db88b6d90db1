//! `pillarbox user ...`: works on `server.db` directly and then tells the running server, if there is one.

use clap::Subcommand;

use super::app_password::{self, AppPasswordCommand};
use super::{Failure, Place, introduction, prompt, say, tell_server};
use crate::config::Config;
use crate::control::{AskError, Request, client};
use crate::login::{credentials, names};
use crate::mailstore::directory::{Directory, DirectoryError, UserRecord};
use crate::mailstore::lock::{self, DataLock};
use crate::types::Secret;

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Add a user; the first one makes the data directory
    Add {
        /// `user` or `user@domain`
        name: String,
        #[command(flatten)]
        password: PasswordSource,
        #[command(flatten)]
        place: Place,
    },
    /// Set a user's password
    Passwd {
        /// `user` or `user@domain`
        name: String,
        #[command(flatten)]
        password: PasswordSource,
        #[command(flatten)]
        place: Place,
    },
    /// List the users, one name a line
    List {
        /// Also the number of the account (its directory) and whether the user is disabled
        #[arg(long)]
        long: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Remove a user and end his sessions; the mail stays on the disk unless told otherwise
    Remove {
        /// `user` or `user@domain`
        name: String,
        /// Delete the user's mail for good
        #[arg(long)]
        delete_mail: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Bar a user from logging in and end his sessions; nothing is deleted
    Disable {
        /// `user` or `user@domain`
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// Let a disabled user in again
    Enable {
        /// `user` or `user@domain`
        name: String,
        #[command(flatten)]
        place: Place,
    },
    /// Let a user act for all others (SASL authorization identity); every such log-in is logged
    Master {
        /// `user` or `user@domain`
        name: String,
        /// No longer
        #[arg(long)]
        revoke: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Passwords for single devices of a user
    #[command(subcommand)]
    AppPassword(AppPasswordCommand),
}

#[derive(Debug, clap::Args)]
pub(super) struct PasswordSource {
    /// Read the password from standard input instead of asking for it
    #[arg(long)]
    password_stdin: bool,
}

impl PasswordSource {
    fn read(&self) -> Result<Secret, Failure> {
        let read = if self.password_stdin { prompt::from_stdin() } else { prompt::ask_twice() };
        read.map_err(Failure::of)
    }
}

pub(super) fn obey(command: UserCommand) -> Result<(), Failure> {
    match command {
        UserCommand::Add { name, password, place } => add(&place.load()?, &name, &password),
        UserCommand::Passwd { name, password, place } => set_password(&place.load()?, &name, &password),
        UserCommand::List { long, place } => list(&place.load()?, long),
        UserCommand::Remove { name, delete_mail, place } => remove(&place.load()?, &name, delete_mail),
        UserCommand::Disable { name, place } => disable(&place.load()?, &name),
        UserCommand::Enable { name, place } => enable(&place.load()?, &name),
        UserCommand::Master { name, revoke, place } => set_master(&place.load()?, &name, !revoke),
        UserCommand::AppPassword(command) => app_password::obey(command),
    }
}

fn add(config: &Config, name: &str, password: &PasswordSource) -> Result<(), Failure> {
    let name = names::canonical(name).map_err(Failure::of)?;
    // Asked for before anything is made, and checked before that: nobody types a password twice for nothing.
    if let Ok(data_dir) = lock::find(&config.data_dir)
        && let Ok(directory) = Directory::open_existing(&data_dir)
    {
        refuse_twin(&directory, &name, config)?;
    }
    let credentials = credentials::make(&password.read()?, config.login.store_scram).map_err(Failure::of)?;
    let data_dir = lock::prepare(&config.data_dir).map_err(Failure::of)?;
    let directory = Directory::open(&data_dir).map_err(Failure::of)?;
    refuse_twin(&directory, &name, config)?;
    let user = directory.add_user(&name, &credentials).map_err(Failure::of)?;
    tell_of_change(config);
    say(&format!("added {}", user.name));
    introduction::lines(config, &user.name).iter().for_each(|line| say(line));
    Ok(())
}

/// `anna` and `anna@example.org` are one user when that is the default domain: there must not be both. Nor a user and
/// an alias of one name.
pub(super) fn refuse_twin(directory: &Directory, name: &str, config: &Config) -> Result<(), Failure> {
    if let Some(other) = names::find_user(directory, name, &config.login.default_domain).map_err(Failure::of)? {
        return Err(Failure::of(DirectoryError::Taken(other.name)));
    }
    // The user would get the mail himself, and the alias would never be asked again.
    match directory.alias_users(name).map_err(Failure::of)?.is_empty() {
        true => Ok(()),
        false => {
            Err(Failure::Failed(format!("there is an alias {name}; `pillarbox alias remove {name}` takes it away")))
        }
    }
}

fn set_password(config: &Config, name: &str, password: &PasswordSource) -> Result<(), Failure> {
    let directory = open(config)?;
    let user = find(&directory, name, config)?;
    let made = credentials::make_for(&user, &password.read()?, config.login.store_scram);
    let credentials = made.map_err(Failure::of)?;
    directory.set_credentials(&user.name, &credentials).map_err(Failure::of)?;
    tell_of_change(config);
    say(&format!("set the password of {}", user.name));
    Ok(())
}

fn list(config: &Config, long: bool) -> Result<(), Failure> {
    let directory = match open(config) {
        // Before the first user there is nothing to open, and the list is empty.
        Err(_) if !Directory::path(&config.data_dir).exists() => return Ok(()),
        directory => directory?,
    };
    for user in directory.users().map_err(Failure::of)? {
        match long {
            true => {
                let state = if user.is_disabled { "disabled" } else { "enabled" };
                let master = if user.is_master { "\tmaster" } else { "" };
                say(&format!("{}\taccount {}\t{state}{master}", user.name, user.account));
            }
            false => say(&user.name),
        }
    }
    Ok(())
}

fn remove(config: &Config, name: &str, delete_mail: bool) -> Result<(), Failure> {
    let directory = open(config)?;
    let user = find(&directory, name, config)?;
    // An import or another command may be at work on the mail without a server. That is found out before anything is
    // removed, or the user would be gone and his mail would stay.
    let lock = if delete_mail { lock_at_rest(config)? } else { None };
    // First out of the directory, then the sessions: the other way round he could come back in between.
    let user = directory.remove(&user.name).map_err(Failure::of)?;
    let UserRecord { name, account, .. } = user;
    say(&format!("removed {name}"));
    let request = Request::UserRemoved { name, account: account.0, delete_mail };
    match tell_server(&config.data_dir, &request)? {
        Some(told) => say(&told),
        None if delete_mail => {
            let data_dir = lock::find(&config.data_dir).map_err(Failure::of)?;
            // Held while deleting, so that no server begins to use what goes. One that ran a moment ago is gone.
            let _lock = lock.map_or_else(|| DataLock::take(&data_dir), Ok).map_err(Failure::of)?;
            match lock::delete_account_files(&data_dir, account).map_err(Failure::of)? {
                true => say("the mail was deleted"),
                false => say("there was no mail to delete"),
            }
        }
        None => {}
    }
    if !delete_mail {
        let home = lock::account_dir(&config.data_dir, account);
        if home.exists() {
            say(&format!("the mail stays in {}", home.display()));
        }
    }
    Ok(())
}

/// The lock of the data directory, unless a server has it.
fn lock_at_rest(config: &Config) -> Result<Option<DataLock>, Failure> {
    match client::ask(&config.data_dir, &Request::Status, |_| {}) {
        Err(AskError::NotRunning) => {}
        Err(broken) => return Err(Failure::of(broken)),
        Ok(_) => return Ok(None),
    }
    let data_dir = lock::find(&config.data_dir).map_err(Failure::of)?;
    match DataLock::take(&data_dir) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) => Err(Failure::Failed(format!("{error}; nothing was removed"))),
    }
}

fn disable(config: &Config, name: &str) -> Result<(), Failure> {
    let directory = open(config)?;
    let user = find(&directory, name, config)?;
    let user = directory.set_disabled(&user.name, true).map_err(Failure::of)?;
    say(&format!("disabled {}", user.name));
    let request = Request::UserDisabled { name: user.name, account: user.account.0 };
    if let Some(told) = tell_server(&config.data_dir, &request)? {
        say(&told);
    }
    Ok(())
}

fn enable(config: &Config, name: &str) -> Result<(), Failure> {
    let directory = open(config)?;
    let user = find(&directory, name, config)?;
    let user = directory.set_disabled(&user.name, false).map_err(Failure::of)?;
    tell_of_change(config);
    say(&format!("enabled {}", user.name));
    Ok(())
}

fn set_master(config: &Config, name: &str, is_master: bool) -> Result<(), Failure> {
    let directory = open(config)?;
    let user = find(&directory, name, config)?;
    let user = directory.set_master(&user.name, is_master).map_err(Failure::of)?;
    tell_of_change(config);
    match is_master {
        true => say(&format!("{} may act for all others", user.name)),
        false => say(&format!("{} may act for nobody else", user.name)),
    }
    Ok(())
}

pub(super) fn open(config: &Config) -> Result<Directory, Failure> {
    let data_dir = lock::find(&config.data_dir).map_err(Failure::of)?;
    Directory::open_existing(&data_dir).map_err(Failure::of)
}

pub(super) fn find(directory: &Directory, name: &str, config: &Config) -> Result<UserRecord, Failure> {
    let found = names::find_user(directory, name, &config.login.default_domain).map_err(Failure::of)?;
    found.ok_or_else(|| Failure::of(DirectoryError::Missing(name.to_owned())))
}

/// Tells the server that `server.db` changed. It would notice at the next log-in by itself, so whether it hears this
/// changes nothing that the person who asked must know.
pub(super) fn tell_of_change(config: &Config) {
    let _ = client::ask(&config.data_dir, &Request::DirectoryChanged, |_| {});
}
