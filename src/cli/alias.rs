//! `pillarbox alias ...`: works on `server.db` directly; the server reads it anew for each message.

use clap::Subcommand;

use super::user::{find, open, tell_of_change};
use super::{Failure, Place, say};
use crate::config::Config;
use crate::lmtp::canonical_alias;
use crate::mailstore::directory::Directory;

#[derive(Debug, Subcommand)]
pub(super) enum AliasCommand {
    /// Deliver mail for an address to these users too
    Add {
        /// `name`, `name@domain`, or `@domain` for all that nobody else has there
        address: String,
        /// The users; never another alias
        #[arg(required = true)]
        users: Vec<String>,
        #[command(flatten)]
        place: Place,
    },
    /// Deliver it to these users no more; with none named, to nobody
    Remove {
        /// As it was added
        address: String,
        users: Vec<String>,
        #[command(flatten)]
        place: Place,
    },
    /// List the aliases, one a line with its users
    List {
        /// Only this one
        address: Option<String>,
        #[command(flatten)]
        place: Place,
    },
}

pub(super) fn obey(command: AliasCommand) -> Result<(), Failure> {
    match command {
        AliasCommand::Add { address, users, place } => {
            let config = place.load()?;
            change(&config, &address, &users, |directory, name, users| directory.add_alias(name, users))
        }
        AliasCommand::Remove { address, users, place } => {
            let config = place.load()?;
            change(&config, &address, &users, |directory, name, users| directory.remove_alias(name, users))
        }
        AliasCommand::List { address, place } => list(&place.load()?, address.as_deref()),
    }
}

fn change<E: std::fmt::Display>(
    config: &Config,
    address: &str,
    users: &[String],
    make: impl FnOnce(&Directory, &str, &[String]) -> Result<(), E>,
) -> Result<(), Failure> {
    let directory = open(config)?;
    let name = canonical(address)?;
    let users: Vec<String> =
        users.iter().map(|user| find(&directory, user, config).map(|user| user.name)).collect::<Result<_, _>>()?;
    make(&directory, &name, &users).map_err(Failure::of)?;
    tell_of_change(config);
    let left = directory.alias_users(&name).map_err(Failure::of)?;
    match left.is_empty() {
        true => say(&format!("{name} is no alias any more")),
        false => say(&line(&name, left.iter().map(|user| user.name.as_str()))),
    }
    Ok(())
}

fn list(config: &Config, address: Option<&str>) -> Result<(), Failure> {
    let directory = match open(config) {
        // Before the first user there is nothing to open, and the list is empty.
        Err(_) if !Directory::path(&config.data_dir).exists() => return Ok(()),
        directory => directory?,
    };
    let only = address.map(canonical).transpose()?;
    let aliases = directory.aliases().map_err(Failure::of)?;
    for alias in aliases.iter().filter(|alias| only.as_ref().is_none_or(|only| *only == alias.name)) {
        say(&line(&alias.name, alias.users.iter().map(String::as_str)));
    }
    Ok(())
}

fn canonical(address: &str) -> Result<String, Failure> {
    canonical_alias(address).map_err(|bad| Failure::Failed(format!("{address}: {bad}")))
}

fn line<'a>(name: &str, users: impl Iterator<Item = &'a str>) -> String {
    format!("{name}\t{}", users.collect::<Vec<_>>().join(" "))
}
