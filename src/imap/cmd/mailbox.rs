//! CREATE, DELETE, RENAME, SUBSCRIBE and UNSUBSCRIBE (RFC 3501 §6.3.3 to §6.3.7, RFC 6154 §3, RFC 8474 §4.1).

use crate::imap::answer::{Answer, Done, no};
use crate::imap::cmd::list::attributes_of;
use crate::imap::progress::waiting;
use crate::imap::session::Session;
use crate::types::command::{Create, Delete, Rename};
use crate::types::{Code, ListWord, MailboxArgument, MailboxName, SpecialUse};
use crate::wire::list::{Extended, ListLine, write_extended};

pub async fn create(session: &mut Session, arguments: Create) -> Answer {
    let name = arguments.mailbox?;
    let mut uses = Vec::new();
    for special_use in arguments.uses {
        let special_use = special_use.map_err(|unknown| no(Code::UseAttr, unknown.to_string()))?;
        // RFC 6154 §2: these two are views of other mailboxes, which no CREATE can make.
        if matches!(special_use, SpecialUse::All | SpecialUse::Flagged) {
            return Err(no(Code::UseAttr, format!("no mailbox can be made for {}", special_use.wire())));
        }
        uses.push(special_use.wire());
    }
    let created = session.signed_in()?.account.create(&name, &uses.join(" ")).await?;
    session.note_own_all(created.modseqs);
    tell_spelling(session, &name, arguments.spelt.as_deref());
    Ok(Done::with_code(Code::MailboxId(created.mailbox_id)))
}

/// Tells under which name a mailbox is kept whose name was written otherwise (RFC 9051 §6.3.4, §6.3.5, §6.3.6, §6.3.12).
pub fn tell_spelling(session: &mut Session, name: &MailboxName, spelt: Option<&str>) {
    let (Some(spelt), Ok(cx)) = (spelt, session.signed_in()) else { return };
    let mailbox = cx.account.listed(name);
    // RFC 9051 §6.3.9.7: a name that DELETE took away is \NonExistent; it left one that others lie below.
    let mut attributes = mailbox.as_ref().map_or_else(|| vec!["\\NonExistent"], attributes_of);
    attributes.extend(cx.account.is_subscribed(name).then_some("\\Subscribed"));
    let line = ListLine { word: ListWord::List, attributes: &attributes, name };
    let extended = Extended { child_info: &[], old_name: Some(spelt) };
    write_extended(&mut cx.channel.out, &line, &extended, cx.dialect);
}

pub async fn delete(session: &mut Session, tag: &str, arguments: Delete) -> Answer {
    let (name, cx) = (arguments.mailbox?, session.signed_in()?);
    let modseqs = waiting(cx.channel, tag, cx.account.delete(&name)).await??;
    session.note_own_all(modseqs);
    tell_spelling(session, &name, arguments.spelt.as_deref());
    Ok(Done::default())
}

pub async fn rename(session: &mut Session, tag: &str, arguments: Rename) -> Answer {
    let (from, to) = (arguments.from?, arguments.to?);
    let cx = session.signed_in()?;
    let modseqs = waiting(cx.channel, tag, cx.account.rename(&from, &to)).await??;
    session.note_own_all(modseqs);
    tell_spelling(session, &to, arguments.spelt.as_deref());
    Ok(Done::default())
}

pub async fn subscribe(session: &mut Session, name: MailboxArgument, is_on: bool) -> Answer {
    let modseqs = session.signed_in()?.account.subscribe(&name?, is_on).await?;
    session.note_own_all(modseqs);
    Ok(Done::default())
}
