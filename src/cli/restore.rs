//! `pillarbox restore` and `pillarbox check --repair`: what is about to happen is told and agreed to first.

use std::path::PathBuf;

use clap::Args;

use super::upkeep::{Master, Screen, find, mailbox, now_secs, users};
use super::{Failure, Place, prompt, say};
use crate::care::Watch;
use crate::care::repair::repair_account;
use crate::care::restore::{Order, Source, announce, restore_account, restore_folder, usual_name};
use crate::config::Config;
use crate::control::{AskError, Request, client};
use crate::login::names;
use crate::mailstore::directory::{Directory, UserRecord};
use crate::mailstore::lock;
use crate::mailstore::take_in::Target;

#[derive(Debug, Args)]
pub(super) struct RestoreLine {
    /// The directory of the backup
    dir: PathBuf,
    /// Whose mail; a user that is gone is made again with the old passwords and aliases
    #[arg(required_unless_present = "all")]
    user: Option<String>,
    /// Only this folder and those below it, beside what is there
    #[arg(long, value_name = "NAME", conflicts_with = "all")]
    mailbox: Option<String>,
    /// Where the folder goes; without it into a new one that carries the day of the backup
    #[arg(long, value_name = "NAME", requires = "mailbox")]
    to: Option<String>,
    /// Into the account of this user instead: a new one for a whole account, an existing one for a folder
    #[arg(long = "as", value_name = "USER", conflicts_with = "all")]
    as_user: Option<String>,
    /// All users, where there are none yet: after the loss of a whole machine
    #[arg(long, conflicts_with = "user")]
    all: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) fn restore(line: RestoreLine) -> Result<(), Failure> {
    let config = line.place.load()?;
    let source = Source::open(&line.dir).map_err(Failure::Failed)?;
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let Some(name) = &line.user else { return restore_all(&config, &source, line.yes) };
    let data_dir = lock::prepare(&config.data_dir).map_err(Failure::of)?;
    // What a backup calls this user, whoever he is here and now.
    let kept = source.users(&data_dir).map_err(Failure::Failed)?;
    let old = find(&kept.open().map_err(Failure::Failed)?, name, &config)?;
    let here = Directory::open(&data_dir).map_err(Failure::of)?;
    let target = line.as_user.as_ref().unwrap_or(&old.name);
    let known = names::find_user(&here, target, &config.login.default_domain).map_err(Failure::of)?;
    if let Some(folder) = mailbox(line.mailbox.as_deref())? {
        let known = known.ok_or_else(|| Failure::Failed(format!("there is no user {target}")))?;
        let to = match mailbox(line.to.as_deref())? {
            Some(to) => Target { from: folder, to, may_exist: true },
            None => {
                let to = usual_name(&source, old.account, &folder).map_err(Failure::Failed)?;
                Target { from: folder, to, may_exist: false }
            }
        };
        drop((kept, here));
        let order = order(&source, &data_dir, &old, &known);
        let owner = Master::of(&config)?.owner();
        say(&restore_folder(&order, &to, &owner, &mut Screen::default()).map_err(Failure::Failed)?);
        return Ok(());
    }
    if line.as_user.is_some() && known.is_some() {
        return Err(Failure::Failed(format!("there is a user {target} already; name one that is new")));
    }
    let user = match known {
        Some(user) => user,
        None => {
            if !line.yes && !prompt::agrees(&format!("There is no user {target}; make it?")).map_err(Failure::Failed)? {
                return Err(Failure::Failed("nothing was done".into()));
            }
            make_user(&here, target, (&kept.open().map_err(Failure::Failed)?, &old), &config)?
        }
    };
    drop((kept, here));
    restore_one(&config, &order(&source, &data_dir, &old, &user), line.yes)
}

fn order<'a>(source: &'a Source, data_dir: &'a std::path::Path, old: &UserRecord, user: &'a UserRecord) -> Order<'a> {
    Order { source, data_dir, from: old.account, to: user.account, name: &user.name, now_secs: now_secs() }
}

/// A user who is gone comes back with the password he had, and under his own name with all that was his.
fn make_user(
    here: &Directory,
    name: &str,
    (kept, old): (&Directory, &UserRecord),
    config: &Config,
) -> Result<UserRecord, Failure> {
    let name = names::canonical(name).map_err(Failure::of)?;
    let mut user = here.add_user(&name, &old.credentials).map_err(Failure::of)?;
    if old.is_disabled {
        user = here.set_disabled(&name, true).map_err(Failure::of)?;
    }
    say(&format!("added {name} with the password of {}", old.name));
    match name == old.name {
        true => bring_back(here, kept, old)?,
        // They are ways to somebody else, and mail for him must not come here.
        false => say("app passwords, aliases and the right to act for others stay with that name"),
    }
    match client::ask(&config.data_dir, &Request::DirectoryChanged, |_| {}) {
        Ok(_) | Err(AskError::NotRunning) => {}
        // The user is there all the same; only what the server remembers of the name may be old for a while.
        Err(error) => say(&format!("the running server was not told: {error}")),
    }
    Ok(user)
}

/// App passwords, aliases and the right to act for others, of a user who was made again just now. Whatever was given to
/// somebody else since the backup stays as it is, and is told.
fn bring_back(here: &Directory, kept: &Directory, old: &UserRecord) -> Result<(), Failure> {
    let name = &old.name;
    for password in &old.app_passwords {
        here.add_app_password(name, password).map_err(Failure::of)?;
        say(&format!("the app password of {} is valid again", password.device));
    }
    if old.is_master {
        here.set_master(name, true).map_err(Failure::of)?;
        say(&format!("{name} may act for all others again"));
    }
    for alias in kept.aliases().map_err(Failure::of)? {
        if !alias.users.contains(name) {
            continue;
        }
        let now = here.alias_users(&alias.name).map_err(Failure::of)?;
        if let Some(newer) = now.iter().find(|user| !alias.users.contains(&user.name)) {
            say(&format!("the alias {} is left as it is: it was given to {} since", alias.name, newer.name));
            continue;
        }
        match here.add_alias(&alias.name, std::slice::from_ref(name)) {
            Ok(()) => say(&format!("the alias {} leads to {name} again", alias.name)),
            Err(error) => say(&format!("the alias {} is left as it is: {error}", alias.name)),
        }
    }
    Ok(())
}

fn restore_one(config: &Config, order: &Order<'_>, is_agreed: bool) -> Result<(), Failure> {
    let (lines, old) = announce(order).map_err(Failure::Failed)?;
    lines.iter().for_each(|line| say(line));
    if !is_agreed && !prompt::agrees("Go on?").map_err(Failure::Failed)? {
        return Err(Failure::Failed("nothing was done".into()));
    }
    let owner = Master::of(config)?.owner();
    let done = restore_account(order, &old, &owner, &mut Screen::default()).map_err(Failure::Failed)?;
    done.iter().for_each(|line| say(line));
    Ok(())
}

/// After the loss of a machine: users and all their mail, on a data directory that never had any.
fn restore_all(config: &Config, source: &Source, is_agreed: bool) -> Result<(), Failure> {
    let data_dir = lock::prepare(&config.data_dir).map_err(Failure::of)?;
    say(&format!("all users of the backup, with their passwords and mail, come into {}", data_dir.display()));
    if !is_agreed && !prompt::agrees("Go on?").map_err(Failure::Failed)? {
        return Err(Failure::Failed("nothing was done".into()));
    }
    source.install_users(&data_dir).map_err(Failure::Failed)?;
    let users = users(config)?.users().map_err(Failure::of)?;
    let mut failed = 0;
    for user in &users {
        let order = order(source, &data_dir, user, user);
        if let Err(failure) = restore_one(config, &order, true) {
            failed += 1;
            Screen::default().say(&format!("{}: NOT RESTORED: {failure}", user.name));
        }
    }
    if failed > 0 { Err(Failure::Failed(format!("{failed} users were not restored"))) } else { Ok(()) }
}

pub(super) fn repair(config: &Config, user: &str) -> Result<(), Failure> {
    let data_dir = lock::find(&config.data_dir).map_err(Failure::of)?;
    let account = find(&users(config)?, user, config)?.account;
    let owner = Master::of(config)?.owner();
    let mut screen = Screen::default();
    let told = repair_account(&data_dir, account, now_secs(), &owner, &mut screen).map_err(Failure::Failed)?;
    screen.say(&told);
    Ok(())
}
