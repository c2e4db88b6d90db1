//! From users to mailboxes: which account, which folder of it, and whether there is room.

use std::sync::Arc;

use super::Rooms;
use super::address::Address;
use super::recipients::{self, Rules};
use super::refusal::Refusal;
use crate::config::{Config, Lmtp, MissingFolder};
use crate::mailstore::directory::UserRecord;
use crate::mailstore::{Account, Mailbox};
use crate::types::MailboxName;

/// Somebody a message goes to, as the envelope named him.
#[derive(Debug)]
pub struct Recipient {
    /// As it was written.
    pub address: String,
    /// One for a user, several for an alias. Never empty.
    pub targets: Vec<Target>,
}

/// One mailbox a message goes to.
#[derive(Debug, Clone)]
pub struct Target {
    pub account: Account,
    /// The user's name, for the log.
    pub user: String,
    pub mailbox: MailboxName,
    /// The mailbox is not there and is made when the message comes.
    pub is_made: bool,
}

/// What is asked for besides the address.
#[derive(Debug, Default)]
pub struct Wish {
    /// Into this mailbox, whatever the address says.
    pub mailbox: Option<MailboxName>,
    /// How many octets are to come, as far as is known.
    pub octets: u64,
}

/// Finds where mail for an address goes, and refuses it when it is known already that it would not be taken.
pub async fn find(rooms: &Rooms, config: &Config, address: &Address, wish: &Wish) -> Result<Recipient, Refusal> {
    let (directory, rules, asked) = (rooms.directory.clone(), Rules::of(config), address.clone());
    // The disk may be slow, and a look-up waits for it.
    let look_up = tokio::task::spawn_blocking(move || recipients::find(&directory, &asked, &rules));
    let found = look_up.await.map_err(|_| Refusal::Trouble)??;
    let mut targets = Vec::with_capacity(found.users.len());
    for user in found.users {
        let target = Box::pin(open(rooms, &config.lmtp, user, found.folder.as_deref(), wish)).await?;
        targets.push(target);
    }
    Ok(Recipient { address: address.text.clone(), targets })
}

async fn open(
    rooms: &Rooms,
    settings: &Lmtp,
    user: UserRecord,
    folder: Option<&str>,
    wish: &Wish,
) -> Result<Target, Refusal> {
    let of = |error| {
        let refusal = Refusal::of(&error, settings);
        tracing::debug!(user = ?user.name, account = user.account.0, %error, "not taken");
        refusal
    };
    let account = rooms.store.account(user.account).await.map_err(of)?;
    // RFC 1870 §6.1: what is declared too much is refused before it is sent.
    account.room_for(wish.octets, 1).map_err(of)?;
    let place = match (&wish.mailbox, folder) {
        (Some(name), _) => match account.find(name) {
            Ok(_) => Place::There(name.clone()),
            Err(_) => Place::Missing(name.clone()),
        },
        (None, Some(folder)) => addressed(&account, folder),
        (None, None) => Place::There(MailboxName::inbox()),
    };
    let (mailbox, is_made) = match (place, settings.missing_folder) {
        (Place::There(name), _) => (name, false),
        (Place::Missing(name), MissingFolder::Create) => (name, true),
        (Place::Missing(_) | Place::Impossible, MissingFolder::Refuse) => return Err(Refusal::NoSuchFolder),
        (Place::Missing(_), MissingFolder::Inbox) | (Place::Impossible, _) => (MailboxName::inbox(), false),
    };
    Ok(Target { account, user: user.name, mailbox, is_made })
}

enum Place {
    There(MailboxName),
    /// It could be made.
    Missing(MailboxName),
    /// Nothing of this name is to be reached by an address.
    Impossible,
}

/// The folder an address names. Mail servers and people change the case of addresses, so a folder that differs only
/// in that is meant too, unless there are two.
fn addressed(account: &Account, folder: &str) -> Place {
    let Ok(name) = MailboxName::new(folder) else { return Place::Impossible };
    let mailbox = match account.find(&name) {
        Ok(mailbox) => Some(mailbox),
        Err(_) => account.only_alike(&name),
    };
    match mailbox {
        Some(mailbox) if is_for_the_owner(&mailbox) => Place::Impossible,
        Some(mailbox) => Place::There(mailbox.name.clone()),
        None => Place::Missing(name),
    }
}

/// What lies in these the user has written. A stranger must not be able to add to it by an address.
fn is_for_the_owner(mailbox: &Arc<Mailbox>) -> bool {
    // RFC 6154 §2
    ["\\Drafts", "\\Sent"].contains(&&*mailbox.special_use)
}
