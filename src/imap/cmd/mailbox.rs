//! CREATE, DELETE, RENAME, SUBSCRIBE and UNSUBSCRIBE (RFC 3501 §6.3.3 to §6.3.7).

use crate::imap::answer::{Answer, Done};
use crate::imap::session::SignedIn;
use crate::types::MailboxArgument;
use crate::types::command::{Create, Rename};

pub async fn create(cx: SignedIn<'_>, arguments: Create) -> Answer {
    cx.account.create(&arguments.mailbox?, "").await?;
    Ok(Done::default())
}

pub async fn delete(cx: SignedIn<'_>, name: MailboxArgument) -> Answer {
    cx.account.delete(&name?).await?;
    Ok(Done::default())
}

pub async fn rename(cx: SignedIn<'_>, arguments: Rename) -> Answer {
    let (from, to) = (arguments.from?, arguments.to?);
    cx.account.rename(&from, &to).await?;
    Ok(Done::default())
}

pub async fn subscribe(cx: SignedIn<'_>, name: MailboxArgument, is_on: bool) -> Answer {
    cx.account.subscribe(&name?, is_on).await?;
    Ok(Done::default())
}
